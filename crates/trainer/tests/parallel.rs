//! Two processes that train one model.
#![cfg(feature = "nccl")]

mod common;

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Output};

use candle_core::{DType, Device, Tensor};
use common::{stderr, succeed, trainer};

/// Where the meeting is one port further, as it is beside torchrun's own.
fn port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port() - 1
}

fn has_two_gpus() -> bool {
    let has = fewshot_ops::cuda::open(1).is_ok();
    if !has {
        println!("skipped: two ranks take two GPUs");
    }
    has
}

/// Two ranks with further settings, each with a run folder that only the first should use.
fn two_ranks(runs: &[PathBuf; 2], settings: &[&str]) -> [Output; 2] {
    let port = port().to_string();
    let start = |rank: usize| -> Child {
        let mut command = trainer(&runs[rank]);
        command.args(settings);
        command.env("RANK", rank.to_string()).env("LOCAL_RANK", rank.to_string());
        command.env("WORLD_SIZE", "2").env("MASTER_ADDR", "127.0.0.1").env("MASTER_PORT", &port);
        command.spawn().unwrap()
    };
    let outputs = [start(0), start(1)].map(|child| child.wait_with_output().unwrap());
    for output in &outputs {
        assert!(output.status.success(), "{}: {}", output.status, stderr(output));
    }
    outputs
}

#[test]
fn two_ranks_train_one_model_and_one_keeps_it() {
    if !has_two_gpus() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let runs = ["first", "second"].map(|name| folder.path().join(name));
    let [first, second] = two_ranks(&runs, &[]);
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

/// The largest deviation of any parameter or running average, over the largest of its kind.
fn deviation(run: &Path, expected: &Path) -> f32 {
    let load = |run: &Path| {
        candle_core::safetensors::load(run.join("last.safetensors"), &Device::Cpu).unwrap()
    };
    let most = |t: Tensor| t.abs().unwrap().flatten_all().unwrap().max(0).unwrap();
    let most = |t: Tensor| most(t).to_scalar::<f32>().unwrap();
    let (tensors, expected) = (load(run), load(expected));
    let of_model = expected.iter().filter(|(name, t)| {
        !name.starts_with("optimizer") && t.dtype() == DType::F32 && t.elem_count() > 1
    });
    let deviations: Vec<f32> = of_model
        .map(|(name, t)| most((&tensors[name] - t).unwrap()) / most(t.clone()).max(1e-3))
        .collect();
    assert!(deviations.len() > 10, "{:?}", expected.keys());
    deviations.into_iter().fold(0.0, f32::max)
}

/// Two halves of a batch with the statistics of both are the batch.
#[test]
fn shared_statistics_train_as_one_process_does() {
    if !has_two_gpus() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let run = |name: &str| folder.path().join(name);
    let settings = ["train.optimizer=sgd", "train.learning_rate=0.02", "train.epochs=1"];
    succeed(trainer(&run("alone")).args(settings));
    let [own, shared] = ["false", "true"].map(|shared| {
        let runs = [run(shared), run("none")];
        let sync = format!("train.sync_batch_norm={shared}");
        two_ranks(&runs, &[&settings[..], &[&sync]].concat());
        deviation(&runs[0], &run("alone"))
    });
    println!("deviations: shared {shared}, own {own}");
    assert!(shared < 1e-2 && own > 3.0 * shared, "shared {shared}, own {own}");
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
