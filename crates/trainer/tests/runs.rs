//! Whole runs of the binary: what they leave behind, and that interruptions leave no trace.

mod common;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use common::{succeed, trainer};
use serde_json::Value;

fn json(path: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

/// Everything of a run that must not depend on how it came about: files by name, large ones
/// by their checksum.
fn outcome(run: &Path) -> Vec<(String, String)> {
    let text = |name: &str| fs::read_to_string(run.join(name)).unwrap();
    let checksum = |name: &str| crc32c::crc32c(&fs::read(run.join(name)).unwrap()).to_string();
    let texts = ["metrics.jsonl", "results.json"].map(|name| (name.to_owned(), text(name)));
    let files = ["last.safetensors", "best.safetensors"];
    let files = files.map(|name| (name.to_owned(), checksum(name)));
    texts.into_iter().chain(files).collect()
}

/// Waits until the run has logged and saved an epoch and is at work on the next.
fn wait_for_first_epoch(run: &Path) {
    let started = Instant::now();
    let is_logged =
        || fs::read_to_string(run.join("metrics.jsonl")).is_ok_and(|text| text.contains('\n'));
    while !(is_logged() && run.join("last.safetensors").exists()) {
        assert!(started.elapsed() < Duration::from_secs(120), "no epoch in two minutes");
        std::thread::sleep(Duration::from_millis(2));
    }
    std::thread::sleep(Duration::from_millis(60));
}

#[test]
fn a_run_leaves_what_it_promises() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    let output = succeed(trainer(&run).arg("test.pixel_baseline=true"));
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(printed.contains("| last | 3 |") && printed.contains("nearest neighbour on pixels"));
    assert_eq!(printed.matches(" s after the start\n").count(), 1, "{printed}");

    let metrics = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let lines: Vec<Value> = metrics.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let epochs: Vec<_> = lines.iter().map(|line| line["epoch"].as_u64().unwrap()).collect();
    assert_eq!(epochs, [1, 2, 3]);
    assert!(lines[0]["val"].is_null() && lines[1]["val"]["mean"].is_number());
    assert!(lines[2]["loss"].as_f64() < lines[0]["loss"].as_f64(), "{metrics}");

    let results = json(&run.join("results.json"));
    assert_eq!((&results["run"]["seed"], &results["test_seed"]), (&0.into(), &0.into()));
    assert_eq!(results["run"]["config_sha256"].as_str().map(str::len), Some(64));
    for line in &lines {
        assert_eq!(line["run"], results["run"]);
    }
    for model in ["last", "best"] {
        assert!(results[model]["epoch"].is_u64() && results[model]["base_accuracy"].is_number());
        for (split, shot) in [("val", "1"), ("val", "5"), ("novel", "1"), ("novel", "5")] {
            let result = &results[model][split][shot];
            assert_eq!(result["head"], "finetune");
            assert_eq!(result["episodes"], 10);
            let mean = result["mean"].as_f64().unwrap();
            assert!((0.0..=100.0).contains(&mean) && result["ci95"].is_number());
        }
    }
    assert!(fs::read_to_string(run.join("report.md")).unwrap().contains("5-shot glyphs novel"));
    assert!(fs::read_to_string(run.join("config.toml")).unwrap().contains("image_size = 16"));
    let names = fs::read_dir(&run).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
    let names: Vec<_> = names.collect();
    assert!(names.iter().any(|name| name.contains("tfevents")), "{names:?}");
    assert!(!names.iter().any(|name| name.contains(".writing")), "{names:?}");

    // A second run moves the first aside and, of one seed, repeats it.
    let first = outcome(&run);
    succeed(&mut trainer(&run));
    assert_eq!(first, outcome(&run));
    assert!(folder.path().join("run.1/results.json").exists());
}

/// With a rate that moves nothing, runs of all margins have the same network, which classifies the
/// training's images alike. Only what is trained has the margin's bonus.
#[test]
fn accuracy_and_loss_without_margin_are_those_of_the_network() {
    let folder = tempfile::tempdir().unwrap();
    let frozen = ["train.learning_rate=1e-12", "train.epochs=1", "train.warmup_epochs=0"];
    let [none, bonus] = ["0", "-0.5"].map(|margin| {
        let run = folder.path().join(margin);
        let margin = format!("method.margin={margin}");
        let printed = succeed(trainer(&run).args(frozen).arg(margin)).stdout;
        (json(&run.join("metrics.jsonl")), String::from_utf8(printed).unwrap())
    });
    let number = |metrics: &Value, key: &str| metrics[key].as_f64().unwrap();
    for (plain, margined) in
        [("train_accuracy_without_margin", "train_accuracy"), ("loss_without_margin", "loss")]
    {
        assert_eq!(none.0[plain], none.0[margined], "without a margin they are the same");
        // The smallest rate moves biases that are 0, and with them what is 0 after a ReLU.
        let (with_bonus, without) = (number(&bonus.0, plain), number(&none.0, plain));
        assert!((with_bonus / without - 1.0).abs() < 0.01, "{plain}: {with_bonus}, {without}");
    }
    let (plain, with) = ("train_accuracy_without_margin", "train_accuracy");
    assert!(number(&bonus.0, with) > number(&bonus.0, plain) + 50.0, "{}", bonus.0);
    assert!(number(&bonus.0, "loss") < number(&bonus.0, "loss_without_margin"), "{}", bonus.0);
    // The line of an epoch has the plain ones first.
    let line = |printed: &str| {
        printed.lines().find(|line| line.starts_with("epoch 1/1: ")).unwrap().to_owned()
    };
    let percent = |metrics: &Value, key: &str| format!("{:.2} %", number(metrics, key));
    let (first, second) = (percent(&bonus.0, plain), percent(&bonus.0, with));
    let line_with = line(&bonus.1);
    assert!(line_with.find(&first).unwrap() < line_with.find(&second).unwrap(), "{line_with}");
    assert!(line_with.contains("with the margin") && !line(&none.1).contains("with the margin"));
}

