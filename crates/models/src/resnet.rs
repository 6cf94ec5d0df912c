//! ResNet-10 and ResNet-18, published `lib/backbone/resnet18.py`.

use std::sync::Arc;

use candle_core::Result;
use candle_nn::VarBuilder;
use fewshot_ops::{Activation, PoolOptions, Tape, TapeTensor};

use crate::architecture::Architecture;
use crate::drop::Drop;
use crate::layers::{BatchNorm, Conv, ConvNorm, ConvSizes};
use crate::{DropOptions, Network, Pass};

pub const RESNET10: Architecture = Architecture {
    signature: "layer1.0.C1.weight",
    build: |drop, parameters| Ok(Arc::new(ResNet::new(1, drop, parameters)?)),
    ..RESNET18
};

pub const RESNET18: Architecture = Architecture {
    features: |_| 512,
    usual_image_size: |_| 224,
    smallest_image: 1,
    signature: "layer1.1.C1.weight",
    second_names: None,
    build: |drop, parameters| Ok(Arc::new(ResNet::new(2, drop, parameters)?)),
};

/// A 7×7 stem and four stages of 64, 128, 256 and 512 channels.
struct ResNet {
    stem: ConvNorm,
    blocks: Vec<Block>,
    /// Blocks a stage.
    depth: usize,
}

impl ResNet {
    /// Builds `depth` blocks a stage: 1 makes ResNet-10, 2 ResNet-18.
    fn new(depth: usize, drop: DropOptions, parameters: VarBuilder) -> Result<Self> {
        let stem = ConvSizes { in_channels: 3, out_channels: 64, kernel: 7, stride: 2, padding: 3 };
        let trunk = parameters.pp("trunk");
        let stem = ConvNorm::new(Conv::new(stem, trunk.pp(0))?, BatchNorm::new(64, trunk.pp(1))?);
        let mut blocks = Vec::new();
        let mut in_channels = 64;
        for (stage, out_channels) in [64, 128, 256, 512].into_iter().enumerate() {
            let drop = Drop::for_stage(drop, stage >= 2);
            let parameters = parameters.pp(format!("layer{}", stage + 1));
            for index in 0..depth {
                let stride = if stage > 0 && index == 0 { 2 } else { 1 };
                let channels = [in_channels, out_channels];
                blocks.push(Block::new(channels, stride, drop, parameters.pp(index))?);
                in_channels = out_channels;
            }
        }
        Ok(Self { stem, blocks, depth })
    }
}

impl Network for ResNet {
    fn forward(&self, tape: &mut Tape, images: &TapeTensor, pass: Pass) -> Result<TapeTensor> {
        let x = self.stem.forward(tape, images, pass, Activation::Relu, None)?;
        let mut x = tape.max_pool2d(&x, PoolOptions { window: 3, stride: 2, padding: 1 })?;
        for (layer, block) in self.blocks.iter().enumerate() {
            x = block.forward(tape, x, pass, layer as u64)?;
            if (layer + 1).is_multiple_of(self.depth) {
                x = tape.mixing_place(x)?;
            }
        }
        tape.global_avg_pool(&x)
    }
}

/// Two 3×3 convolutions around a shortcut.
#[derive(Clone)]
struct Block {
    first: ConvNorm,
    second: ConvNorm,
    shortcut: Option<ConvNorm>,
    drop: Drop,
}

impl Block {
    fn new(channels: [usize; 2], stride: usize, drop: Drop, p: VarBuilder) -> Result<Self> {
        let [from, to] = channels;
        let first = Conv::new(ConvSizes::three_by_three(from, to, stride), p.pp("C1"))?;
        let second = Conv::new(ConvSizes::three_by_three(to, to, 1), p.pp("C2"))?;
        let shortcut = || -> Result<_> {
            let conv = Conv::new(ConvSizes::one_by_one(from, to, stride), p.pp("shortcut"))?;
            Ok(ConvNorm::new(conv, BatchNorm::new(to, p.pp("BNshortcut"))?))
        };
        Ok(Self {
            first: ConvNorm::new(first, BatchNorm::new(to, p.pp("BN1"))?),
            second: ConvNorm::new(second, BatchNorm::new(to, p.pp("BN2"))?),
            shortcut: (from != to).then(shortcut).transpose()?,
            drop,
        })
    }

    fn forward(
        &self,
        tape: &mut Tape,
        x: TapeTensor,
        pass: Pass,
        layer: u64,
    ) -> Result<TapeTensor> {
        let y = self.first.forward(tape, &x, pass, Activation::Relu, None)?;
        let short = match &self.shortcut {
            None => x,
            Some(shortcut) => shortcut.forward(tape, &x, pass, Activation::Identity, None)?,
        };
        let y = self.second.forward(tape, &y, pass, Activation::Relu, Some(&short))?;
        self.drop.forward(tape, y, pass, layer)
    }
}
