//! Whether the CUDA build compiles, and, on a simulated GPU, whether it is right.
//!
//! `simulated/` stands in for the driver, NVRTC, cuDNN and cuBLAS: the same programs run, and the
//! kernels' own sources, thread by thread, on the CPU. It shows errors of logic, of arguments, of
//! addresses and of barriers, but nothing of speed.

mod simulated;

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::programs;

#[derive(clap::Args)]
#[command(after_help = "Examples:
  cargo xtask check-cuda              kernels by nvcc, clippy with the feature cuda
  cargo xtask check-cuda --simulate   also the tests, on a GPU that is simulated on the CPU
  cargo xtask check-cuda --simulate --nccl
                                      also those of several processes, on two simulated GPUs

nvcc of CUDA 12.8 or later is looked for in CUDA_HOME, CUDA_PATH and the PATH. No GPU is needed.
The first build takes about ten minutes on two cores, most of them for candle's kernels.
--simulate takes g++, too, and libraries of CUDA, or stand-ins of their names, to link with.

Exit status: 0 all is well, 2 something is wrong, or nvcc was not found and nothing was checked.")]
pub struct CheckCuda {
    /// Run the tests of ops, losses, models, episodes and trainer on a simulated GPU
    #[arg(long)]
    simulate: bool,
    /// Check the feature nccl, too, which takes NCCL to link
    #[arg(long)]
    nccl: bool,
    /// Compile the kernels for these compute capabilities
    #[arg(long, value_delimiter = ',', default_value = "80,90", value_name = "CAPABILITY")]
    capabilities: Vec<u16>,
}

impl CheckCuda {
    /// # Errors
    /// nvcc is not found, or what it, clippy or a test says.
    pub fn run(&self) -> Result<String, String> {
        let nvcc = nvcc()?;
        println!("== kernels: {}", nvcc.display());
        for capability in &self.capabilities {
            for bits in [16, 32, 64] {
                compile(&nvcc, *capability, bits)?;
            }
        }
        let feature = if self.nccl { "nccl" } else { "cuda" };
        println!("== clippy with the feature {feature}");
        let mut clippy = programs::cargo("clippy");
        clippy.args([
            "--workspace",
            "--all-targets",
            "--features",
            feature,
            "--",
            "-D",
            "warnings",
        ]);
        succeed("clippy", &mut clippy)?;
        if self.simulate {
            simulated::test(feature)?;
        }
        Ok("the CUDA build is as it should be".to_owned())
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Where nvcc is.
fn nvcc() -> Result<PathBuf, String> {
    let homes = ["CUDA_HOME", "CUDA_PATH"].into_iter().filter_map(std::env::var_os);
    let homes = homes.map(|home| Path::new(&home).join("bin/nvcc"));
    let mut all = homes.chain([PathBuf::from("nvcc")]);
    let answers = |nvcc: &PathBuf| {
        Command::new(nvcc).arg("--version").output().is_ok_and(|output| output.status.success())
    };
    all.find(answers).ok_or_else(|| {
        "nvcc is not found in CUDA_HOME, CUDA_PATH or the PATH: nothing was checked; install \
         NVIDIA's CUDA toolkit (no GPU is needed)"
            .to_owned()
    })
}

/// The kernels' sources: the header, and then those that stand on it alone.
fn sources() -> Result<Vec<PathBuf>, String> {
    let folder = root().join("crates/ops/src/cuda/kernels");
    let unreadable = |e| format!("cannot read {}: {e}", folder.display());
    let entries = std::fs::read_dir(&folder).map_err(unreadable)?;
    let paths = entries.map(|entry| entry.map(|entry| entry.path()));
    let mut paths: Vec<_> = paths.collect::<Result<_, _>>().map_err(unreadable)?;
    paths.sort_by_key(|path| (path.extension() != Some("cuh".as_ref()), path.clone()));
    Ok(paths)
}

/// Compiles the kernels for one number type, as NVRTC does where they run.
fn compile(nvcc: &Path, capability: u16, bits: u8) -> Result<(), String> {
    let folder = tempfile::tempdir().map_err(|e| format!("no temporary folder: {e}"))?;
    let mut source = format!("#define NUMBER_BITS {bits}\n");
    for path in sources()? {
        source += &std::fs::read_to_string(&path)
            .map_err(|e| format!("cannot read {}: {e}", path.display()))?;
    }
    let path = folder.path().join("kernels.cu");
    std::fs::write(&path, source).map_err(|e| format!("cannot write {}: {e}", path.display()))?;
    let mut command = Command::new(nvcc);
    command.arg(format!("-arch=sm_{capability}")).args([
        "-std=c++17",
        "-cubin",
        "-Werror",
        "all-warnings",
    ]);
    command.arg("-o").arg(folder.path().join("kernels.cubin")).arg(&path);
    succeed(&format!("kernels for {bits}-bit numbers on sm_{capability}"), &mut command)?;
    println!("{bits}-bit numbers, sm_{capability}: compiled");
    Ok(())
}

/// Runs a command to its success.
fn succeed(what: &str, command: &mut Command) -> Result<(), String> {
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{what} failed: {status}")),
        Err(e) => Err(format!("{what}: cannot run {}: {e}", command.get_program().display())),
    }
}
