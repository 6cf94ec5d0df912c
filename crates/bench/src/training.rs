//! A training like the trainer's, without files and log.

use std::time::Instant;

use candle_core::{Device, Tensor};
use fewshot_experiment::{Config, Model, RawConfig, device, image_dtype};
use fewshot_losses::cross_entropy;
use fewshot_models::{BackboneKind, Pass};
use fewshot_ops::TapeContext;
use trainer::Optimizer;

use super::Error;

/// Number of base classes of mini-ImageNet.
pub const CLASSES: usize = 64;
/// Learning rate, which has no influence on the time of a step.
const RATE: f64 = 1e-3;

/// A network with its image and batch size.
#[derive(Clone, Copy, Debug)]
pub struct Network {
    /// Backbone.
    pub backbone: BackboneKind,
    /// Side of the images, in pixels.
    pub size: usize,
    /// Number of images in a batch.
    pub batch: usize,
}

impl Network {
    /// Returns the network with batches of two images of half the size.
    pub fn smallest(self) -> Self {
        Self { size: self.size / 2, batch: 2, ..self }
    }

    /// Returns the configuration of its training: the paper's head (neg-cosine, scale 30, margin
    /// -0.02), Adam with weight decay 5e-4.
    ///
    /// # Errors
    /// None in practice: the settings are valid.
    pub fn config(self) -> Result<Config, Error> {
        self.config_with(&[])
    }

    /// Returns [`config`](Self::config) with further settings.
    ///
    /// # Errors
    /// Settings that are invalid or contradict each other.
    pub fn config_with(self, settings: &[&str]) -> Result<Config, Error> {
        let Self { backbone, size, batch } = self;
        let mut raw = RawConfig::default();
        for setting in [
            format!("method.backbone={backbone}"),
            format!("method.image_size={size}"),
            "method.classifier=neg-cosine".to_owned(),
            "method.scale=30".to_owned(),
            "method.margin=-0.02".to_owned(),
            "train.optimizer=adam".to_owned(),
            "train.weight_decay=5e-4".to_owned(),
            format!("train.batch_size={batch}"),
        ] {
            raw.set(&setting)?;
        }
        settings.iter().try_for_each(|setting| raw.set(setting))?;
        Ok(raw.check()?)
    }

    /// Returns the additions and multiplications of all convolutions in one training step, for
    /// each image: those of the forward pass, and twice as many in the backward pass, less the
    /// gradient of the image. For ResNet-10 and ResNet-18 only.
    pub fn operations(self) -> f64 {
        let blocks = if self.backbone == BackboneKind::ResNet10 { 1 } else { 2 };
        let half = |side: usize| side.div_ceil(2);
        let mut side = half(self.size);
        let stem = 49 * 3 * 64 * side * side;
        side = half(side);
        let (mut products, mut from) = (0, 64);
        for stage in 0..4 {
            let to = 64 << stage;
            if stage > 0 {
                side = half(side);
                products += from * to * side * side;
            }
            products += 9 * (from + (2 * blocks - 1) * to) * to * side * side;
            from = to;
        }
        2.0 * (2 * stem + 3 * products) as f64
    }

    /// Draws one batch of random images, `[B, 3, S, S]`.
    ///
    /// # Errors
    /// Out of memory.
    pub fn images(self) -> Result<Tensor, Error> {
        Ok(Tensor::randn(0f32, 1.0, (self.batch, 3, self.size, self.size), &Device::Cpu)?)
    }

    /// Returns the labels of one batch, `[B]`.
    ///
    /// # Errors
    /// Out of memory.
    pub fn labels(self) -> Result<Tensor, Error> {
        let labels = (0..self.batch as u32).map(|image| image % CLASSES as u32);
        Ok(Tensor::from_iter(labels, &Device::Cpu)?)
    }
}

impl std::fmt::Display for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} px batch {}", self.backbone, self.size, self.batch)
    }
}

/// A model in training.
pub struct Training {
    model: Model,
    optimizer: Optimizer,
    steps: u64,
    device: Device,
}

impl Training {
    /// Initializes the model that `config` describes.
    ///
    /// # Errors
    /// Out of memory.
    pub fn new(config: &Config) -> Result<Self, Error> {
        let device = device(config)?;
        let model = Model::new(config, CLASSES, &device)?;
        let parameters = model.parameters.trainable();
        let train = &config.train;
        let optimizer = Optimizer::new(train.optimizer, train.weight_decay, parameters)?;
        Ok(Self { model, optimizer, steps: 0, device })
    }

    /// Moves images and labels to the training's device, images in the type that it computes in.
    ///
    /// # Errors
    /// Out of memory.
    pub fn to_device(
        &self,
        config: &Config,
        images: &Tensor,
        labels: &Tensor,
    ) -> Result<[Tensor; 2], Error> {
        let images = images.to_device(&self.device)?.to_dtype(image_dtype(config))?;
        Ok([images, labels.to_device(&self.device)?])
    }

    /// Takes one training step and returns the loss, which a GPU need not have computed yet.
    ///
    /// # Errors
    /// Shapes that do not fit the model.
    pub fn step(&mut self, images: &Tensor, labels: &Tensor) -> Result<Tensor, Error> {
        let pass = Pass::Train { seed: 0, forward: self.steps };
        let context = TapeContext::new();
        let features = self.model.backbone.forward_with(images, pass, &context)?;
        let scores = self.model.head()?.training_scores(&features, labels)?;
        let loss = cross_entropy(&scores, labels)?;
        self.optimizer.step(&context.backward(&loss)?, RATE)?;
        self.steps += 1;
        Ok(loss.detach())
    }

    /// Takes one training step and returns the milliseconds of forward pass, head and loss,
    /// backward pass, and update; the device is waited for after each.
    ///
    /// # Errors
    /// As [`step`](Self::step).
    pub fn phases(&mut self, images: &Tensor, labels: &Tensor) -> Result<[f64; 4], Error> {
        let pass = Pass::Train { seed: 0, forward: self.steps };
        let context = TapeContext::new();
        self.steps += 1;
        let device = self.device.clone();
        let mut since = Instant::now();
        let mut lap = || -> Result<f64, Error> {
            device.synchronize()?;
            let milliseconds = 1e3 * since.elapsed().as_secs_f64();
            since = Instant::now();
            Ok(milliseconds)
        };
        let features = self.model.backbone.forward_with(images, pass, &context)?;
        let forward = lap()?;
        let scores = self.model.head()?.training_scores(&features, labels)?;
        let loss = cross_entropy(&scores, labels)?;
        let head = lap()?;
        let gradients = context.backward(&loss)?;
        let backward = lap()?;
        self.optimizer.step(&gradients, RATE)?;
        Ok([forward, head, backward, lap()?])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// ResNet-18 has 1.82 and ResNet-10 0.89 billion multiply-adds for one image of 224 px, as
    /// published.
    #[test]
    fn operations_are_those_of_the_known_networks() {
        for (backbone, products) in
            [(BackboneKind::ResNet18, 1.814e9), (BackboneKind::ResNet10, 0.891e9)]
        {
            let network = Network { backbone, size: 224, batch: 1 };
            let stem = 49.0 * 3.0 * 64.0 * 112.0 * 112.0;
            let expected = 6.0 * products - 2.0 * stem;
            assert!((network.operations() / expected - 1.0).abs() < 0.01, "{backbone}");
        }
    }
}
