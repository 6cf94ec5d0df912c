//! Automation of the workspace.

mod bench;
mod check_cuda;
mod programs;
mod reproduce;

use std::ffi::OsString;
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
    /// Trains and evaluates the cells of the paper's main table, at its size or at a smaller
    /// budget's, and sets published and measured figures side by side
    Reproduce(reproduce::Reproduce),
    /// How fast training, features, episodes and the loader are, how much memory training
    /// takes and how soon it begins, beside PyTorch on the same machine
    Bench(bench::Bench),
    /// The process whose memory `bench memory` reads
    #[command(hide = true)]
    BenchMemory(bench::Probe),
    /// Commands of the packages that this one hands on to
    #[command(external_subcommand)]
    Other(Vec<OsString>),
}

/// Packages with the commands that they carry out.
const PACKAGES: &[(&str, &[&str])] = &[
    (
        "fewshot-datasets",
        &[
            "datasets",
            "download-cub",
            "download-omniglot",
            "download-cifar-fs",
            "download-mini-imagenet",
            "prepare-mini-imagenet",
            "verify",
            "pack",
        ],
    ),
    ("fewshot-publish", &["convert", "publish"]),
];

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
        Task::Reproduce(arguments) => return arguments.run(),
        Task::Bench(arguments) => bench::bench(&arguments).map_err(|e| e.to_string()),
        Task::BenchMemory(probe) => probe.run().map_err(|e| e.to_string()),
        Task::Other(arguments) => match hand_on(&arguments) {
            Ok(code) => return code,
            Err(message) => Err(message),
        },
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

/// Runs the package whose command this is; gives its exit status.
fn hand_on(arguments: &[OsString]) -> Result<ExitCode, String> {
    let command = arguments.first().and_then(|command| command.to_str()).unwrap_or_default();
    let package = PACKAGES.iter().find(|(_, commands)| commands.contains(&command));
    let (package, _) = package.ok_or_else(|| format!("no command is called `{command}`"))?;
    let mut cargo = programs::cargo("run");
    cargo.args(["--quiet", "--package", package, "--"]).args(arguments);
    let status = cargo.status().map_err(|error| format!("cannot run cargo: {error}"))?;
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(ExitCode::from(code.unwrap_or(2)))
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
