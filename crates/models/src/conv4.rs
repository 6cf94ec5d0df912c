//! Conv4, published `lib/backbone/conv4.py`.

use crate::backbone::Pass;
use crate::layers::{BatchNorm, Conv, ConvSizes};
use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;
use fewshot_ops::{Activation, PoolOptions, max_pool2d};

/// Four times convolution, batch norm, ReLU and 2×2 max pooling; flattened.
#[derive(Clone)]
pub struct Conv4 {
    blocks: Vec<(Conv, BatchNorm)>,
}

impl Conv4 {
    pub fn new(parameters: VarBuilder) -> Result<Self> {
        let block = |i: usize| {
            let parameters = parameters.pp("trunk").pp(i);
            let from = if i == 0 { 3 } else { 64 };
            let conv = Conv::with_bias(ConvSizes::three(from, 64, 1), parameters.pp("C"))?;
            Ok((conv, BatchNorm::new(64, parameters.pp("BN"))?))
        };
        Ok(Self { blocks: (0..4).map(block).collect::<Result<_>>()? })
    }

    pub fn forward(&self, images: &Tensor, pass: Pass) -> Result<Tensor> {
        let mut x = images.clone();
        for (conv, norm) in &self.blocks {
            x = norm.forward(&conv.forward(&x)?, pass, Activation::Relu, None)?;
            x = max_pool2d(&x, PoolOptions { window: 2, stride: 2, padding: 0 })?;
        }
        x.flatten_from(1)
    }
}
