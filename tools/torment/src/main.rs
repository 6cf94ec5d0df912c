//! `cargo xtask torment`: tests by random faults.
#![forbid(unsafe_code)]

use std::process::ExitCode;

#[cfg(unix)]
mod command;

#[cfg(unix)]
fn main() -> ExitCode {
    command::main()
}

#[cfg(not(unix))]
fn main() -> ExitCode {
    eprintln!("error: torment sends signals of Unix, which this system does not have");
    ExitCode::from(2)
}
