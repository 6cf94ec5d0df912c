//! Checks of the CUDA build without a GPU: kernels by nvcc, clippy with the feature, and the tests
//! on a GPU that is simulated on the CPU (see README.md).
#![forbid(unsafe_code)]

mod gpu_tests;
mod kernels;
mod library;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use clap::Parser;
use fewshot_programs::cargo;

#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version)]
enum Arguments {
    /// Checks that the CUDA build compiles, without a GPU; with `--simulate` also that its tests
    /// pass on a simulated one
    CheckCuda(CheckCuda),
}

#[derive(clap::Args)]
#[command(after_help = "Examples:
  cargo xtask check-cuda              kernels by nvcc, clippy with the feature cuda
  cargo xtask check-cuda --simulate   also the tests, on a GPU that is simulated on the CPU
  cargo xtask check-cuda --simulate --nccl
                                      also the tests of several processes, on two simulated GPUs

nvcc of CUDA 12.8 or later is looked for in CUDA_HOME, CUDA_PATH and the PATH. No GPU is needed.
The first build takes about ten minutes on two cores, most of them for candle's kernels.
--simulate needs g++, too, and CUDA's libraries to link with, or empty libraries of their names.

Exit status: 0 all checks passed, 2 a check failed, or nvcc was not found and nothing was checked.")]
struct CheckCuda {
    /// Run the tests of ops, losses, models, episodes and trainer on a simulated GPU
    #[arg(long)]
    simulate: bool,
    /// Check the feature nccl, too, which needs NCCL to link
    #[arg(long)]
    nccl: bool,
    /// Compile the kernels for these compute capabilities
    #[arg(long, value_delimiter = ',', default_value = "80,90", value_name = "CAPABILITY")]
    capabilities: Vec<u16>,
}

fn main() -> ExitCode {
    let Arguments::CheckCuda(arguments) = Arguments::parse();
    match arguments.run() {
        Ok(()) => {
            println!("the CUDA build passed all checks");
            ExitCode::SUCCESS
        }
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::from(2)
        }
    }
}

impl CheckCuda {
    /// # Errors
    /// nvcc is not found, or what it, clippy or a test reports.
    fn run(&self) -> Result<(), String> {
        kernels::compile_all(&self.capabilities)?;
        let feature = if self.nccl { "nccl" } else { "cuda" };
        println!("== clippy with the feature {feature}");
        let mut clippy = cargo("clippy");
        clippy.args(["--workspace", "--all-targets", "--features", feature]);
        run("clippy", clippy.args(["--", "-D", "warnings"]))?;
        if self.simulate {
            gpu_tests::run_all(feature)?;
        }
        Ok(())
    }
}

/// Returns the workspace's root.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Runs a command; `what` names it in the error if it fails.
fn run(what: &str, command: &mut Command) -> Result<(), String> {
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{what} failed: {status}")),
        Err(e) => Err(format!("{what}: cannot run {}: {e}", command.get_program().display())),
    }
}
