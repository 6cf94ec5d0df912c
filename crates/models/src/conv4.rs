//! Conv4, published `lib/backbone/conv4.py`.

use candle_core::Result;
use candle_nn::VarBuilder;
use fewshot_ops::{Activation, PoolOptions, Tape, TapeTensor};

use crate::backbone::Pass;
use crate::layers::{BatchNorm, Conv, ConvNorm, ConvSizes};

/// Four times convolution, batch norm, ReLU and 2×2 max pooling; flattened.
#[derive(Clone)]
pub struct Conv4 {
    blocks: Vec<ConvNorm>,
}

impl Conv4 {
    pub fn new(parameters: VarBuilder) -> Result<Self> {
        let block = |i: usize| {
            let parameters = parameters.pp("trunk").pp(i);
            let from = if i == 0 { 3 } else { 64 };
            let conv = Conv::with_bias(ConvSizes::three(from, 64, 1), parameters.pp("C"))?;
            Ok(ConvNorm::new(conv, BatchNorm::new(64, parameters.pp("BN"))?))
        };
        Ok(Self { blocks: (0..4).map(block).collect::<Result<_>>()? })
    }

    /// Gives `[B, 64, S / 16, S / 16]`, to be flattened.
    pub fn forward(&self, tape: &mut Tape, images: &TapeTensor, pass: Pass) -> Result<TapeTensor> {
        let mut x = images.clone();
        for block in &self.blocks {
            x = block.forward(tape, &x, pass, Activation::Relu, None)?;
            x = tape.max_pool2d(&x, PoolOptions { window: 2, stride: 2, padding: 0 })?;
        }
        Ok(x)
    }
}
