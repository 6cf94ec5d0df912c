//! Runs the tests of the CUDA build on a simulated GPU.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use fewshot_programs::cargo;

use super::library::Library;
use super::run;

/// Packages whose tests run on a GPU.
const PACKAGES: [&str; 5] =
    ["fewshot-ops", "fewshot-losses", "fewshot-models", "fewshot-episodes", "trainer"];

/// Settings of a training of one epoch; the batch size, and so the number of steps, is added.
const EPOCH: [&str; 9] = [
    "device=cuda:0",
    "dataset.images_per_class=12",
    "method.backbone=conv4",
    "method.image_size=16",
    "train.epochs=1",
    "train.print_freq=1000",
    "test.episodes=2",
    "test.query=4",
    "test.shots=[1]",
];

/// Builds the simulated GPU and runs all tests on it; then the tests of ops once more with a cuDNN
/// that has no channels-last convolutions in `f32`; then checks that training steps do not wait.
///
/// # Errors
/// No g++, or tests that fail.
pub fn run_all(feature: &str) -> Result<(), String> {
    println!("== tests on a simulated GPU");
    let library = Library::build(&test_programs(feature)?)?;
    run_tests(feature, &library, &PACKAGES, &[])?;
    let without_channels_last = [("SIMULATED_CUDNN_REFUSES_NHWC", "1")];
    run_tests(feature, &library, &["fewshot-ops"], &without_channels_last)?;
    steps_do_not_wait(&library)
}

/// Checks that the host waits for the GPU as often in an epoch of many steps as in one of few.
fn steps_do_not_wait(library: &Library) -> Result<(), String> {
    let runs = tempfile::tempdir().map_err(|e| format!("no temporary folder: {e}"))?;
    let waits = |batch: usize| {
        let mut cargo = cargo("run");
        cargo.args(["--quiet", "--package", "trainer", "--features", "cuda", "--", "--run-dir"]);
        cargo.arg(runs.path().join(batch.to_string())).args(EPOCH);
        cargo.arg(format!("train.batch_size={batch}")).env("SIMULATED_GPU_REPORT", "1");
        library.enter(&mut cargo)?;
        let output = cargo.output().map_err(|e| format!("cannot run cargo: {e}"))?;
        let report = String::from_utf8_lossy(&output.stderr);
        let count = report.split("the host waited ").nth(1).and_then(|rest| rest.split(' ').next());
        let count = count.filter(|_| output.status.success()).and_then(|n| n.parse::<u32>().ok());
        count.ok_or_else(|| format!("a training failed: {report}"))
    };
    // Batches small enough that the evaluation's images, too, are copied without waiting.
    let (many, few) = (waits(8)?, waits(16)?);
    println!("an epoch of 96 steps waits for the GPU {many} times, one of 48 steps {few} times");
    if many == few { Ok(()) } else { Err("training steps wait for the GPU".to_owned()) }
}

/// Returns `cargo test` of these packages with the feature.
fn cargo_test(feature: &str, packages: &[&str]) -> Command {
    let mut cargo = cargo("test");
    cargo.args(["--lib", "--bins", "--tests"]);
    for package in packages {
        // Other packages have no feature `nccl`.
        let has_nccl = ["fewshot-ops", "trainer"].contains(package);
        let feature = if has_nccl { feature } else { "cuda" };
        cargo.args(["--package", package, "--features", &format!("{package}/{feature}")]);
    }
    cargo
}

/// Runs the tests of these packages on the simulated GPU.
fn run_tests(
    feature: &str,
    library: &Library,
    packages: &[&str],
    environment: &[(&str, &str)],
) -> Result<(), String> {
    let mut cargo = cargo_test(feature, packages);
    library.enter(&mut cargo)?;
    cargo.envs(environment.iter().copied());
    // WRN-28-10 would take half an hour, and smaller networks show the same.
    run("a test", cargo.args(["--", "--skip", "parity_wide_resnet"]))
}

/// Builds the tests and returns their programs.
fn test_programs(feature: &str) -> Result<Vec<PathBuf>, String> {
    let mut cargo = cargo_test(feature, &PACKAGES);
    cargo.args(["--no-run", "--message-format=json-render-diagnostics"]);
    let output = cargo.stderr(Stdio::inherit()).output();
    let output = output.map_err(|e| format!("cannot run cargo: {e}"))?;
    if !output.status.success() {
        return Err("cargo cannot build the tests".to_owned());
    }
    let program = |line: &str| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        message["executable"].as_str().map(PathBuf::from)
    };
    Ok(String::from_utf8_lossy(&output.stdout).lines().filter_map(program).collect())
}
