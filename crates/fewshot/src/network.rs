//! The network that turns photos into features.

use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor};
use evaluator::CheckpointFile;
use fewshot_experiment::{Checkpoint, Config, Model};
use fewshot_images::Preprocessing;
use fewshot_models::Pass;
use image::RgbImage;
use sha2::{Digest, Sha256};

use crate::Error;

/// A trained backbone.
pub struct Network {
    model: Model,
    config: Config,
    reference: String,
    sha256: String,
}

/// The network that comes along: `checkpoints/photos-resnet10`, whose README says what it was trained on.
static OWN: &[u8] = include_bytes!("../../../checkpoints/photos-resnet10/model.safetensors");

impl Network {
    /// Name of the network that comes along, where others have a path.
    pub const DEFAULT: &str = "default";

    /// Reads the checkpoint at a path, of a run's folder, or at an `hf://` address; or the network that
    /// comes along, by the name [`DEFAULT`](Self::DEFAULT).
    ///
    /// # Errors
    /// [`Error::Network`].
    pub fn open(given: &Path) -> Result<Self, Error> {
        if given == Path::new(Self::DEFAULT) {
            return Self::of(given, given.to_owned(), Checkpoint::parse(given, OWN.to_vec())?);
        }
        let CheckpointFile { path, name } = CheckpointFile::locate(given)?;
        let checkpoint = Checkpoint::read(&path)?;
        Self::of(&path, name, checkpoint)
    }

    fn of(path: &Path, name: PathBuf, checkpoint: Checkpoint) -> Result<Self, Error> {
        let config = checkpoint
            .config
            .check()
            .map_err(|e| fewshot_experiment::Error::checkpoint(path, e))?;
        let model = checkpoint.model(path, &config, &Device::Cpu)?.frozen(&config, &Device::Cpu)?;
        // By content, so that the same network in another file is the same.
        let mut hash = Sha256::new();
        for (name, tensor) in
            checkpoint.tensors.iter().filter(|(name, _)| name.starts_with("feature."))
        {
            hash.update(name.as_bytes());
            let numbers = tensor.to_dtype(candle_core::DType::F32).and_then(|t| t.flatten_all());
            let numbers = numbers
                .and_then(|t| t.to_vec1::<f32>())
                .map_err(fewshot_experiment::Error::from)?;
            numbers.iter().for_each(|number| hash.update(number.to_le_bytes()));
        }
        hash.update(config.method.image_size.to_le_bytes());
        if config.method.preprocessing != Preprocessing::Published {
            hash.update(format!("{:?}", config.method.preprocessing));
        }
        let sha256 = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Self { model, config, reference: name.to_string_lossy().into_owned(), sha256 })
    }

    /// The path or address that it was read from.
    pub fn reference(&self) -> &str {
        &self.reference
    }

    /// Name of the backbone: `resnet10`.
    pub fn backbone(&self) -> &'static str {
        self.config.method.backbone.name()
    }

    /// Side of its images, in pixels.
    pub fn image_size(&self) -> usize {
        self.config.method.image_size
    }

    /// How its images are resized, and normalized.
    pub fn preprocessing(&self) -> Preprocessing {
        self.config.method.preprocessing
    }

    /// Hash of its parameters and of how its images are made, which features depend on.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// Length of a feature.
    pub fn dim(&self) -> usize {
        self.config.method.backbone.features(self.image_size()).unwrap_or_default()
    }

    /// Computes the features `[N, D]` of images of its size, each L2-normalised.
    ///
    /// # Errors
    /// A network that gives numbers which are not finite.
    pub fn features(&self, images: &[RgbImage]) -> Result<Vec<Vec<f32>>, Error> {
        let size = self.image_size();
        let preprocessing = self.preprocessing();
        let numbers: Vec<f32> =
            images.iter().flat_map(|image| preprocessing.normalize(image)).collect();
        let forward = || -> candle_core::Result<Vec<Vec<f32>>> {
            let images = Tensor::from_vec(numbers, (images.len(), 3, size, size), &Device::Cpu)?;
            self.model.backbone.forward(&images, Pass::Eval)?.to_vec2()
        };
        let mut features = forward().map_err(fewshot_experiment::Error::from)?;
        for feature in &mut features {
            let norm = feature.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
            if !norm.is_finite() {
                return Err(Error::album(
                    Path::new(&self.reference),
                    "its features are not finite",
                ));
            }
            feature.iter_mut().for_each(|v| *v = (f64::from(*v) / norm.max(1e-12)) as f32);
        }
        Ok(features)
    }
}
