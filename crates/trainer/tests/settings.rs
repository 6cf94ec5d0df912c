//! Runs that go on with every setting changed, one at a time: refused, or what they say they are.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use common::{stderr, succeed, trainer};
use serde_json::Value as Json;
use toml::{Table, Value};

/// Settings over those of all tests here, so that a run takes a second.
const SMALLER: [&str; 8] = [
    "dataset.images_per_class=6",
    "train.batch_size=96",
    "train.optimizer=sgd",
    "train.schedule=constant",
    "val.freq=1",
    "val.shot=1",
    "test.query=3",
    "test.shots=[1,2]",
];

fn begin(run: &Path, settings: &[&str]) -> Command {
    let mut command = trainer(run);
    command.args(SMALLER).args(settings);
    command
}

/// Goes on with nothing but these settings.
fn go_on(run: &Path, settings: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_trainer"));
    command.arg("--run-dir").arg(run).args(["--resume", "last"]).args(settings);
    command.env_remove("FEWSHOT_DATA");
    command
}

/// All settings of a run, by dotted key.
fn settings(run: &Path) -> BTreeMap<String, Value> {
    fn add(found: &mut BTreeMap<String, Value>, prefix: &str, table: Table) {
        for (key, value) in table {
            match value {
                Value::Table(inner) => add(found, &format!("{prefix}{key}."), inner),
                value => drop(found.insert(format!("{prefix}{key}"), value)),
            }
        }
    }
    let mut found = BTreeMap::new();
    let text = fs::read_to_string(run.join("config.toml")).unwrap();
    add(&mut found, "", text.parse().unwrap());
    found
}

/// Another value for a setting, if one can be had without further settings, files or a GPU.
fn other(key: &str, value: &Value) -> Option<String> {
    Some(match key {
        "device" | "precision" | "loader.keep_on_gpu" | "train.dampening" | "train.distill" => {
            return None;
        }
        _ if key.ends_with("source") || key.ends_with("root") => return None,
        "dataset.name" => "mine".to_owned(),
        _ if key.ends_with("split") => "all".to_owned(),
        "method.backbone" => "resnet10".to_owned(),
        "method.classifier" => "softmax".to_owned(),
        "train.optimizer" => "adam".to_owned(),
        "train.schedule" => "warmup-cosine".to_owned(),
        "test.head" => "nearest".to_owned(),
        "method.preprocessing" => "imagenet".to_owned(),
        "loader.on_broken" => "skip".to_owned(),
        "test.shots" => "[2]".to_owned(),
        "test.query" => "2".to_owned(),
        "augment.flip" => "false".to_owned(),
        _ => match value {
            Value::Boolean(value) => (!value).to_string(),
            Value::Integer(value) => (value + 1).to_string(),
            Value::Float(value) => (value / 2.0 + 0.01).to_string(),
            _ => panic!("{key} = {value}: add another value for it"),
        },
    })
}

/// As the documentation says it.
fn may_change(key: &str) -> bool {
    const FREE: [&str; 5] = [
        "train.epochs",
        "train.print_freq",
        "train.save_freq",
        "loader.threads",
        "loader.prefetch_mib",
    ];
    FREE.contains(&key) || key.starts_with("val.") || key.starts_with("test.")
}

/// Every file of a folder.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.insert(path.display().to_string(), fs::read(&path).unwrap());
        }
    }
    found
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        match entry.path().is_dir() {
            true => copy(&entry.path(), &to.join(entry.file_name())),
            false => drop(fs::copy(entry.path(), to.join(entry.file_name())).unwrap()),
        }
    }
}

#[test]
fn what_would_be_another_run_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    succeed(&mut begin(&run, &["train.epochs=1"]));
    let before = files(&run);
    let mut inputs = 0;
    for (key, value) in settings(&run) {
        let Some(other) = other(&key, &value).filter(|_| !may_change(&key)) else { continue };
        let setting = format!("{key}={other}");
        let output = go_on(&run, &[&setting, "train.epochs=2"]).output().unwrap();
        let message = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{setting}: {message}");
        let line = format!("  {key}: {value} before, ");
        assert!(message.contains(&line) && message.contains("--change"), "{setting}: {message}");
        assert!(message.contains("last.safetensors"), "{setting}: {message}");
        assert!(files(&run) == before, "{setting} changed the run");
        inputs += 1;
    }
    println!("{inputs} inputs");
    assert!(inputs >= 20, "{inputs}");
}

