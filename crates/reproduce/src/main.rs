//! `cargo xtask reproduce`.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser;
use fewshot_reproduce::Reproduce;

#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version)]
enum Arguments {
    /// Trains and evaluates the cells of the paper's main table, at its size or at a smaller
    /// budget's, and sets published and measured figures side by side
    Reproduce(Reproduce),
}

fn main() -> ExitCode {
    let Arguments::Reproduce(arguments) = Arguments::parse();
    arguments.run()
}
