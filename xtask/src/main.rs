//! `cargo xtask COMMAND`: checks of the workspace, its documentation, and the commands of its
//! other programs.
//!
//! This package has no dependencies: `cargo xtask ci` checks the format a few seconds after a clone,
//! before anything else is compiled. Commands of other packages are listed in [`commands`] and run
//! by `cargo run`.
#![forbid(unsafe_code)]

mod ci;
mod commands;
mod docs;

use std::ffi::OsString;
use std::process::{Command, ExitCode};

use commands::Run;

fn main() -> ExitCode {
    match run(std::env::args_os().skip(1).collect()) {
        Ok(code) => code,
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::from(2)
        }
    }
}

/// Runs one command line.
///
/// # Errors
/// A command that does not exist, or that fails.
fn run(mut arguments: Vec<OsString>) -> Result<ExitCode, String> {
    let options = commands::take_cargo_options(&mut arguments)?;
    let mut arguments = arguments.into_iter();
    let Some(mut name) = arguments.next() else {
        eprint!("{}", commands::help());
        return Ok(ExitCode::from(2));
    };
    let mut arguments: Vec<OsString> = arguments.collect();
    // `help COMMAND` is `COMMAND --help`.
    if name == "help" && !arguments.is_empty() {
        name = arguments.swap_remove(0);
        arguments = vec!["--help".into()];
    }
    match name.to_str() {
        Some("help" | "--help" | "-h") => {
            print!("{}", commands::help());
            return Ok(ExitCode::SUCCESS);
        }
        Some("--version" | "-V") => {
            println!("xtask {}", env!("CARGO_PKG_VERSION"));
            return Ok(ExitCode::SUCCESS);
        }
        _ => {}
    }
    let command = commands::find(&name.to_string_lossy())?;
    match command.run {
        Run::Here(run) => {
            if arguments.iter().any(|argument| argument == "--help" || argument == "-h") {
                println!("{}\n\nUsage: cargo xtask {}", command.about, command.name);
                return Ok(ExitCode::SUCCESS);
            }
            if let Some(unexpected) = options.iter().chain(&arguments).next() {
                let unexpected = unexpected.display();
                return Err(format!("{} takes no arguments, but got {unexpected}", command.name));
            }
            println!("{}", run()?);
            Ok(ExitCode::SUCCESS)
        }
        Run::Program { package, binary, feature } => {
            let mut cargo = cargo("run");
            cargo.args(["--quiet", "--package", package, "--bin", binary]);
            cargo.args(feature.iter().flat_map(|feature| ["--features", feature])).args(options);
            replace_with(cargo.arg("--").arg(name).args(arguments))
        }
    }
}

/// Returns `cargo COMMAND` for this workspace. Cargo tells its subprocesses by `CARGO` which of
/// several installed versions it is.
fn cargo(command: &str) -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args([command, "--manifest-path", concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml")]);
    cargo
}

/// Replaces this process with a command, so that signals reach it directly.
#[cfg(unix)]
fn replace_with(command: &mut Command) -> Result<ExitCode, String> {
    use std::os::unix::process::CommandExt as _;
    Err(format!("cannot run cargo: {}", command.exec()))
}

/// Runs a command and returns its exit status.
#[cfg(not(unix))]
fn replace_with(command: &mut Command) -> Result<ExitCode, String> {
    let status = command.status().map_err(|error| format!("cannot run cargo: {error}"))?;
    Ok(ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(2)))
}

/// Runs a command; `what` names it in the error if it fails.
fn succeed(what: &str, command: &mut Command) -> Result<(), String> {
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{what} failed: {status}")),
        Err(error) => {
            Err(format!("{what}: cannot run {}: {error}", command.get_program().display()))
        }
    }
}
