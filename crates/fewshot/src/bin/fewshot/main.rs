//! Learns classes from a few photos each, and labels others.

#![forbid(unsafe_code)]

mod arguments;
mod commands;
mod output;

use std::process::ExitCode;

use clap::{CommandFactory, Parser};
use fewshot_experiment::start;
use fewshot_progress::{conclude, silence, warn};

use self::arguments::{Command, CommandLine};

/// How a command ended that did what it could.
pub enum Outcome {
    /// All of it.
    Done,
    /// All but photos that are broken.
    SomeBroken,
}

fn main() -> ExitCode {
    let line = CommandLine::parse();
    if let Command::Completions { shell } = line.command {
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut CommandLine::command(), "fewshot", &mut script);
        let script = String::from_utf8_lossy(&script).trim_end().to_owned();
        return conclude(Ok::<_, String>(script));
    }
    if line.quiet {
        silence();
    }
    let done = start().map_err(fewshot::Error::from).and_then(|()| line.run());
    match done {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::SomeBroken) => ExitCode::from(1),
        Err(error) => {
            warn(format_args!("error: {error}"));
            ExitCode::from(2)
        }
    }
}