#[test]
fn a_killed_run_resumes_bit_for_bit() {
    let folder = tempfile::tempdir().unwrap();
    let [whole, killed] = ["whole", "killed"].map(|name| folder.path().join(name));
    succeed(&mut trainer(&whole));

    let mut child = trainer(&killed).spawn().unwrap();
    wait_for_first_epoch(&killed);
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!killed.join("results.json").exists(), "the run was over before the kill");
    succeed(trainer(&killed).args(["--resume", "last"]));
    assert_eq!(outcome(&whole), outcome(&killed));
}

#[cfg(unix)]
#[test]
fn a_signal_saves_and_the_run_goes_on_within_the_epoch() {
    let folder = tempfile::tempdir().unwrap();
    let [whole, stopped] = ["whole", "stopped"].map(|name| folder.path().join(name));
    succeed(&mut trainer(&whole));

    let child = trainer(&stopped).spawn().unwrap();
    wait_for_first_epoch(&stopped);
    // As Ctrl-C does; SIGINT itself may be ignored here, as in the background of a script.
    succeed(Command::new("kill").args(["-TERM", &child.id().to_string()]));
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{output:?}");
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(printed.contains("trainer --resume last --run-dir"), "{printed}");

    let resumed = succeed(trainer(&stopped).args(["--resume", "last"]));
    let printed = String::from_utf8(resumed.stdout).unwrap();
    assert!(printed.contains("resuming"), "{printed}");
    assert_eq!(outcome(&whole), outcome(&stopped));
}

#[test]
fn images_that_a_gpu_keeps_train_alike() {
    if !fewshot_parity::is_gpu() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let losses = ["false", "true"].map(|keep| {
        let run = folder.path().join(keep);
        let keep = format!("loader.keep_on_gpu={keep}");
        succeed(trainer(&run).args([&keep, "train.epochs=1", "train.learning_rate=1e-4"]));
        let metrics = json(&run.join("metrics.jsonl"));
        assert_eq!(metrics["skipped"], 0);
        metrics["loss"].as_f64().unwrap()
    });
    assert!((losses[0] - losses[1]).abs() < 1e-2, "{losses:?}");
}

#[test]
fn threads_do_not_change_a_run() {
    let folder = tempfile::tempdir().unwrap();
    let [one, three] = ["one", "three"].map(|name| folder.path().join(name));
    let drop = ["method.backbone=resnet10", "method.drop_rate=0.1", "train.epochs=1"];
    succeed(trainer(&one).args(drop).env("RAYON_NUM_THREADS", "1").arg("loader.threads=1"));
    succeed(trainer(&three).args(drop).env("RAYON_NUM_THREADS", "3").arg("loader.threads=3"));
    // Checkpoints carry the number of loader threads as part of their configuration.
    assert_eq!(outcome(&one)[..2], outcome(&three)[..2]);
}

#[test]
fn a_run_can_go_on_from_its_best_or_in_another_folder() {
    let folder = tempfile::tempdir().unwrap();
    let [run, other] = ["run", "other"].map(|name| folder.path().join(name));
    succeed(&mut trainer(&run));
    let whole = outcome(&run);
    succeed(trainer(&run).args(["--resume", "best"]));
    assert_eq!(whole, outcome(&run));
    succeed(trainer(&other).arg("--resume").arg(run.join("best.safetensors")));
    let results = |run: &Path| json(&run.join("results.json"))["last"].clone();
    assert_eq!(results(&run), results(&other));
}

#[test]
fn the_printed_configuration_is_the_one_that_runs() {
    let folder = tempfile::tempdir().unwrap();
    let printed = succeed(trainer(&folder.path().join("run")).arg("--print-config")).stdout;
    let file = folder.path().join("printed.toml");
    fs::write(&file, &printed).unwrap();
    let mut again = Command::new(env!("CARGO_BIN_EXE_trainer"));
    let again = succeed(again.arg("--config").arg(&file).arg("--print-config")).stdout;
    assert_eq!(printed, again);
    assert!(!folder.path().join("run").exists());
}