/// With `--change` a run either goes on under the new setting, which it then records, or says why
/// it cannot.
#[test]
fn what_is_changed_on_purpose_is_recorded() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    succeed(&mut begin(&run, &["train.epochs=1"]));
    let changes = [
        "method.margin=0.1",
        "method.scale=7.5",
        "seed=9",
        "train.learning_rate=0.01",
        "train.weight_decay=0.01",
        "train.batch_size=64",
        "dataset.images_per_class=5",
        "method.backbone=resnet10",
        "method.image_size=32",
        "method.classifier=softmax",
        "train.optimizer=adam",
    ];
    let mut inputs = 0;
    for change in changes {
        let copied = folder.path().join("copied");
        copy(&run, &copied);
        let before = files(&copied);
        let output = go_on(&copied, &["--change", change, "train.epochs=2"]).output().unwrap();
        let (key, new) = change.split_once('=').unwrap();
        match output.status.code() {
            Some(0) => {
                assert_eq!(settings(&copied)[key].to_string(), new, "{change}");
                let printed = String::from_utf8_lossy(&output.stdout).into_owned();
                assert!(printed.contains(&format!("{key}: ")), "{change}: {printed}");
                let metrics = fs::read_to_string(copied.join("metrics.jsonl")).unwrap();
                let hash = |line: &str| {
                    let line: Json = serde_json::from_str(line).unwrap();
                    line["run"]["config_sha256"].as_str().unwrap().to_owned()
                };
                let hashes: Vec<_> = metrics.lines().map(hash).collect();
                assert!(hashes.len() == 2 && hashes[0] != hashes[1], "{change}: {hashes:?}");
            }
            Some(2) => {
                let message = stderr(&output);
                assert!(message.contains("safetensors"), "{change}: {message}");
                assert!(files(&copied) == before, "{change} changed the run");
            }
            code => panic!("{change}: exit {code:?}: {}", stderr(&output)),
        }
        fs::remove_dir_all(&copied).unwrap();
        inputs += 1;
    }
    println!("{inputs} inputs");
    assert_eq!(inputs, changes.len());
}

/// The run that goes on ends as one that had the other value from its start.
#[test]
fn what_may_change_does_what_it_says() {
    let folder = tempfile::tempdir().unwrap();
    let [run, whole, resumed] = ["run", "whole", "resumed"].map(|name| folder.path().join(name));
    succeed(&mut begin(&run, &["train.epochs=1"]));
    let mut inputs = 0;
    for (key, value) in settings(&run) {
        let Some(other) = other(&key, &value).filter(|_| may_change(&key)) else { continue };
        let setting = format!("{key}={other}");
        copy(&run, &resumed);
        succeed(&mut begin(&whole, &["train.epochs=2", &setting]));
        succeed(&mut go_on(&resumed, &["train.epochs=2", &setting]));
        let json = |run: &Path| -> Json {
            serde_json::from_str(&fs::read_to_string(run.join("results.json")).unwrap()).unwrap()
        };
        let (mut a, mut b) = (json(&whole), json(&resumed));
        // The first epoch was validated before validation became rarer: the best may be that one.
        if key == "val.freq" {
            (a, b) = (a["last"].take(), b["last"].take());
        }
        assert_eq!(a, b, "{setting}");
        let last = |run: &Path| {
            let metrics = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
            metrics.lines().last().unwrap().to_owned()
        };
        assert_eq!(last(&whole), last(&resumed), "{setting}");
        let config = |run: &Path| fs::read(run.join("config.toml")).unwrap();
        assert!(config(&whole) == config(&resumed), "{setting}");
        fs::remove_dir_all(&resumed).unwrap();
        fs::remove_dir_all(&whole).unwrap();
        inputs += 1;
    }
    println!("{inputs} inputs");
    assert!(inputs >= 12, "{inputs}");
}
