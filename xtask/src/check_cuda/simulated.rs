//! The tests of the CUDA build on a simulated GPU.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::{root, succeed};
use crate::programs;

/// Its sources, each with the way it is compiled: convolutions are worth vectors.
const SOURCES: [(&str, &[&str]); 7] = [
    ("driver.cpp", &["-O2"]),
    ("launch.cpp", &["-O2"]),
    ("nvrtc.cpp", &["-O2"]),
    ("candle.cpp", &["-O2"]),
    ("cublas.cpp", &["-O2"]),
    ("nccl.cpp", &["-O2"]),
    ("cudnn.cpp", &["-O3", "-march=native", "-ffast-math", "-fno-finite-math-only"]),
];
/// The libraries that it stands in for.
const LIBRARIES: [&str; 7] = [
    "libcuda.so.1",
    "libnvrtc.so.13",
    "libcurand.so.10",
    "libcublas.so.13",
    "libcublasLt.so.13",
    "libcudnn.so.9",
    "libnccl.so.2",
];
const PACKAGES: [&str; 5] =
    ["fewshot-ops", "fewshot-losses", "fewshot-models", "fewshot-episodes", "trainer"];

/// A training in which everything but the number of steps is the same.
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

/// Builds the simulated GPU and runs the tests on it: with channels-last convolutions, and once
/// more the kernels' where cuDNN has none in `f32`.
///
/// # Errors
/// No g++, or tests that fail.
pub fn test(feature: &str) -> Result<(), String> {
    println!("== tests on a simulated GPU");
    let programs = test_programs(feature)?;
    let folder = root().join("target/simulated-gpu");
    let folder = std::path::absolute(folder).map_err(|e| e.to_string())?;
    build(&folder, &programs)?;
    tests(feature, &folder, &PACKAGES, &[])?;
    tests(feature, &folder, &["fewshot-ops"], &[("SIMULATED_CUDNN_REFUSES_NHWC", "1")])?;
    steps_wait_for_nothing(&folder)
}

/// Compares how often trainings of an epoch in few and in many steps have the host wait.
fn steps_wait_for_nothing(folder: &Path) -> Result<(), String> {
    let runs = tempfile::tempdir().map_err(|e| format!("no temporary folder: {e}"))?;
    let waits = |batch: usize| {
        let mut cargo = programs::cargo("run");
        cargo.args(["--quiet", "--package", "trainer", "--features", "cuda", "--", "--run-dir"]);
        cargo.arg(runs.path().join(batch.to_string())).args(EPOCH);
        cargo.arg(format!("train.batch_size={batch}"));
        on_simulated(&mut cargo, folder)?.env("SIMULATED_GPU_REPORT", "1");
        let output = cargo.output().map_err(|e| format!("cannot run cargo: {e}"))?;
        let told = String::from_utf8_lossy(&output.stderr);
        let count = told.split("the host waited ").nth(1).and_then(|rest| rest.split(' ').next());
        let count = count.filter(|_| output.status.success()).and_then(|n| n.parse::<u32>().ok());
        count.ok_or_else(|| format!("a training failed: {told}"))
    };
    // So few that a driver takes the evaluation's images of either along without waiting.
    let (many, few) = (waits(8)?, waits(16)?);
    println!("an epoch of 96 steps waits for the GPU {many} times, one of 48 steps {few} times");
    if many == few { Ok(()) } else { Err("steps wait for the GPU".to_owned()) }
}

fn cargo_test(feature: &str, packages: &[&str]) -> Command {
    let mut cargo = programs::cargo("test");
    cargo.args(["--lib", "--bins", "--tests"]);
    // The packages that have no `nccl` of their own have `cuda`.
    let has_own = |package: &str| ["fewshot-ops", "trainer"].contains(&package);
    packages.iter().for_each(|package| {
        let feature = if has_own(package) { feature } else { "cuda" };
        cargo.arg("--features").arg(format!("{package}/{feature}"));
    });
    packages.iter().for_each(|package| {
        cargo.args(["--package", package]);
    });
    cargo
}

