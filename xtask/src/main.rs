//! Automation of the workspace.

mod bench;
mod convert;
mod fetch;
mod publish;

use clap::{Parser, Subcommand};
use std::process::{Command, ExitCode};

/// Automation of the workspace: `cargo xtask COMMAND`.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Everything that continuous integration checks, cheapest first: format, clippy,
    /// documentation, tests, and each bench once
    Ci,
    /// Writes the model of a PyTorch checkpoint as safetensors, which evaluator and PyTorch
    /// load. Nothing in the checkpoint is executed
    Convert(convert::Convert),
    /// Makes a folder of a checkpoint for the Hugging Face hub: weights, configuration, model
    /// card with the measured figures. Sends nothing
    Publish(publish::Publish),
    /// Gets Caltech-UCSD Birds-200-2011 (1.15 GB), verified and unpacked
    DownloadCub(fetch::Download),
    /// Gets Omniglot (16 MB), verified and unpacked
    DownloadOmniglot(fetch::Download),
    /// Gets CIFAR-100 (169 MB), verified, and makes CIFAR-FS of it
    DownloadCifarFs(fetch::Download),
    /// Gets mini-ImageNet (7.4 GB) from the Hugging Face hub, verified, and sorts it by class
    DownloadMiniImagenet(fetch::Download),
    /// The datasets that can be downloaded: what they are, from where, on which terms, and
    /// whether they are there
    Datasets(fetch::List),
    /// How fast training, features, episodes and the loader are, how much memory training
    /// takes and how soon it begins, beside PyTorch on the same machine
    Bench(bench::Bench),
    /// The process whose memory `bench memory` reads
    #[command(hide = true)]
    BenchMemory(bench::Probe),
}

/// A check: what it is called, its arguments to cargo, and what it sets in the environment.
type Check = (&'static str, &'static [&'static str], &'static [(&'static str, &'static str)]);

const CHECKS: &[Check] = &[
    ("format", &["fmt", "--all", "--check"], &[]),
    ("clippy", &["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"], &[]),
    ("documentation", &["doc", "--workspace", "--no-deps"], &[("RUSTDOCFLAGS", "-D warnings")]),
    ("tests", &["test", "--workspace"], &[]),
    ("each kernel's bench once", &["test", "--workspace", "--bench", "kernels"], &[]),
];

fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Task::Ci => CHECKS.iter().try_for_each(run).map(|()| "all checks passed".to_owned()),
        Task::Convert(arguments) => convert::convert(&arguments).map_err(|e| e.to_string()),
        Task::Publish(arguments) => publish::publish(&arguments).map_err(|e| e.to_string()),
        Task::DownloadCub(arguments) => arguments.run("cub"),
        Task::DownloadOmniglot(arguments) => arguments.run("omniglot"),
        Task::DownloadCifarFs(arguments) => arguments.run("cifar-fs"),
        Task::DownloadMiniImagenet(arguments) => arguments.run("mini-imagenet"),
        Task::Datasets(arguments) => arguments.run(),
        Task::Bench(arguments) => bench::bench(&arguments).map_err(|e| e.to_string()),
        Task::BenchMemory(probe) => probe.run().map_err(|e| e.to_string()),
    };
    match done {
        Ok(message) => {
            println!("{message}");
            ExitCode::SUCCESS
        }
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::from(2)
        }
    }
}

fn run((name, arguments, environment): &Check) -> Result<(), String> {
    println!("== {name}: cargo {}", arguments.join(" "));
    // cargo tells its subprocesses which of several installed cargos it is.
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo).args(*arguments).envs(environment.iter().copied()).status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{name} failed: {status}")),
        Err(error) => Err(format!("cannot run cargo: {error}")),
    }
}
