//! What TensorBoard shows of a run that was resumed.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use common::{succeed, trainer};
use prost::Message;
use serde_json::Value;

/// The fields of `tensorflow.Event` that count here.
#[derive(Clone, PartialEq, Message)]
struct Event {
    #[prost(int64, tag = "2")]
    step: i64,
    #[prost(message, optional, tag = "5")]
    summary: Option<Summary>,
    #[prost(message, optional, tag = "7")]
    session_log: Option<SessionLog>,
}

#[derive(Clone, PartialEq, Message)]
struct Summary {
    #[prost(message, repeated, tag = "1")]
    value: Vec<Scalar>,
}

#[derive(Clone, PartialEq, Message)]
struct Scalar {
    #[prost(string, tag = "1")]
    tag: String,
    #[prost(float, optional, tag = "2")]
    simple_value: Option<f32>,
}

#[derive(Clone, PartialEq, Message)]
struct SessionLog {
    #[prost(int32, tag = "1")]
    status: i32,
}

/// The scalars of a run by tag and step, as TensorBoard's `EventAccumulator` reads them: files in
/// the order of their names; a session that starts (status 1) discards what is at or above its step.
fn scalars(run: &Path) -> BTreeMap<String, Vec<(i64, f32)>> {
    let files = fs::read_dir(run).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> =
        files.filter(|path| path.to_str().unwrap().contains("tfevents")).collect();
    files.sort();
    let mut all: BTreeMap<String, Vec<(i64, f32)>> = BTreeMap::new();
    for file in files {
        let bytes = fs::read(file).unwrap();
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let length = u64::from_le_bytes(rest[..8].try_into().unwrap()) as usize;
            let event = Event::decode(&rest[12..12 + length]).unwrap();
            rest = &rest[16 + length..];
            if event.session_log.is_some_and(|log| log.status == 1) {
                all.values_mut().for_each(|points| points.retain(|&(step, _)| step < event.step));
            }
            for Scalar { tag, simple_value } in event.summary.unwrap_or_default().value {
                all.entry(tag).or_default().push((event.step, simple_value.unwrap()));
            }
        }
    }
    all
}

#[test]
fn every_point_is_there_once_after_two_resumes() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    succeed(trainer(&run).args(["val.freq=1", "train.epochs=2"]));
    for epochs in ["train.epochs=3", "train.epochs=4"] {
        succeed(trainer(&run).args(["val.freq=1", epochs, "--resume", "last"]));
    }
    let metrics = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let lines: Vec<Value> = metrics.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let expected: Vec<_> = lines
        .iter()
        .map(|line| {
            let mean = line["val"]["mean"].as_f64().unwrap() as f32;
            (line["steps"].as_i64().unwrap(), mean)
        })
        .collect();
    let all = scalars(&run);
    assert_eq!((expected.len(), &all["val_acc"]), (4, &expected));
    let steps: Vec<_> = (1..=expected[3].0).collect();
    for tag in ["lr", "loss", "loss_without_margin", "train_acc", "train_acc_without_margin"] {
        assert_eq!(all[tag].iter().map(|&(step, _)| step).collect::<Vec<_>>(), steps, "{tag}");
    }
}
