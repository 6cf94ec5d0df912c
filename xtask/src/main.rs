//! Automation of the workspace.

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
    /// documentation, tests
    Ci,
}

/// A check: what it is called, its arguments to cargo, and what it sets in the environment.
type Check = (&'static str, &'static [&'static str], &'static [(&'static str, &'static str)]);

const CHECKS: &[Check] = &[
    ("format", &["fmt", "--all", "--check"], &[]),
    ("clippy", &["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"], &[]),
    ("documentation", &["doc", "--workspace", "--no-deps"], &[("RUSTDOCFLAGS", "-D warnings")]),
    ("tests", &["test", "--workspace"], &[]),
];

fn main() -> ExitCode {
    let Arguments { command: Task::Ci } = Arguments::parse();
    match CHECKS.iter().try_for_each(run) {
        Ok(()) => {
            println!("all checks passed");
            ExitCode::SUCCESS
        }
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::FAILURE
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
