//! Checkpoints of other programs, which carry no configuration.

use std::path::Path;

use candle_core::DType;
use fewshot_losses::ClassifierKind;
use fewshot_models::{BackboneKind, from_published};
use fewshot_pytorch::PickleValue;
use serde_json::Value;

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
    let is_torchvisions = tensors.keys().any(|name| name.ends_with("layer1.0.conv1.weight"));
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
    if is_torchvisions {
        preprocess(path, backbone.name(), &mut config)?;
    }
    let state = TrainingState { epochs, ..TrainingState::default() };
    Ok(Checkpoint { config, state, feature_mean: None, tensors })
}

/// Sets how the images of a network for ImageNet are made: as torchvision does, or as timm's
/// `config.json` beside the checkpoint says.
fn preprocess(path: &Path, backbone: &str, config: &mut RawConfig) -> Result<(), Error> {
    config.set("method.preprocessing=imagenet")?;
    let beside = path.with_file_name("config.json");
    if !beside.metadata().is_ok_and(|file| file.is_file()) {
        return Ok(());
    }
    let refuse = |reason: String| {
        let remedy = "correct it, or move it away to have images made as torchvision does";
        Error::checkpoint(&beside, format!("{reason}: {remedy}"))
    };
    let text = std::fs::read_to_string(&beside).map_err(Error::io("read", &beside))?;
    let json: Value =
        serde_json::from_str(&text).map_err(|e| refuse(format!("is no JSON ({e})")))?;
    // Other programs have files of this name, too.
    let Some(timm) = json.get("pretrained_cfg") else { return Ok(()) };
    let given = |what: &str| timm.get(what).filter(|value| !value.is_null());
    let bad = |what: &str| refuse(format!("`{what}` is {}, which is not supported", timm[what]));
    if let Some(architecture) = json.get("architecture").and_then(Value::as_str)
        && architecture.trim_start_matches("tv_") != backbone
    {
        let architecture = fewshot_progress::printable(architecture);
        return Err(refuse(format!("calls the network {architecture}, not {backbone}")));
    }
    let numbers = |what: &str| -> Option<[f64; 3]> {
        let numbers: Option<Vec<f64>> = timm[what].as_array()?.iter().map(Value::as_f64).collect();
        numbers?.try_into().ok()
    };
    for (what, expected) in [("mean", [0.485, 0.456, 0.406]), ("std", [0.229, 0.224, 0.225])] {
        let is_it = |got: [f64; 3]| got.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-3);
        if given(what).is_some() && !numbers(what).is_some_and(is_it) {
            return Err(bad(what));
        }
    }
    if given("input_size").is_some() {
        match numbers("input_size") {
            Some([channels, height, width])
                if channels == 3.0
                    && height == width
                    && height.fract() == 0.0
                    && (1.0..=1024.0).contains(&height) =>
            {
                config.set(&format!("method.image_size={height}"))?;
            }
            _ => return Err(bad("input_size")),
        }
    }
    if let Some(share) = given("crop_pct") {
        let share = share.as_f64().filter(|share| (0.1..=1.0).contains(share));
        let percent = 100.0 * share.ok_or_else(|| bad("crop_pct"))?;
        config.set(&format!("method.crop_percent={percent:?}"))?;
    }
    match given("interpolation").map(Value::as_str) {
        None => Ok(()),
        Some(Some(name @ ("bilinear" | "bicubic"))) => {
            config.set(&format!("method.interpolation={name}"))
        }
        Some(_) => Err(bad("interpolation")),
    }
}

#[cfg(test)]
mod tests {
    use fewshot_data::{Interpolation, Preprocessing};

    use super::*;

    fn beside(json: Option<&str>) -> Result<crate::config::Method, Error> {
        let folder = tempfile::tempdir().unwrap();
        if let Some(json) = json {
            std::fs::write(folder.path().join("config.json"), json).unwrap();
        }
        let mut config = RawConfig::default();
        preprocess(&folder.path().join("model.safetensors"), "resnet18", &mut config)?;
        Ok(config.check()?.method)
    }

    #[test]
    fn images_are_made_as_timm_says() {
        let torchvision =
            Preprocessing::ImageNet { crop_percent: 87.5, interpolation: Interpolation::Bilinear };
        for other in [None, Some("{}"), Some(r#"{"model_type": "vit"}"#)] {
            let method = beside(other).unwrap();
            assert_eq!((method.preprocessing, method.image_size), (torchvision, 224));
        }
        // As that of resnet18.a1_in1k, with another size.
        let timm = r#"{"architecture": "resnet18", "num_classes": 1000, "pretrained_cfg": {"tag": "a1_in1k",
            "input_size": [3, 288, 288], "interpolation": "bicubic", "crop_pct": 0.95, "crop_mode": "center",
            "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225], "first_conv": "conv1"}}"#;
        let method = beside(Some(timm)).unwrap();
        let expected =
            Preprocessing::ImageNet { crop_percent: 95.0, interpolation: Interpolation::Bicubic };
        assert_eq!((method.preprocessing, method.image_size), (expected, 288));
        for (from, to, named) in
            [("0.456", "0.5", "`mean`"), ("bicubic", "lanczos", "`interpolation`")]
        {
            let error = beside(Some(&timm.replace(from, to))).unwrap_err().to_string();
            assert!(error.contains("config.json") && error.contains(named), "{error}");
        }
    }
}
