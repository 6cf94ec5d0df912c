//! WRN-28-10, published `lib/backbone/wrn.py`.

use std::sync::Arc;

use candle_core::Result;
use candle_nn::VarBuilder;
use fewshot_ops::{Activation, Tape, TapeTensor};

use crate::architecture::Architecture;
use crate::drop::Drop;
use crate::layers::{BatchNorm, Conv, ConvNorm, ConvSizes};
use crate::{DropOptions, Network, Pass};

pub const WRN28_10: Architecture = Architecture {
    features: |_| 640,
    usual_image_size: |_| 80,
    smallest_image: 1,
    signature: "layer3.0.convShortcut.weight",
    second_names: None,
    build: |drop, parameters| Ok(Arc::new(WideResNet::new(drop, parameters)?)),
};

/// Blocks a stage: (28 - 4) / 6.
const DEPTH: usize = 4;

/// A 3×3 stem of 16 channels and three stages of 160, 320 and 640.
struct WideResNet {
    stem: Conv,
    blocks: Vec<Block>,
    norm: BatchNorm,
}

impl WideResNet {
    fn new(drop: DropOptions, parameters: VarBuilder) -> Result<Self> {
        let stem = Conv::new(ConvSizes::three_by_three(3, 16, 1), parameters.pp("conv1"))?;
        let mut blocks = Vec::new();
        let mut from = 16;
        for (stage, to) in [160, 320, 640].into_iter().enumerate() {
            let parameters = parameters.pp(format!("layer{}", stage + 1));
            for index in 0..DEPTH {
                let stride = if stage > 0 && index == 0 { 2 } else { 1 };
                blocks.push(Block::new(from, to, stride, drop, parameters.pp(index))?);
                from = to;
            }
        }
        Ok(Self { stem, blocks, norm: BatchNorm::new(from, parameters.pp("bn1"))? })
    }
}

impl Network for WideResNet {
    fn forward(&self, tape: &mut Tape, images: &TapeTensor, pass: Pass) -> Result<TapeTensor> {
        let mut x = self.stem.forward(tape, images)?;
        for (layer, block) in self.blocks.iter().enumerate() {
            x = block.forward(tape, x, pass, layer as u64)?;
            if (layer + 1).is_multiple_of(DEPTH) {
                x = tape.mixing_place(x)?;
            }
        }
        let x = self.norm.forward(tape, &x, pass, Activation::Relu, None)?;
        tape.global_avg_pool(&x)
    }
}

/// Normalization and activation before each convolution, dropout between the two.
#[derive(Clone)]
struct Block {
    norm: BatchNorm,
    first: ConvNorm,
    second: Conv,
    shortcut: Option<Conv>,
    drop: Drop,
}

impl Block {
    fn new(
        from: usize,
        to: usize,
        stride: usize,
        drop: DropOptions,
        p: VarBuilder,
    ) -> Result<Self> {
        let shortcut = || Conv::new(ConvSizes::one_by_one(from, to, stride), p.pp("convShortcut"));
        Ok(Self {
            norm: BatchNorm::new(from, p.pp("BN1"))?,
            first: ConvNorm::new(
                Conv::new(ConvSizes::three_by_three(from, to, stride), p.pp("C1"))?,
                BatchNorm::new(to, p.pp("BN2"))?,
            ),
            second: Conv::new(ConvSizes::three_by_three(to, to, 1), p.pp("C2"))?,
            shortcut: (from != to).then(shortcut).transpose()?,
            drop: Drop::Units { rate: drop.rate },
        })
    }

    fn forward(
        &self,
        tape: &mut Tape,
        x: TapeTensor,
        pass: Pass,
        layer: u64,
    ) -> Result<TapeTensor> {
        let active = self.norm.forward(tape, &x, pass, Activation::Relu, None)?;
        let y = self.first.forward(tape, &active, pass, Activation::Relu, None)?;
        let y = self.drop.forward(tape, y, pass, layer)?;
        let y = self.second.forward(tape, &y)?;
        let short = match &self.shortcut {
            Some(conv) => conv.forward(tape, &active)?,
            None => x,
        };
        tape.add(&y, &short)
    }
}
