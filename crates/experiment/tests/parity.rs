//! Checkpoints that PyTorch wrote, against the features and scores that it computes with them.

use std::path::Path;

use candle_core::{DType, Device, Tensor};
use fewshot_experiment::{Checkpoint, Model, RawConfig};
use fewshot_models::Pass;
use fewshot_parity::{Inputs, check, checkpoints, digest_deviation};
use serde_json::Value;

fn values(tensor: &Tensor) -> Vec<f64> {
    let tensor = tensor.flatten_all().unwrap().to_dtype(DType::F64).unwrap();
    tensor.to_vec1().unwrap()
}

/// The images that `images('NAME', [B,3,S,S])` describes.
fn images(json: &Value) -> Tensor {
    let (name, shape) = json["input"].as_str().unwrap().split_once("', [").unwrap();
    let name = name.trim_start_matches("images('");
    let shape = shape.trim_end_matches("])").split(',').map(|n| n.trim().parse().unwrap());
    let shape: Vec<usize> = shape.collect();
    let images = Inputs::of(json).images(name, shape.iter().product());
    Tensor::from_vec(images, shape, &Device::Cpu).unwrap()
}

fn load(path: &Path) -> (Checkpoint, Model) {
    let checkpoint = Checkpoint::read(path).unwrap();
    let config = checkpoint.config.check().unwrap();
    let model = checkpoint.model(path, &config, &Device::Cpu).unwrap();
    (checkpoint, model)
}

fn compare(what: &str, json: &Value, model: &Model) {
    let feature = model.backbone.forward(&images(json), Pass::Eval).unwrap();
    let scores = model.head().unwrap().scores(&feature).unwrap();
    for (key, got) in [("feature", feature), ("inference_scores", scores)] {
        let deviation = digest_deviation(&json[key], got.dims(), &values(&got), 0.0);
        check(&format!("{what} {key}"), deviation, 1e-4);
    }
}

#[test]
fn parity_checkpoints() {
    let folder = tempfile::tempdir().unwrap();
    for (json, paths) in checkpoints() {
        for path in paths {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let (checkpoint, model) = load(&path);
            assert_eq!(checkpoint.state.epochs as u64, json["epoch"].as_u64().unwrap(), "{name}");
            compare(&name, &json, &model);

            // As `cargo xtask convert` writes it, it is the same model.
            let converted = folder.path().join("converted.safetensors");
            let config = checkpoint.config.to_toml();
            Checkpoint::write(&converted, &config, &checkpoint.state, &model).unwrap();
            let (again, model) = load(&converted);
            assert_eq!(again.state, checkpoint.state);
            assert_eq!(RawConfig::to_toml(&again.config), config);
            compare(&format!("{name}, converted,"), &json, &model);
        }
    }
}