fn tests(
    feature: &str,
    folder: &Path,
    packages: &[&str],
    environment: &[(&str, &str)],
) -> Result<(), String> {
    let mut cargo = cargo_test(feature, packages);
    on_simulated(&mut cargo, folder)?;
    cargo.envs(environment.iter().copied());
    // Half an hour for what smaller networks show as well.
    cargo.args(["--", "--skip", "parity_wide_resnet"]);
    succeed("a test", &mut cargo)
}

/// Has a command find the simulated GPUs in place of real ones.
fn on_simulated<'a>(command: &'a mut Command, folder: &Path) -> Result<&'a mut Command, String> {
    let mut libraries = vec![folder.join("lib")];
    let homes = ["CUDA_HOME", "CUDA_PATH"].into_iter().filter_map(std::env::var_os);
    libraries.extend(homes.map(|home| Path::new(&home).join("lib64")));
    let path = std::env::join_paths(libraries).map_err(|e| e.to_string())?;
    command.env("LD_LIBRARY_PATH", path).env("SIMULATED_GPUS", "2");
    command.env("SIMULATED_GPU_SHIM", sources().join("shim.h"));
    Ok(command.env("SIMULATED_GPU_CACHE", folder.join("kernels")))
}

fn sources() -> PathBuf {
    std::path::absolute(root().join("xtask/src/check_cuda/simulated")).unwrap_or_default()
}

/// The tests' programs, built.
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

/// One library by all names. What the programs mention and it lacks does nothing.
fn build(folder: &Path, programs: &[PathBuf]) -> Result<(), String> {
    let libraries = folder.join("lib");
    if libraries.exists() {
        std::fs::remove_dir_all(&libraries)
            .map_err(|e| format!("cannot empty {}: {e}", libraries.display()))?;
    }
    for folder in [&libraries, &folder.join("kernels")] {
        std::fs::create_dir_all(folder)
            .map_err(|e| format!("cannot make {}: {e}", folder.display()))?;
    }
    let mut objects = Vec::new();
    for (source, options) in SOURCES {
        let object = folder.join(source).with_extension("o");
        let mut compiler = Command::new("g++");
        compiler.args(["-std=c++17", "-fPIC", "-Wall", "-c"]).args(options).arg("-o").arg(&object);
        succeed(source, compiler.arg(sources().join(source)))?;
        objects.push(object);
    }
    let own = symbols(&objects, &["--defined-only"])?;
    let wanted = symbols(programs, &["--dynamic", "--undefined-only"])?;
    let is_of_cuda = |name: &&String| {
        let known = ["cublas", "cudnn", "curand", "nvrtc", "nccl"];
        let is_driver =
            name.strip_prefix("cu").is_some_and(|rest| rest.starts_with(char::is_uppercase));
        is_driver || known.iter().any(|prefix| name.starts_with(prefix))
    };
    let lacking = wanted.difference(&own).filter(is_of_cuda);
    let stand_ins: String =
        lacking.map(|name| format!("int {name}(void) {{ return 0; }}\n")).collect();
    let file = folder.join("stand-ins.c");
    std::fs::write(&file, stand_ins)
        .map_err(|e| format!("cannot write {}: {e}", file.display()))?;
    let object = folder.join("stand-ins.o");
    // Names that the compiler knows otherwise are no matter here.
    succeed(
        "stand-ins",
        Command::new("gcc").args(["-fPIC", "-w", "-c", "-o"]).arg(&object).arg(&file),
    )?;
    objects.push(object);
    // One file by all names: copies would each have memory of their own.
    let library = libraries.join(LIBRARIES[0]);
    let mut linker = Command::new("g++");
    linker.args(["-shared", "-o"]).arg(&library).args(&objects).arg("-ldl");
    succeed("the simulated GPU", &mut linker)?;
    for name in &LIBRARIES[1..] {
        let link = libraries.join(name);
        std::fs::hard_link(&library, &link).map_err(|e| format!("cannot link {name}: {e}"))?;
    }
    Ok(())
}

/// The names that `nm` finds.
fn symbols(files: &[PathBuf], options: &[&str]) -> Result<BTreeSet<String>, String> {
    let output = Command::new("nm").args(options).args(files).output();
    let output = output.map_err(|e| format!("cannot run nm: {e}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let name = |line: &str| {
        let name = line.split_whitespace().last()?;
        Some(name.split('@').next().unwrap_or(name).to_owned())
    };
    Ok(text.lines().filter_map(name).collect())
}
