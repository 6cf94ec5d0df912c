//! The binary on a checkpoint that was drawn, not trained.

use fewshot_experiment::{Checkpoint, Model, RawConfig, TrainingState, device};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A Conv4 at 16 px for glyphs, in `folder`.
fn checkpoint(folder: &Path) -> PathBuf {
    let path = folder.join("drawn.safetensors");
    let settings = "
        [dataset]
        images_per_class = 21
        [method]
        backbone = 'conv4'
        image_size = 16
        [test]
        episodes = 30
    ";
    let config = RawConfig::from_toml(settings).unwrap().check().unwrap();
    let model = Model::new(&config, 64, &device(&config).unwrap()).unwrap();
    let state = TrainingState { epochs: 7, ..TrainingState::default() };
    Checkpoint::write(&path, &config, &state, &model).unwrap();
    path
}

fn evaluate(checkpoint: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_evaluator"));
    command.arg("--checkpoint").arg(checkpoint).args(arguments).env_remove("FEWSHOT_DATA");
    command.output().unwrap()
}

#[track_caller]
fn print(checkpoint: &Path, arguments: &[&str]) -> String {
    let output = evaluate(checkpoint, arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[track_caller]
fn json(checkpoint: &Path, arguments: &[&str]) -> Value {
    serde_json::from_str(&print(checkpoint, &[arguments, &["--json"]].concat())).unwrap()
}

#[test]
fn a_checkpoint_is_all_that_is_needed() {
    let folder = tempfile::tempdir().unwrap();
    let path = checkpoint(folder.path());
    let first = json(&path, &[]);
    assert_eq!((&first["split"], &first["epoch"]), (&"novel".into(), &7.into()));
    assert_eq!((&first["way"], &first["query"]), (&5.into(), &16.into()));
    for shot in ["1", "5"] {
        let result = &first["results"][shot];
        assert_eq!((&result["episodes"], &result["head"]), (&30.into(), &"finetune".into()));
        let (mean, ci95) = (result["mean"].as_f64().unwrap(), result["ci95"].as_f64().unwrap());
        // Even a network that was never trained is better than the guess of one in five.
        assert!(mean > 20.0 && mean < 100.0 && ci95 > 0.0, "{result}");
    }
    assert_eq!(first, json(&path, &["--seed", "0"]), "one seed, one result");
    assert_ne!(first["results"], json(&path, &["--seed", "1"])["results"]);
}

#[test]
fn options_and_settings_reach_the_evaluation() {
    let folder = tempfile::tempdir().unwrap();
    let path = checkpoint(folder.path());
    let options = ["--split", "val", "--way", "3", "--shots", "2,4", "--query", "5"];
    let more = ["--episodes", "11", "--head", "prototype"];
    let result = json(&path, &[&options[..], &more[..]].concat());
    assert_eq!((&result["way"], &result["query"]), (&3.into(), &5.into()));
    assert_eq!(result["results"].as_object().unwrap().keys().collect::<Vec<_>>(), ["2", "4"]);
    assert_eq!(result["results"]["4"]["episodes"], 11);
    assert_eq!(result["results"]["2"]["head"], "prototype");
    let markdown = print(&path, &[&more[..], &["--shots", "1", "--format", "markdown"]].concat());
    assert!(markdown.contains("| 1-shot |") && markdown.contains(" ± "), "{markdown}");
    let text = print(&path, &[&more[..], &["--shots", "1", "test.query=3"]].concat());
    assert!(text.contains("3 queries") && text.contains("11 episodes"), "{text}");
}

#[test]
fn what_is_wrong_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = checkpoint(folder.path());
    let refuse = |path: &Path, arguments: &[&str], parts: &[&str]| {
        let output = evaluate(path, arguments);
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{message}");
        assert!(!message.contains("panicked") && output.stdout.is_empty(), "{message}");
        parts.iter().for_each(|part| assert!(message.contains(part), "no `{part}`: {message}"));
    };
    refuse(&path, &["method.backbone=resnet18"], &["drawn.safetensors", "resnet18"]);
    refuse(&path, &["--way", "21"], &["21", "20"]);
    refuse(&path, &["--shots", "20"], &["36", "21"]);
    refuse(&path, &["--head", "svm"], &["svm", "prototype"]);
    refuse(&path, &["--split", "test"], &["test"]);
    refuse(&path, &["dataset.novel.source=cub"], &["dataset.novel.root"]);
    refuse(&folder.path().join("no.safetensors"), &[], &["no.safetensors"]);

    let bytes = fs::read(&path).unwrap();
    let damaged = folder.path().join("damaged.safetensors");
    for length in [0, 4, 8, 100, bytes.len() / 2, bytes.len() - 1] {
        fs::write(&damaged, &bytes[..length]).unwrap();
        refuse(&damaged, &[], &["damaged.safetensors"]);
    }
    fs::write(&damaged, [&u64::MAX.to_le_bytes()[..], &bytes].concat()).unwrap();
    refuse(&damaged, &[], &["damaged.safetensors"]);
}
