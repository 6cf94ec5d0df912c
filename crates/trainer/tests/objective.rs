//! What settings add to the loss: trainings with all of it, one step against PyTorch's numbers.

mod common;

use std::fs;
use std::path::Path;

use candle_core::Tensor;
use common::{stderr, succeed, trainer};
use fewshot_experiment::Checkpoint;
use serde_json::Value;

/// Everything beside distillation.
const ALL: [&str; 9] = [
    "train.rotation=1",
    "train.manifold_mixup=2",
    "train.label_smoothing=0.1",
    "train.ema=0.9",
    "test.center=true",
    "test.power=0.5",
    "test.crops=2",
    "test.head=logistic",
    "val.freq=1",
];

fn read(run: &Path, name: &str) -> Vec<u8> {
    fs::read(run.join(name)).unwrap()
}

#[test]
fn a_run_with_everything_goes_on_bit_for_bit() {
    let folder = tempfile::tempdir().unwrap();
    let [whole, parts, plain] = ["whole", "parts", "plain"].map(|name| folder.path().join(name));
    let epochs = |count: usize| format!("train.epochs={count}");
    succeed(trainer(&whole).args(ALL).arg(epochs(2)));
    succeed(trainer(&parts).args(ALL).arg(epochs(1)));
    succeed(trainer(&parts).args(ALL).arg(epochs(2)).args(["--resume", "last"]));
    for file in ["last.safetensors", "best.safetensors", "ema.safetensors", "results.json"] {
        assert!(read(&whole, file) == read(&parts, file), "{file}");
    }
    let results: Value = serde_json::from_slice(&read(&whole, "results.json")).unwrap();
    assert!(results["average"]["novel"]["5"]["mean"].as_f64().unwrap() > 0.0);
    let report = String::from_utf8(read(&whole, "report.md")).unwrap();
    assert!(report.contains("| ema | 2 |"), "{report}");

    // The checkpoints have the network alone, with the mean feature of its base images.
    let last = Checkpoint::read(&whole.join("last.safetensors")).unwrap();
    assert!(
        last.tensors
            .keys()
            .all(|name| ["feature.", "classifier."].iter().any(|s| name.starts_with(s)))
    );
    let mean = last.feature_mean.unwrap();
    assert_eq!((mean.power, mean.values.is_empty()), (0.5, false));

    // Another training's state has no average and no classifier of turns.
    succeed(trainer(&plain).arg(epochs(1)));
    for (setting, what) in [("train.ema=0.9", "average"), ("train.rotation=1", "rotation")] {
        let mut command = trainer(&plain);
        command.args([setting, "--change", "--resume", "last"]).arg(epochs(2));
        let output = command.output().unwrap();
        let message = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{message}");
        assert!(message.contains("last.safetensors") && message.contains(what), "{message}");
    }
}

/// After one step from `average` to `value`: `average + (1 - decay) · (value - average)`.
#[test]
fn the_average_follows_the_weights() {
    let folder = tempfile::tempdir().unwrap();
    let [start, run] = ["start", "run"].map(|name| folder.path().join(name));
    // One batch an epoch, so that a step is an epoch.
    let one_step = ["train.batch_size=1000", "train.schedule=constant", "val.freq=0"];
    let tensors = |run: &Path, name: &str| Checkpoint::read(&run.join(name)).unwrap().tensors;
    let train = |run: &Path, epochs: &str, decay: &str| {
        succeed(trainer(run).args(one_step).args([epochs, &format!("train.ema={decay}")]));
        (tensors(run, "last.safetensors"), tensors(run, "ema.safetensors"))
    };
    let (first, first_average) = train(&start, "train.epochs=1", "0.75");
    let (second, second_average) = train(&run, "train.epochs=2", "0.75");
    let numbers = |tensor: &Tensor| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    let mut moved = 0;
    for (name, average) in &second_average {
        let before = numbers(&first_average[name]);
        for ((after, before), value) in
            numbers(average).into_iter().zip(before).zip(numbers(&second[name]))
        {
            let expected = before + (value - before) * 0.25;
            assert!((after - expected).abs() <= 1e-7 * expected.abs().max(1.0), "{name}");
            moved += usize::from(after != before);
        }
    }
    assert!(moved > 10_000, "{moved}");
    assert_ne!(numbers(&first["classifier.weight"]), numbers(&first_average["classifier.weight"]));
}

#[test]
fn a_network_learns_from_another_one() {
    let folder = tempfile::tempdir().unwrap();
    let [teacher, student, alone] = ["teacher", "student", "alone"].map(|n| folder.path().join(n));
    succeed(trainer(&teacher).args(["train.epochs=2", "method.margin=-0.1"]));
    let distill = format!("train.distill={}", teacher.display());
    let all = [&distill, "train.distill_weight=1", "train.rotation=0.5", "seed=1"];
    succeed(trainer(&student).args(all).arg("train.epochs=2"));
    succeed(trainer(&alone).args(["seed=1", "train.epochs=2"]));
    let weights = |run: &Path| {
        let tensors = Checkpoint::read(&run.join("last.safetensors")).unwrap().tensors;
        tensors["classifier.weight"].flatten_all().unwrap().to_vec1::<f32>().unwrap()
    };
    assert_ne!(weights(&student), weights(&alone));

    let refused = |settings: &[&str], part: &str| {
        let output = trainer(&folder.path().join("no")).arg(&distill).args(settings).output();
        let output = output.unwrap();
        let message = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{message}");
        assert!(message.contains("cannot teach") && message.contains(part), "{message}");
    };
    refused(&["method.image_size=32"], "`method.image_size` is 32");
    refused(&["method.outputs=70"], "64 classes, and this training has 70");
}
