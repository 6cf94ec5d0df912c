//! Two processes that train one model.
#![cfg(feature = "nccl")]

#[allow(dead_code)]
mod common;

use common::{stderr, trainer};
use std::net::TcpListener;
use std::process::Child;

/// Where the meeting is one port further, as it is beside torchrun's own.
fn port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port() - 1
}

#[test]
fn two_ranks_train_one_model_and_one_keeps_it() {
    if fewshot_ops::cuda::open(1).is_err() {
        return println!("skipped: two ranks take two GPUs");
    }
    let folder = tempfile::tempdir().unwrap();
    let runs = ["first", "second"].map(|name| folder.path().join(name));
    let port = port().to_string();
    let start = |rank: usize| -> Child {
        let mut command = trainer(&runs[rank]);
        command.env("RANK", rank.to_string()).env("LOCAL_RANK", rank.to_string());
        command.env("WORLD_SIZE", "2").env("MASTER_ADDR", "127.0.0.1").env("MASTER_PORT", &port);
        command.spawn().unwrap()
    };
    let children = [start(0), start(1)];
    let [first, second] = children.map(|child| child.wait_with_output().unwrap());
    assert!(first.status.success(), "{}", stderr(&first));
    assert!(second.status.success(), "{}", stderr(&second));
    assert!(String::from_utf8_lossy(&first.stdout).contains("| last | 3 |"));
    assert!(second.stdout.is_empty(), "{}", String::from_utf8_lossy(&second.stdout));
    assert!(runs[0].join("results.json").exists() && !runs[1].exists());
    let metrics = std::fs::read_to_string(runs[0].join("metrics.jsonl")).unwrap();
    let losses: Vec<f64> = metrics
        .lines()
        .map(|line| {
            serde_json::from_str::<serde_json::Value>(line).unwrap()["loss"].as_f64().unwrap()
        })
        .collect();
    assert!(losses.len() == 3 && losses[2] < losses[0], "{losses:?}");
}

#[test]
fn settings_that_several_processes_cannot_train_by_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let refuse = |settings: &[&str], part: &str| {
        let mut command = trainer(&folder.path().join("run"));
        command.args(settings).env("WORLD_SIZE", "2").env("RANK", "0").env("LOCAL_RANK", "0");
        let output = command.env("MASTER_ADDR", "127.0.0.1").output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        assert!(stderr(&output).contains(part), "{}", stderr(&output));
    };
    refuse(&["device=cpu"], "expected cuda:0 for 2 processes");
    refuse(&["device=cuda:0", "train.batch_size=15"], "a multiple of their number");
    refuse(&["device=cuda:0", "loader.on_broken=skip"], "`loader.on_broken`");
}
