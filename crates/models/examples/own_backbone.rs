//! A backbone of one's own: two convolutions, trained with a margin head.
//!
//! ```console
//! $ cargo run -p fewshot-models --example own_backbone
//! ```
//!
//! To make such a network a built-in that configurations can name, touch
//!
//! 1. a file of its own in `crates/models/src`: the network, and a constant `Architecture` that says
//!    how long its features are, which image sizes it takes, and by which parameter a checkpoint of
//!    it is recognised (`resnet12.rs` is one to start from);
//! 2. `crates/models/src/kind.rs`: a variant of `BackboneKind`, from which its name follows, and its
//!    line in `architecture`;
//! 3. `crates/models/src/lib.rs`: the `mod` line.
//!
//! Configurations, checkpoints, command lines and error messages then know it.

use candle_core::{DType, Device, Result, Tensor};
use candle_nn::{Optimizer, SGD, VarBuilder};
use fewshot_losses::{ClassifierKind, Margin, MarginHead, cross_entropy};
use fewshot_models::layers::{BatchNorm, Conv, ConvNorm, ConvSizes};
use fewshot_models::{Network, Parameters, Pass};
use fewshot_ops::{Activation, PoolOptions, Tape, TapeContext, TapeTensor};

/// Length of a feature.
const FEATURES: usize = 32;

/// Two 3×3 convolutions, each with batch norm and ReLU; max pooling between them, global average
/// pooling behind them.
struct Conv2 {
    first: ConvNorm,
    second: ConvNorm,
}

impl Conv2 {
    fn new(parameters: VarBuilder) -> Result<Self> {
        let layer = |in_channels, out_channels, parameters: VarBuilder| -> Result<_> {
            let sizes = ConvSizes::three_by_three(in_channels, out_channels, 1);
            let conv = Conv::new(sizes, parameters.pp("C"))?;
            Ok(ConvNorm::new(conv, BatchNorm::new(out_channels, parameters.pp("BN"))?))
        };
        Ok(Self {
            first: layer(3, 16, parameters.pp("layer1"))?,
            second: layer(16, FEATURES, parameters.pp("layer2"))?,
        })
    }
}

impl Network for Conv2 {
    fn forward(&self, tape: &mut Tape, images: &TapeTensor, pass: Pass) -> Result<TapeTensor> {
        let x = self.first.forward(tape, images, pass, Activation::Relu, None)?;
        let x = tape.max_pool2d(&x, PoolOptions { window: 2, stride: 2, padding: 0 })?;
        let x = self.second.forward(tape, &x, pass, Activation::Relu, None)?;
        tape.global_avg_pool(&x)
    }
}

/// Images `[B, 3, 12, 12]` of vertical (label 0) and horizontal (label 1) stripes.
fn stripes(count: u32) -> Result<(Tensor, Tensor)> {
    let labels = Tensor::from_iter((0..count).map(|i| i % 2), &Device::Cpu)?;
    let pixel = |index: u32| {
        let (image, y, x) = (index / 432, index / 12 % 12, index % 12);
        let along = if image % 2 == 0 { x } else { y };
        if (along + image / 2) % 4 < 2 { 1f32 } else { -1.0 }
    };
    let images = Tensor::from_iter((0..432 * count).map(pixel), &Device::Cpu)?;
    Ok((images.reshape((count as usize, 3, 12, 12))?, labels))
}

/// Trains the network. Returns the loss of each step, and features for evaluation `[16, D]`.
fn train() -> Result<(Vec<f32>, Tensor)> {
    let parameters = Parameters::new(0);
    let builder = parameters.builder(DType::F32, &Device::Cpu);
    let network = Conv2::new(builder.pp("feature"))?;
    let margin = Margin::new(10.0, -0.02).map_err(candle_core::Error::wrap)?;
    let kind = ClassifierKind::NegCosine;
    let head = MarginHead::new(kind, FEATURES, 2, margin, builder.pp("classifier"))
        .map_err(candle_core::Error::wrap)?;

    let (images, labels) = stripes(16)?;
    let mut optimizer = SGD::new(parameters.trainable().into_values().collect(), 0.05)?;
    let mut losses = Vec::new();
    for step in 0..10 {
        let pass = Pass::Train { seed: 0, forward: step };
        let features = network.features(&images, pass, &TapeContext::new())?;
        let scores = head.training_scores(&features, &labels).map_err(candle_core::Error::wrap)?;
        let loss = cross_entropy(&scores, &labels)?;
        optimizer.backward_step(&loss)?;
        losses.push(loss.to_scalar()?);
    }
    Ok((losses, network.features(&images, Pass::Eval, &TapeContext::new())?))
}

fn main() -> Result<()> {
    let (losses, features) = train()?;
    println!("loss {} → {}", losses[0], losses[losses.len() - 1]);
    println!("features {:?}", features.dims());
    Ok(())
}

#[test]
fn the_loss_falls() {
    let (losses, features) = train().unwrap();
    assert!(losses[losses.len() - 1] < 0.5 * losses[0], "{losses:?}");
    assert_eq!(features.dims(), [16, FEATURES]);
}
