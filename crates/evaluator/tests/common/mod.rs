//! Runs the binary on randomly initialised checkpoints.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use fewshot_experiment::{Checkpoint, Config, Model, RawConfig, TrainingState, device};
use serde_json::Value;

/// Options for few episodes, so that tests are quick.
pub const FEW: [&str; 2] = ["--episodes", "30"];

/// Returns a configuration of a Conv4 at 16 px for glyphs, with further settings.
pub fn config(settings: &[&str]) -> Config {
    let mut raw = RawConfig::default();
    let small = ["dataset.images_per_class=21", "method.backbone=conv4", "method.image_size=16"];
    small.iter().chain(settings).for_each(|setting| raw.set(setting).unwrap());
    raw.check().unwrap()
}

/// Returns a model of that configuration, as its seed initialises it.
pub fn model(config: &Config) -> Model {
    Model::new(config, 64, &device(config).unwrap()).unwrap()
}

/// Writes a checkpoint of such a model into `folder`.
pub fn checkpoint(folder: &Path, name: &str, settings: &[&str]) -> PathBuf {
    let path = folder.join(format!("{name}.safetensors"));
    let config = config(settings);
    let state = TrainingState { epochs: 7, ..TrainingState::default() };
    Checkpoint::write(&path, &config.to_toml(), &state, &model(&config)).unwrap();
    path
}

pub fn evaluate(checkpoint: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_evaluator"));
    command.arg("--checkpoint").arg(checkpoint).args(arguments).env_remove("FEWSHOT_DATA");
    command.output().unwrap()
}

#[track_caller]
pub fn print(checkpoint: &Path, arguments: &[&str]) -> String {
    let output = evaluate(checkpoint, arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[track_caller]
pub fn json(checkpoint: &Path, arguments: &[&str]) -> Value {
    serde_json::from_str(&print(checkpoint, &[arguments, &["--json"]].concat())).unwrap()
}
