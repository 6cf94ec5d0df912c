//! Automation of the workspace.

mod bench;
mod check_cuda;
mod convert;
mod fetch;
mod pack;
mod prepare;
mod programs;
mod publish;
mod reproduce;
mod verify;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

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
    /// Whether the CUDA build compiles, without a GPU; with `--simulate` also whether its tests
    /// pass on a simulated one
    CheckCuda(check_cuda::CheckCuda),
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
    /// Makes mini-ImageNet's folder of a copy that is there: the ILSVRC training set, images,
    /// archives, or pickled caches
    PrepareMiniImagenet(prepare::Prepare),
    /// Gets mini-ImageNet (7.4 GB) from the Hugging Face hub, verified, and sorts it by class
    DownloadMiniImagenet(fetch::Download),
    /// The datasets that can be downloaded: what they are, from where, on which terms, and
    /// whether they are there
    Datasets(fetch::List),
    /// Whether a copy of CUB, mini-ImageNet, Omniglot or CIFAR-FS is whole: counts, and every
    /// image decoded
    Verify(verify::Verify),
    /// Makes one file per split of a dataset, which a training maps into memory in place of
    /// folders and archives
    Pack(pack::Pack),
    /// Trains and evaluates the cells of the paper's main table, at its size or at a smaller
    /// budget's, and sets published and measured figures side by side
    Reproduce(reproduce::Reproduce),
    /// How fast training, features, episodes and the loader are, how much memory training
    /// takes and how soon it begins, beside PyTorch on the same machine
    Bench(bench::Bench),
    /// The process whose memory `bench memory` reads
    #[command(hide = true)]
    BenchMemory(bench::Probe),
}

/// A check: what it is called, cargo's command and arguments, and what it sets in the
/// environment.
type Check =
    (&'static str, &'static str, &'static [&'static str], &'static [(&'static str, &'static str)]);

const CHECKS: &[Check] = &[
    ("format", "fmt", &["--all", "--check"], &[]),
    ("clippy", "clippy", &["--workspace", "--all-targets", "--", "-D", "warnings"], &[]),
    ("documentation", "doc", &["--workspace", "--no-deps"], &[("RUSTDOCFLAGS", "-D warnings")]),
    ("tests", "test", &["--workspace"], &[]),
    ("each kernel's bench once", "test", &["--workspace", "--bench", "kernels"], &[]),
];

fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Task::Ci => CHECKS.iter().try_for_each(run).map(|()| "all checks passed".to_owned()),
        Task::CheckCuda(arguments) => arguments.run(),
        Task::Convert(arguments) => convert::convert(&arguments).map_err(|e| e.to_string()),
        Task::Publish(arguments) => publish::publish(&arguments).map_err(|e| e.to_string()),
        Task::DownloadCub(arguments) => arguments.run("cub"),
        Task::DownloadOmniglot(arguments) => arguments.run("omniglot"),
        Task::DownloadCifarFs(arguments) => arguments.run("cifar-fs"),
        Task::PrepareMiniImagenet(arguments) => arguments.run(),
        Task::DownloadMiniImagenet(arguments) => arguments.run("mini-imagenet"),
        Task::Datasets(arguments) => arguments.run(),
        Task::Verify(arguments) => match arguments.run() {
            Ok((report, false)) => {
                println!("{report}");
                return ExitCode::from(1);
            }
            other => other.map(|(report, _)| report),
        },
        Task::Pack(arguments) => arguments.run(),
        Task::Reproduce(arguments) => return arguments.run(),
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

fn run((name, command, arguments, environment): &Check) -> Result<(), String> {
    println!("== {name}: cargo {command} {}", arguments.join(" "));
    let mut cargo = programs::cargo(command);
    let status = cargo.args(*arguments).envs(environment.iter().copied()).status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{name} failed: {status}")),
        Err(error) => Err(format!("cannot run cargo: {error}")),
    }
}
