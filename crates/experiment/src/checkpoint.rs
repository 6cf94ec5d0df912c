//! Checkpoints: those of this workspace, whose metadata holds the configuration and the training's
//! progress, and states that other programs saved.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use candle_core::{DType, Device, Tensor};
use fewshot_losses::ClassifierKind;
use fewshot_models::{BackboneKind, from_published};
use safetensors::SafeTensors;
use serde::{Deserialize, Serialize};

use crate::{Config, Error, Model, RawConfig, write_atomically};

/// Tensors by name.
type Tensors = BTreeMap<String, Tensor>;

/// Progress of a training.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TrainingState {
    /// Number of complete epochs.
    pub epochs: usize,
    /// Number of complete batches of the current epoch, those included of which every image was
    /// broken; other than 0 only after an interruption.
    pub steps: usize,
    /// Sum of the losses of this epoch's images so far.
    #[serde(with = "exact")]
    pub loss_sum: f64,
    /// Number of images of this epoch so far that were classified correctly.
    pub correct: usize,
    /// Number of images of this epoch so far.
    pub seen: usize,
    /// As `loss_sum`, of the scores without margin.
    #[serde(with = "exact")]
    pub plain_loss_sum: f64,
    /// As `correct`, by the scores without margin.
    pub plain_correct: usize,
    /// Number of images that these two are of: fewer than `seen` where an earlier version, which
    /// did not keep them, began the epoch.
    pub plain_seen: usize,
    /// Number of images of this epoch so far that were skipped as broken.
    pub skipped: usize,
    /// Number of training images within an epoch, by which a resumed run knows that the rest of the
    /// epoch is still the same; 0 after a complete one.
    #[serde(skip_serializing_if = "is_zero")]
    pub images: usize,
    /// Best validation accuracy so far, in percent.
    #[serde(with = "exact")]
    pub best_accuracy: Option<f64>,
    /// Number of complete epochs when it was reached: that of the checkpoint `best`.
    pub best_epochs: usize,
}

fn is_zero(number: &usize) -> bool {
    *number == 0
}

/// Numbers that are the same to the last bit when they are read again, as a run that goes on needs
/// them. serde_json rounds some numbers of many digits to a neighbour (its feature `float_roundtrip`,
/// which would be switched on for all crates, does not): those are written as text.
mod exact {
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};
    use serde_json::Value;

    /// `f64`, or perhaps one.
    pub(super) trait Number: Copy {
        fn to_option(self) -> Option<f64>;
        fn from_option(number: Option<f64>) -> Option<Self>;
    }

    impl Number for f64 {
        fn to_option(self) -> Option<f64> {
            Some(self)
        }
        fn from_option(number: Option<f64>) -> Option<Self> {
            number
        }
    }

    impl Number for Option<f64> {
        fn to_option(self) -> Option<f64> {
            self
        }
        fn from_option(number: Option<f64>) -> Option<Self> {
            Some(number)
        }
    }

    pub(super) fn serialize<N: Number, S: Serializer>(number: &N, s: S) -> Result<S::Ok, S::Error> {
        let number = number.to_option();
        let read_again = |n: f64| serde_json::from_str(&Value::from(n).to_string()).ok();
        match number.filter(|&n| read_again(n) != Some(n)) {
            Some(number) => number.to_string().serialize(s),
            None => number.serialize(s),
        }
    }

    pub(super) fn deserialize<'de, N: Number, D: Deserializer<'de>>(d: D) -> Result<N, D::Error> {
        let value = Value::deserialize(d)?;
        let number = match &value {
            Value::Null => None,
            Value::String(text) => Some(text.parse().map_err(D::Error::custom)?),
            value => Some(value.as_f64().ok_or_else(|| D::Error::custom("not a number"))?),
        };
        N::from_option(number).ok_or_else(|| D::Error::custom("no number"))
    }
}

/// The one field of the file's metadata: safetensors writes several in any order, and the
/// files of equal runs should be equal.
pub(crate) const METADATA_KEY: &str = "fewshot";

/// The content of that field, as JSON.
#[derive(Serialize, Deserialize)]
struct Metadata {
    /// The configuration, as TOML.
    config: String,
    state: TrainingState,
}

/// A model with what is needed to evaluate it, or to continue its training.
pub struct Checkpoint {
    /// The configuration that it was trained by. For a state that another program saved, only
    /// what its tensors determine: backbone, classifier, image size.
    pub config: RawConfig,
    /// Progress of the training.
    pub state: TrainingState,
    /// Parameters and running statistics, named `feature.…` and `classifier.…`.
    pub tensors: Tensors,
}

