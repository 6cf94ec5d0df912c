//! `cargo xtask bench`, and the process whose memory it reads.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser;
use fewshot_bench::{Bench, Probe, bench};
use fewshot_progress::conclude;

#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version)]
enum Arguments {
    /// Measures the speed of training, features, episodes and the loader, the memory of a
    /// training and how soon it begins, beside PyTorch on the same machine
    Bench(Bench),
    /// The process whose memory `bench memory` reads
    #[command(hide = true)]
    BenchMemory(Probe),
}

fn main() -> ExitCode {
    let result = match Arguments::parse() {
        Arguments::Bench(arguments) => bench(&arguments),
        Arguments::BenchMemory(probe) => probe.run(),
    };
    conclude(result)
}
