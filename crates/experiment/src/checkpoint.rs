//! Checkpoints: safetensors whose metadata carries the configuration and the progress.

use crate::{Config, Error, Model, RawConfig, write_atomically};
use candle_core::{DType, Device, Tensor};
use safetensors::SafeTensors;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

/// Tensors by name.
type Tensors = BTreeMap<String, Tensor>;

/// How far a training had come.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TrainingState {
    /// Whole epochs behind.
    pub epochs: usize,
    /// Steps behind in the epoch that is under way; not 0 only after an interruption.
    pub steps: usize,
    /// Sum of the losses of this epoch's images so far.
    pub loss_sum: f64,
    /// Images of this epoch so far that were classified rightly.
    pub correct: usize,
    /// Images of this epoch so far.
    pub seen: usize,
    /// Images of this epoch so far that were left out as broken.
    pub skipped: usize,
    /// Best validation accuracy so far, in percent.
    pub best_accuracy: Option<f64>,
    /// Whole epochs that were behind when it was reached: `best` is of then.
    pub best_epochs: usize,
}

/// The one field of the file's metadata: safetensors writes several in any order, and the
/// files of equal runs should be equal.
const METADATA_KEY: &str = "fewshot";

/// What lies in that field, as JSON.
#[derive(Serialize, Deserialize)]
struct Metadata {
    /// TOML.
    config: String,
    state: TrainingState,
}

/// A model with what is needed to evaluate it, or to go on training it.
pub struct Checkpoint {
    /// The configuration that it was trained by.
    pub config: RawConfig,
    /// How far the training had come.
    pub state: TrainingState,
    /// Parameters and running statistics, named `feature.…` and `classifier.…`.
    pub tensors: Tensors,
}

impl Checkpoint {
    /// Reads a checkpoint of ours.
    ///
    /// # Errors
    /// [`Error::Io`], or [`Error::Checkpoint`] for a file that is cut off, damaged, or no
    /// checkpoint.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let bytes = std::fs::read(path).map_err(Error::io("read", path))?;
        let bad = |reason: &dyn std::fmt::Display| Error::checkpoint(path, reason);
        let (_, header) = SafeTensors::read_metadata(&bytes).map_err(|e| bad(&e))?;
        let metadata = header.metadata().as_ref().and_then(|m| m.get(METADATA_KEY));
        let metadata = metadata
            .ok_or_else(|| bad(&"its metadata has no configuration: expected trainer's own"))?;
        let Metadata { config, state } = serde_json::from_str(metadata).map_err(|e| bad(&e))?;
        let config = RawConfig::from_toml(&config).map_err(|e| bad(&e))?;
        Ok(Self { config, state, tensors: read_tensors(path, &bytes)? })
    }

    /// Builds the model under a configuration, which may differ from the checkpoint's own in
    /// what does not concern the network.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] where the tensors are those of another network.
    pub fn model(&self, path: &Path, config: &Config, device: &Device) -> Result<Model, Error> {
        Model::from_tensors(config, &self.tensors, device).map_err(|e| {
            let backbone = config.method.backbone;
            Error::checkpoint(path, format!("does not hold a {backbone} network: {e}"))
        })
    }

    /// Writes a model beside `path` and renames it there.
    ///
    /// # Errors
    /// [`Error::Io`], as on a full disk; `path` is then as it was.
    pub fn write(
        path: &Path,
        config: &Config,
        state: &TrainingState,
        model: &Model,
    ) -> Result<(), Error> {
        let metadata = Metadata { config: config.to_toml(), state: state.clone() };
        let metadata = serde_json::to_string(&metadata).map_err(|e| Error::checkpoint(path, e))?;
        let metadata = HashMap::from([(METADATA_KEY.to_owned(), metadata)]);
        let variables = model.parameters.all();
        let tensors = variables.iter().map(|(name, v)| (name.clone(), v.as_tensor().clone()));
        write_tensors(path, &tensors.collect(), Some(metadata))
    }
}

/// Writes tensors as safetensors, beside and renamed.
pub(crate) fn write_tensors(
    path: &Path,
    tensors: &Tensors,
    metadata: Option<HashMap<String, String>>,
) -> Result<(), Error> {
    let bytes =
        safetensors::serialize(tensors, metadata).map_err(|e| Error::checkpoint(path, e))?;
    write_atomically(path, &bytes)
}

/// Reads the tensors of a safetensors file.
pub(crate) fn read_tensors(path: &Path, bytes: &[u8]) -> Result<Tensors, Error> {
    let parsed = SafeTensors::deserialize(bytes).map_err(|e| Error::checkpoint(path, e))?;
    let mut tensors = Tensors::new();
    for (name, view) in parsed.tensors() {
        let dtype = DType::try_from(view.dtype())
            .map_err(|e| Error::checkpoint(path, format!("tensor `{name}`: {e}")))?;
        let tensor = Tensor::from_raw_buffer(view.data(), dtype, view.shape(), &Device::Cpu)?;
        tensors.insert(name, tensor);
    }
    Ok(tensors)
}
