//! Checkpoints of other programs, which carry no configuration.

use std::path::Path;

use candle_core::DType;
use fewshot_losses::ClassifierKind;
use fewshot_models::{BackboneKind, from_published};
use fewshot_pytorch::PickleValue;

use super::{Checkpoint, Tensors, TrainingState};
use crate::{Error, RawConfig};

/// Keys under which programs save a model's state beside other things: the published code, Lightning,
/// and what is usual elsewhere.
const STATE_KEYS: [&str; 5] = ["state", "state_dict", "model_state_dict", "model", "net"];

/// Reads a file of `torch.save`.
pub fn read_pytorch(path: &Path, bytes: Vec<u8>) -> Result<Checkpoint, Error> {
    let read = || -> Result<_, fewshot_pytorch::Error> {
        let file = fewshot_pytorch::Checkpoint::from_bytes(bytes)?;
        let root = file.root();
        let states = STATE_KEYS.into_iter().filter_map(|key| root.get(key).ok());
        let state = states.into_iter().find(|state| state.entries().is_ok());
        match state {
            Some(state) => Ok((state.tensors()?, epochs(&root))),
            None => Ok((root.tensors()?, 0)),
        }
    };
    let (tensors, epochs) = read().map_err(|e| Error::checkpoint(path, e))?;
    from_state(path, tensors, epochs)
}

/// Returns what is saved as `epoch`: programs have a number, one in a tensor, `None`, or nothing
/// there. It is 0 if it is not known.
fn epochs(root: &PickleValue<'_>) -> usize {
    let Ok(epoch) = root.get("epoch") else { return 0 };
    let in_tensor = || {
        let tensor = epoch.tensor().ok().filter(|tensor| tensor.elem_count() == 1)?;
        tensor.flatten_all().ok()?.to_dtype(DType::F64).ok()?.to_vec1::<f64>().ok()?.pop()
    };
    let number = epoch.as_float().ok().or_else(in_tensor);
    // As long as it is a number of epochs at all.
    number.filter(|number| (0.0..1e9).contains(number)).unwrap_or(0.0) as usize
}

/// Makes a checkpoint of a state without a configuration: its tensors determine the network.
pub fn from_state(path: &Path, tensors: Tensors, epochs: usize) -> Result<Checkpoint, Error> {
    let tensors = from_published(tensors).map_err(|e| Error::checkpoint(path, e))?;
    let Some(backbone) = BackboneKind::of_state(&tensors, "feature.") else {
        return Err(Error::checkpoint(path, "holds no backbone that is known here"));
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
    Ok(Checkpoint { config, state, feature_mean: None, tensors })
}
