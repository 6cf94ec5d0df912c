//! Comparison of two checkpoints on the same episodes.

mod common;

use std::path::{Path, PathBuf};

use common::{FEW, checkpoint, config, evaluate, json, model, print};
use evaluator::{ShotResult, SplitResults, compare};
use fewshot_experiment::{Checkpoint, TrainingState};
use serde_json::Value;

/// Returns the options `--compare PATH`, few episodes, and `more`.
fn options<'a>(second: &'a Path, more: &[&'a str]) -> Vec<&'a str> {
    [&["--compare", second.to_str().unwrap()], &FEW[..], more].concat()
}

/// Writes a checkpoint whose parameters are moved by 3 % towards those of another seed.
fn nudged(folder: &Path) -> PathBuf {
    let path = folder.join("nudged.safetensors");
    let config = config(&[]);
    let (model, other) = (model(&config), model(&common::config(&["seed=1"])));
    let others = other.parameters.all();
    for (name, parameter) in model.parameters.all() {
        let mixed = ((parameter.as_tensor() * 0.97).unwrap()
            + (others[&name].as_tensor() * 0.03).unwrap())
        .unwrap();
        parameter.set(&mixed).unwrap();
    }
    Checkpoint::write(&path, &config.to_toml(), &TrainingState::default(), &model).unwrap();
    path
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap()
}

#[test]
fn a_checkpoint_does_not_differ_from_itself() {
    let folder = tempfile::tempdir().unwrap();
    let path = checkpoint(folder.path(), "drawn", &[]);
    let report = json(&path, &options(&path, &[]));
    assert_eq!(report["comparison"]["second"]["results"], report["results"]);
    for shot in ["1", "5"] {
        let difference = &report["comparison"]["difference"][shot];
        assert_eq!((number(&difference["mean"]), number(&difference["ci95"])), (0.0, 0.0));
        let counts = ["better", "equal", "worse"].map(|key| difference[key].as_u64().unwrap());
        assert_eq!(counts, [0, 30, 0]);
    }
    let text = print(&path, &options(&path, &["--shots", "1"]));
    assert!(text.contains("+0.00 ± 0.00 %  (better in 0 episodes, equal in 30"), "{text}");
    let markdown = print(&path, &options(&path, &["--shots", "1", "--format", "markdown"]));
    assert!(markdown.contains("| first minus second | +0.00 ± 0.00 |"), "{markdown}");
    assert!(markdown.contains("| 0 / 30 / 0 |"), "{markdown}");
}

#[test]
fn a_small_difference_is_seen_where_single_intervals_hide_it() {
    let folder = tempfile::tempdir().unwrap();
    let [path, second] = [checkpoint(folder.path(), "drawn", &[]), nudged(folder.path())];
    let report = json(&path, &options(&second, &[]));
    for shot in ["1", "5"] {
        let difference = &report["comparison"]["difference"][shot];
        let singles = [&report["results"][shot], &report["comparison"]["second"]["results"][shot]];
        let [first, second] = singles.map(|result| number(&result["mean"]));
        assert!((number(&difference["mean"]) - (first - second)).abs() < 1e-9);
        let ci95 = number(&difference["ci95"]);
        assert!(ci95 > 0.0, "the same model twice");
        let wide = singles.iter().all(|result| number(&result["ci95"]) > 2.0 * ci95);
        assert!(wide, "{shot}-shot: {singles:?}, {difference}");
        let counts = ["better", "equal", "worse"].map(|key| difference[key].as_u64().unwrap());
        assert_eq!(counts.iter().sum::<u64>(), 30);
    }
}

#[test]
fn the_second_sees_the_images_of_the_first_through_its_own_network() {
    let folder = tempfile::tempdir().unwrap();
    let path = checkpoint(folder.path(), "first", &["dataset.glyph_seed=2", "test.seed=3"]);
    let own = ["seed=1", "method.image_size=32", "method.classifier=softmax", "test.seed=5"];
    let second = checkpoint(folder.path(), "second", &own);
    let compared = &json(&path, &options(&second, &[]))["comparison"]["second"];
    assert_eq!(compared["classifier"], "softmax");
    let alone = json(&second, &[&FEW[..], &["--seed", "3", "dataset.novel.glyph_seed=2"]].concat());
    assert_eq!(compared["results"], alone["results"]);
}

#[test]
fn what_cannot_be_compared_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = checkpoint(folder.path(), "drawn", &[]);
    let output = evaluate(&path, &options(&folder.path().join("no.safetensors"), &[]));
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(2) && message.contains("no.safetensors"), "{message}");

    let results = |shot, per_episode: &[f64]| {
        let (head, episodes) = ("finetune".to_owned(), per_episode.len());
        let per_episode = per_episode.to_vec();
        SplitResults::from([(
            shot,
            ShotResult { head, mean: 0.0, ci95: 0.0, episodes, per_episode },
        )])
    };
    let first = results(1, &[0.5, 0.6]);
    assert!(compare(&first, &results(1, &[0.5, 0.7])).is_ok());
    assert!(compare(&first, &results(1, &[0.5])).is_err(), "another number of episodes");
    assert!(compare(&first, &results(5, &[0.5, 0.6])).is_err(), "other shots");
}