impl Checkpoint {
    /// Reads a checkpoint of this workspace, a file of `torch.save` as the published code writes
    /// it (`{epoch, state, …}`, or the state alone), or a safetensors file of such a state. They
    /// are told apart by their content.
    ///
    /// # Errors
    /// [`Error::Io`], or [`Error::Checkpoint`] for a file that is cut off, damaged, malicious, or
    /// no checkpoint.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let bytes = std::fs::read(path).map_err(Error::io("read", path))?;
        // The length that safetensors begin with may look like the start of any other file.
        let is_safetensors = bytes.get(8) == Some(&b'{');
        if !is_safetensors && (bytes.starts_with(b"PK") || bytes.starts_with(&[0x80])) {
            return read_pytorch(path, bytes);
        }
        let bad = |reason: &dyn std::fmt::Display| Error::checkpoint(path, reason);
        let metadata = read_metadata(path, &bytes)?;
        let tensors = read_tensors(path, &bytes)?;
        let Some(metadata) = metadata else { return from_state(path, tensors, 0) };
        let Metadata { config, state } = serde_json::from_str(&metadata).map_err(|e| bad(&e))?;
        let config = RawConfig::from_toml(&config).map_err(|e| bad(&e))?;
        Ok(Self { config, state, tensors: from_published(tensors) })
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
        let metadata = Metadata { config: config.to_owned(), state: state.clone() };
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

/// Reads a file of `torch.save`.
fn read_pytorch(path: &Path, bytes: Vec<u8>) -> Result<Checkpoint, Error> {
    let read = || -> Result<_, fewshot_pytorch::Error> {
        let file = fewshot_pytorch::Checkpoint::from_bytes(bytes)?;
        let root = file.root();
        let (state, epoch) = match root.get("state") {
            Ok(state) => (state, root.get("epoch")?.as_int()?),
            Err(_) => (root, 0),
        };
        Ok((state.tensors()?, epoch))
    };
    let (tensors, epoch) = read().map_err(|e| Error::checkpoint(path, e))?;
    from_state(path, tensors, usize::try_from(epoch).unwrap_or_default())
}

/// Makes a checkpoint of a state without a configuration: its tensors determine the network.
fn from_state(path: &Path, tensors: Tensors, epochs: usize) -> Result<Checkpoint, Error> {
    let tensors = from_published(tensors);
    let Some(backbone) = BackboneKind::of_state(&tensors, "feature.") else {
        let names: Vec<_> = tensors.keys().take(3).map(String::as_str).collect();
        let names = if names.is_empty() { "nothing".to_owned() } else { names.join(", ") };
        let reason = format!(
            "holds no backbone that is known here: expected names as feature.layer1.0.C1.weight \
             and classifier.weight, got {names}"
        );
        return Err(Error::checkpoint(path, reason));
    };
    // Only softmax has a bias; the others differ in nothing that is saved.
    let has_bias = tensors.contains_key("classifier.bias");
    let classifier = if has_bias { ClassifierKind::Softmax } else { ClassifierKind::NegCosine };
    let features = tensors.get("classifier.weight").and_then(|w| w.dims().get(1).copied());
    let image_size = backbone.usual_image_size(features.unwrap_or_default());
    let mut config = RawConfig::default();
    config.set(&format!("method.backbone={backbone}"))?;
    config.set(&format!("method.classifier={classifier}"))?;
    config.set(&format!("method.image_size={image_size}"))?;
    let state = TrainingState { epochs, ..TrainingState::default() };
    Ok(Checkpoint { config, state, tensors })
}

/// Writes tensors as safetensors, to a temporary file that is renamed to `path`.
pub(crate) fn write_tensors(
    path: &Path,
    tensors: &Tensors,
    metadata: Option<HashMap<String, String>>,
) -> Result<(), Error> {
    let on_cpu =
        |(name, tensor): (&String, &Tensor)| Ok((name.clone(), tensor.to_device(&Device::Cpu)?));
    let tensors: Tensors = tensors.iter().map(on_cpu).collect::<Result<_, Error>>()?;
    let bytes =
        safetensors::serialize(&tensors, metadata).map_err(|e| Error::checkpoint(path, e))?;
    write_atomically(path, &bytes)
}

/// Reads what a safetensors file's metadata says of its run, if it does.
pub(crate) fn read_metadata(path: &Path, bytes: &[u8]) -> Result<Option<String>, Error> {
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(|e| Error::checkpoint(path, e))?;
    Ok(header.metadata().as_ref().and_then(|fields| fields.get(METADATA_KEY)).cloned())
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers as the sums of losses are, of which serde_json alone would round some.
    #[test]
    fn the_state_is_read_as_it_was_to_the_last_bit() {
        let mut texts = 0;
        for number in (1..20_000).map(|n| f64::from(n) / 7.0 + f64::from(n * n) * 1e-7) {
            let state = TrainingState {
                loss_sum: number,
                best_accuracy: Some(-number),
                ..TrainingState::default()
            };
            let json = serde_json::to_string(&state).unwrap();
            texts += usize::from(json.contains("\"loss_sum\":\""));
            let read: TrainingState = serde_json::from_str(&json).unwrap();
            assert_eq!(read.loss_sum.to_bits(), number.to_bits(), "{json}");
            assert_eq!(read, state);
        }
        assert!(texts > 0, "none that serde_json would round was tried");
        // As all earlier checkpoints have them.
        let read = r#"{"epochs":2,"loss_sum":1.5,"best_accuracy":null}"#;
        let read: TrainingState = serde_json::from_str(read).unwrap();
        assert_eq!((read.epochs, read.loss_sum, read.best_accuracy), (2, 1.5, None));
    }

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
