//! ResNet-12, published `lib/backbone/resnet12.py`.

use std::sync::Arc;

use candle_core::Result;
use candle_nn::VarBuilder;
use fewshot_ops::{Activation, PoolOptions, Tape, TapeTensor};

use crate::architecture::Architecture;
use crate::drop::Drop;
use crate::layers::{BatchNorm, Conv, ConvNorm, ConvSizes};
use crate::{DropOptions, Network, Pass};

pub const RESNET12: Architecture = Architecture {
    features: |_| 640,
    usual_image_size: |_| 84,
    smallest_image: 16,
    signature: "layer1.0.C3.weight",
    second_names: None,
    build: |drop, parameters| Ok(Arc::new(ResNet12::new(drop, parameters)?)),
};

const LEAKY: Activation = Activation::LeakyRelu(0.1);

/// Four stages of 64, 160, 320 and 640 channels, each halving the image.
struct ResNet12 {
    stages: Vec<Stage>,
}

impl ResNet12 {
    fn new(drop: DropOptions, parameters: VarBuilder) -> Result<Self> {
        let mut from = 3;
        let mut stages = Vec::new();
        for (index, to) in [64, 160, 320, 640].into_iter().enumerate() {
            let drop = Drop::for_stage(drop, index >= 2);
            let parameters = parameters.pp(format!("layer{}", index + 1)).pp(0);
            stages.push(Stage::new(from, to, drop, parameters)?);
            from = to;
        }
        Ok(Self { stages })
    }
}

impl Network for ResNet12 {
    fn forward(&self, tape: &mut Tape, images: &TapeTensor, pass: Pass) -> Result<TapeTensor> {
        let mut x = images.clone();
        for (layer, stage) in self.stages.iter().enumerate() {
            x = stage.forward(tape, x, pass, layer as u64)?;
            x = tape.mixing_place(x)?;
        }
        tape.global_avg_pool(&x)
    }
}

/// Three 3×3 convolutions around a 1×1 shortcut, then max pooling.
#[derive(Clone)]
struct Stage {
    layers: Vec<ConvNorm>,
    shortcut: ConvNorm,
    drop: Drop,
}

impl Stage {
    fn new(from: usize, to: usize, drop: Drop, parameters: VarBuilder) -> Result<Self> {
        let layer = |(i, from): (usize, usize)| {
            let sizes = ConvSizes::three_by_three(from, to, 1);
            let conv = Conv::new(sizes, parameters.pp(format!("C{}", i + 1)))?;
            Ok(ConvNorm::new(conv, BatchNorm::new(to, parameters.pp(format!("BN{}", i + 1)))?))
        };
        let shortcut = parameters.pp("downsample");
        Ok(Self {
            layers: [from, to, to].into_iter().enumerate().map(layer).collect::<Result<_>>()?,
            shortcut: ConvNorm::new(
                Conv::new(ConvSizes::one_by_one(from, to, 1), shortcut.pp(0))?,
                BatchNorm::new(to, shortcut.pp(1))?,
            ),
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
        let short = self.shortcut.forward(tape, &x, pass, Activation::Identity, None)?;
        let last = self.layers.len() - 1;
        let mut y = x;
        for (i, layer) in self.layers.iter().enumerate() {
            let residual = (i == last).then_some(&short);
            y = layer.forward(tape, &y, pass, LEAKY, residual)?;
        }
        let y = tape.max_pool2d(&y, PoolOptions { window: 2, stride: 2, padding: 0 })?;
        self.drop.forward(tape, y, pass, layer)
    }
}
