//! `cargo xtask reproduce` and `cargo xtask plot`.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser;
use fewshot_reproduce::{Plot, Reproduce};

#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version)]
enum Arguments {
    /// Trains and evaluates the cells of the paper's main table, at its size or at a smaller
    /// budget's, and sets published and measured figures side by side; or draws its curves over
    /// the margin
    Reproduce(Reproduce),
    /// Draws loss, accuracy and learning rate of runs from their metrics.jsonl
    Plot(Plot),
}

fn main() -> ExitCode {
    match Arguments::parse() {
        Arguments::Reproduce(arguments) => arguments.run(),
        Arguments::Plot(arguments) => arguments.run(),
    }
}
