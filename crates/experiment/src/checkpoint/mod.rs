//! Checkpoints: those of this workspace, whose metadata holds the configuration and the training's
//! progress, and states that other programs saved.

mod form;
mod others;
mod safe;
mod state;

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor};
use fewshot_models::from_published;
use serde::{Deserialize, Serialize};

pub(crate) use self::safe::{read_metadata, read_tensors, write_tensors};
pub use self::state::TrainingState;
use crate::run::{BEST, LAST};
use crate::{Config, Error, Model, RawConfig};

/// Tensors by name.
type Tensors = BTreeMap<String, Tensor>;

/// The one field of the file's metadata: safetensors writes several in any order, and the
/// files of equal runs should be equal.
pub(crate) const METADATA_KEY: &str = "fewshot";

/// The content of that field, as JSON.
#[derive(Serialize, Deserialize)]
struct Metadata {
    /// The configuration, as TOML.
    config: String,
    state: TrainingState,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    feature_mean: Option<FeatureMean>,
}

/// The mean feature of the images that a network was trained on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FeatureMean {
    /// The power that elements were raised to before ([`Test::power`](crate::Test::power)).
    pub power: f64,
    /// `[D]`.
    pub values: Vec<f32>,
}

/// A model with what is needed to evaluate it, or to continue its training.
pub struct Checkpoint {
    /// The configuration that it was trained by. For a state that another program saved, only
    /// what its tensors determine: backbone, classifier, image size.
    pub config: RawConfig,
    /// Progress of the training.
    pub state: TrainingState,
    /// The mean feature of its base images, if it was asked for when it was trained.
    pub feature_mean: Option<FeatureMean>,
    /// Parameters and running statistics, named `feature.…` and `classifier.…`.
    pub tensors: Tensors,
}

impl Checkpoint {
    /// Returns the file that is meant by a path: a run's folder stands for its best checkpoint, or
    /// for its last one where there is no best yet.
    pub fn locate(given: &Path) -> PathBuf {
        let mut of_run = [BEST, LAST].map(|name| given.join(name)).into_iter();
        of_run.find(|file| file.is_file()).unwrap_or_else(|| given.to_owned())
    }

    /// Reads a checkpoint of this workspace, a file of `torch.save` as the published code,
    /// Lightning and others write it (`{epoch, state, …}`, `{epoch, state_dict, …}`, or the state
    /// alone), or a safetensors file of such a state. They are told apart by their content.
    /// [`from_published`] tells which names are known.
    ///
    /// # Errors
    /// [`Error::Io`], or [`Error::Checkpoint`] for a file that is cut off, damaged, malicious, or
    /// no checkpoint.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let bad = |reason: &dyn std::fmt::Display| Error::checkpoint(path, reason);
        if path.is_dir() {
            return Err(bad(&format!("is a folder without {BEST} or {LAST}: name a file")));
        }
        // A pipe would wait for a writer, and a device may have no end.
        if !std::fs::metadata(path).map_err(Error::io("read", path))?.is_file() {
            return Err(bad(&"is a pipe or a device, not a file"));
        }
        let bytes = std::fs::read(path).map_err(Error::io("read", path))?;
        Self::parse(path, bytes)
    }

    /// As [`read`](Self::read), of the content of a file that errors call `path`.
    ///
    /// # Errors
    /// Those of [`read`](Self::read).
    pub fn parse(path: &Path, bytes: Vec<u8>) -> Result<Self, Error> {
        let bad = |reason: &dyn std::fmt::Display| Error::checkpoint(path, reason);
        // The length that safetensors begin with may look like the start of any other file.
        if bytes.get(8) != Some(&b'{') {
            if bytes.starts_with(b"PK") || bytes.starts_with(&[0x80]) {
                return others::read_pytorch(path, bytes);
            }
            if let Some(what) = form::of_no_checkpoint(&bytes) {
                return Err(bad(&what));
            }
        }
        let metadata = read_metadata(path, &bytes)?;
        let tensors = read_tensors(path, &bytes)?;
        let Some(metadata) = metadata else { return others::from_state(path, tensors, 0) };
        let Metadata { config, state, feature_mean } =
            serde_json::from_str(&metadata).map_err(|e| bad(&e))?;
        let config = RawConfig::from_toml(&config).map_err(|e| bad(&e))?;
        let tensors = from_published(tensors).map_err(|e| bad(&e))?;
        Ok(Self { config, state, feature_mean, tensors })
    }

    /// Builds the model by a configuration, which may differ from the checkpoint's own in
    /// settings that do not concern the network.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] if the tensors are those of another network.
    pub fn model(&self, path: &Path, config: &Config, device: &Device) -> Result<Model, Error> {
        Model::from_tensors(config, &self.tensors, device).map_err(|e| {
            let (backbone, classifier) = (config.method.backbone, config.method.classifier);
            let reason = format!("does not hold a {backbone} network with {classifier}: {e}");
            Error::checkpoint(path, reason)
        })
    }

    /// Writes a model, with a configuration in TOML, to a temporary file and renames it to `path`.
    /// It has all names of a published `state_dict`, so that PyTorch loads it strictly.
    ///
    /// # Errors
    /// [`Error::Io`], as on a full disk; `path` is then as it was.
    pub fn write(
        path: &Path,
        config: &str,
        state: &TrainingState,
        model: &Model,
    ) -> Result<(), Error> {
        Self::write_with(path, config, state, model, None)
    }

    /// Writes a model as [`write`](Self::write), with the mean feature of its base images.
    ///
    /// # Errors
    /// Those of [`write`](Self::write).
    pub fn write_with(
        path: &Path,
        config: &str,
        state: &TrainingState,
        model: &Model,
        feature_mean: Option<FeatureMean>,
    ) -> Result<(), Error> {
        let metadata = Metadata { config: config.to_owned(), state: state.clone(), feature_mean };
        let metadata = serde_json::to_string(&metadata).map_err(|e| Error::checkpoint(path, e))?;
        let metadata = HashMap::from([(METADATA_KEY.to_owned(), metadata)]);
        let mut tensors = Tensors::new();
        let backbone = model.backbone.kind();
        for (name, variable) in model.parameters.all() {
            if let Some(second) = backbone.second_name(&name) {
                tensors.insert(second, variable.as_tensor().clone());
            }
            tensors.insert(name, variable.as_tensor().clone());
        }
        write_tensors(path, &tensors, Some(metadata))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A safetensors file whose header has 0x…80 bytes begins as a pickle does.
    #[test]
    fn safetensors_are_not_taken_for_a_pickle() {
        let mut raw = RawConfig::default();
        raw.set("method.backbone=conv4").unwrap();
        let config = raw.check().unwrap();
        let model = Model::new(&config, 3, &Device::Cpu).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("any.safetensors");
        let starts_like_a_pickle = |length: usize| {
            let padded = format!("{}# {}", config.to_toml(), "x".repeat(length));
            Checkpoint::write(&path, &padded, &TrainingState::default(), &model).unwrap();
            std::fs::read(&path).unwrap()[0] == 0x80
        };
        assert!((0..256).step_by(8).any(starts_like_a_pickle));
        let read = Checkpoint::read(&path).unwrap();
        assert_eq!(read.config.check().unwrap().to_toml(), config.to_toml());
        assert_eq!(read.tensors.len(), model.parameters.all().len());
    }
}
