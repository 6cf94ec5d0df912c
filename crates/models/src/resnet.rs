//! ResNet-10, -18, -34 and -50: published `lib/backbone/resnet18.py`, and He et al. (CVPR 2016), table 1.

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
    build: |drop, parameters| Ok(Arc::new(ResNet::new(Stages::OF_10, drop, parameters)?)),
    ..RESNET18
};

pub const RESNET18: Architecture = Architecture {
    features: |_| 512,
    usual_image_size: |_| 224,
    smallest_image: 1,
    signature: "layer1.1.C1.weight",
    second_names: None,
    build: |drop, parameters| Ok(Arc::new(ResNet::new(Stages::OF_18, drop, parameters)?)),
};

pub const RESNET34: Architecture = Architecture {
    signature: "layer1.2.C1.weight",
    build: |drop, parameters| Ok(Arc::new(ResNet::new(Stages::OF_34, drop, parameters)?)),
    ..RESNET18
};

pub const RESNET50: Architecture = Architecture {
    features: |_| 2048,
    signature: "layer1.1.C3.weight",
    build: |drop, parameters| Ok(Arc::new(ResNet::new(Stages::OF_50, drop, parameters)?)),
    ..RESNET18
};

/// The four stages, whose 3×3 convolutions have 64, 128, 256 and 512 channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stages {
    /// Blocks of each.
    pub depths: [usize; 4],
    /// Whether a block is a 3×3 convolution between two 1×1 ones, of which the last has four times
    /// as many channels, rather than two 3×3 convolutions.
    pub is_bottleneck: bool,
}

impl Stages {
    const OF_10: Self = Self { depths: [1; 4], is_bottleneck: false };
    const OF_18: Self = Self { depths: [2; 4], is_bottleneck: false };
    const OF_34: Self = Self { depths: [3, 4, 6, 3], is_bottleneck: false };
    const OF_50: Self = Self { depths: [3, 4, 6, 3], is_bottleneck: true };
    /// Those of all networks here.
    pub const ALL: [Self; 4] = [Self::OF_10, Self::OF_18, Self::OF_34, Self::OF_50];

    /// Channels that a stage of this many inner channels ends with.
    pub fn out_channels(self, inner: usize) -> usize {
        if self.is_bottleneck { 4 * inner } else { inner }
    }
}

/// A 7×7 stem and the stages.
struct ResNet {
    stem: ConvNorm,
    blocks: Vec<Block>,
    depths: [usize; 4],
}

impl ResNet {
    fn new(stages: Stages, drop: DropOptions, parameters: VarBuilder) -> Result<Self> {
        let stem = ConvSizes { in_channels: 3, out_channels: 64, kernel: 7, stride: 2, padding: 3 };
        let trunk = parameters.pp("trunk");
        let stem = ConvNorm::new(Conv::new(stem, trunk.pp(0))?, BatchNorm::new(64, trunk.pp(1))?);
        let mut blocks = Vec::new();
        let mut in_channels = 64;
        for (stage, inner) in [64, 128, 256, 512].into_iter().enumerate() {
            let drop = Drop::for_stage(drop, stage >= 2);
            let parameters = parameters.pp(format!("layer{}", stage + 1));
            for index in 0..stages.depths[stage] {
                let stride = if stage > 0 && index == 0 { 2 } else { 1 };
                let channels = [in_channels, inner, stages.out_channels(inner)];
                blocks.push(Block::new(channels, stride, drop, parameters.pp(index))?);
                in_channels = stages.out_channels(inner);
            }
        }
        Ok(Self { stem, blocks, depths: stages.depths })
    }
}

impl Network for ResNet {
    fn forward(&self, tape: &mut Tape, images: &TapeTensor, pass: Pass) -> Result<TapeTensor> {
        let x = self.stem.forward(tape, images, pass, Activation::Relu, None)?;
        let mut x = tape.max_pool2d(&x, PoolOptions { window: 3, stride: 2, padding: 1 })?;
        let mut blocks = (0u64..).zip(&self.blocks);
        for depth in self.depths {
            for (layer, block) in blocks.by_ref().take(depth) {
                x = block.forward(tape, x, pass, layer)?;
            }
            x = tape.mixing_place(x)?;
        }
        tape.global_avg_pool(&x)
    }
}

/// Convolutions around a shortcut: two of 3×3, or 1×1, 3×3 and 1×1.
#[derive(Clone)]
struct Block {
    /// All but the last, which end in ReLU.
    inner: Vec<ConvNorm>,
    last: ConvNorm,
    shortcut: Option<ConvNorm>,
    drop: Drop,
}

impl Block {
    /// `channels`: of the input, within, and of the output, which has as many as within where the block
    /// is no bottleneck. The stride is that of the first 3×3 convolution (torchvision's ResNet "V1.5").
    fn new(channels: [usize; 3], stride: usize, drop: Drop, p: VarBuilder) -> Result<Self> {
        let [from, inner, to] = channels;
        let convolutions = if inner == to {
            vec![ConvSizes::three_by_three(from, to, stride), ConvSizes::three_by_three(to, to, 1)]
        } else {
            vec![
                ConvSizes::one_by_one(from, inner, 1),
                ConvSizes::three_by_three(inner, inner, stride),
                ConvSizes::one_by_one(inner, to, 1),
            ]
        };
        let layer = |(number, sizes): (usize, ConvSizes)| {
            let conv = Conv::new(sizes, p.pp(format!("C{number}")))?;
            let norm = BatchNorm::new(sizes.out_channels, p.pp(format!("BN{number}")))?;
            Ok(ConvNorm::new(conv, norm))
        };
        let mut inner = (1..).zip(convolutions).map(layer).collect::<Result<Vec<_>>>()?;
        // There are two or three.
        let last = inner.remove(inner.len() - 1);
        let shortcut = || -> Result<_> {
            let conv = Conv::new(ConvSizes::one_by_one(from, to, stride), p.pp("shortcut"))?;
            Ok(ConvNorm::new(conv, BatchNorm::new(to, p.pp("BNshortcut"))?))
        };
        Ok(Self { inner, last, shortcut: (from != to).then(shortcut).transpose()?, drop })
    }

    fn forward(
        &self,
        tape: &mut Tape,
        x: TapeTensor,
        pass: Pass,
        layer: u64,
    ) -> Result<TapeTensor> {
        let (first, others) = self.inner.split_at(1);
        let mut y = first[0].forward(tape, &x, pass, Activation::Relu, None)?;
        for conv in others {
            y = conv.forward(tape, &y, pass, Activation::Relu, None)?;
        }
        let short = match &self.shortcut {
            None => x,
            Some(shortcut) => shortcut.forward(tape, &x, pass, Activation::Identity, None)?,
        };
        let y = self.last.forward(tape, &y, pass, Activation::Relu, Some(&short))?;
        self.drop.forward(tape, y, pass, layer)
    }
}
