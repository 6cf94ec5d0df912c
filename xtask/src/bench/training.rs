//! A training as the trainer has it, without its files and its log.

use std::time::Instant;

use candle_core::{Device, Tensor};
use fewshot_experiment::{Config, Model, RawConfig, device, image_dtype};
use fewshot_losses::{backward, cross_entropy};
use fewshot_models::{BackboneKind, Pass};
use trainer::Optimizer;

use super::Error;

/// Base classes of mini-ImageNet.
pub const CLASSES: usize = 64;
/// The learning rate, which takes no part in how long a step is.
const RATE: f64 = 1e-3;

/// A network with the sizes of its batches.
#[derive(Clone, Copy, Debug)]
pub struct Network {
    /// The backbone.
    pub backbone: BackboneKind,
    /// Side of its images, in pixels.
    pub size: usize,
    /// Images a batch.
    pub batch: usize,
}

impl Network {
    /// Two images of half the size.
    pub fn smallest(self) -> Self {
        Self { size: self.size / 2, batch: 2, ..self }
    }

    /// Drawn anew, with the paper's head: neg-cosine, scale 30, margin -0.02; weight decay
    /// 5e-4.
    ///
    /// # Errors
    /// Out of memory.
    pub fn config(self) -> Result<Config, Error> {
        self.config_with(&[])
    }

    /// The same with further settings.
    ///
    /// # Errors
    /// Settings that do not go together.
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

    /// Sums and products of the convolutions of one training step, for each image: forward, and
    /// twice as many backward but for the gradient of the image. Of ResNet-10 and ResNet-18.
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

    /// One batch of random images, `[B, 3, S, S]`.
    ///
    /// # Errors
    /// Out of memory.
    pub fn images(self) -> Result<Tensor, Error> {
        Ok(Tensor::randn(0f32, 1.0, (self.batch, 3, self.size, self.size), &Device::Cpu)?)
    }

    /// Labels of one batch, `[B]`.
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

/// A training under way.
pub struct Training {
    model: Model,
    optimizer: Optimizer,
    steps: u64,
    device: Device,
}

impl Training {
    /// Draws the model that `config` describes.
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

    /// Images and labels where and as the network takes them.
    ///
    /// # Errors
    /// Out of memory.
    pub fn place(
        &self,
        config: &Config,
        images: &Tensor,
        labels: &Tensor,
    ) -> Result<[Tensor; 2], Error> {
        let images = images.to_device(&self.device)?.to_dtype(image_dtype(config))?;
        Ok([images, labels.to_device(&self.device)?])
    }

    /// One update; gives the loss, which a GPU need not have computed yet.
    ///
    /// # Errors
    /// Shapes that do not fit the model.
    pub fn step(&mut self, images: &Tensor, labels: &Tensor) -> Result<Tensor, Error> {
        let pass = Pass::Train { seed: 0, forward: self.steps };
        let features = self.model.backbone.forward(images, pass)?;
        let scores = self.model.head.training_scores(&features, labels)?;
        let loss = cross_entropy(&scores, labels)?;
        self.optimizer.step(&backward(&loss)?, RATE)?;
        self.steps += 1;
        Ok(loss.detach())
    }

    /// How long forward, loss, backward and update take, each waited for, in milliseconds.
    ///
    /// # Errors
    /// As [`step`](Self::step).
    pub fn phases(&mut self, images: &Tensor, labels: &Tensor) -> Result<[f64; 4], Error> {
        let pass = Pass::Train { seed: 0, forward: self.steps };
        self.steps += 1;
        let device = self.device.clone();
        let mut since = Instant::now();
        let mut lap = || -> Result<f64, Error> {
            device.synchronize()?;
            let milliseconds = 1e3 * since.elapsed().as_secs_f64();
            since = Instant::now();
            Ok(milliseconds)
        };
        let features = self.model.backbone.forward(images, pass)?;
        let forward = lap()?;
        let scores = self.model.head.training_scores(&features, labels)?;
        let loss = cross_entropy(&scores, labels)?;
        let head = lap()?;
        let gradients = backward(&loss)?;
        let back = lap()?;
        self.optimizer.step(&gradients, RATE)?;
        Ok([forward, head, back, lap()?])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 1.82 and 0.89 billion products, as published for one image of 224 px.
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
