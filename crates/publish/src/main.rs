//! Converts and publishes checkpoints: `cargo xtask convert`, `cargo xtask publish`.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use fewshot_progress::conclude;
use fewshot_publish::{Convert, Publish, convert, publish};

/// Checkpoints for others: convert, publish.
#[derive(Parser)]
#[command(version, name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    command: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Writes the model of a PyTorch checkpoint as safetensors, which evaluator and PyTorch
    /// load. Nothing in the checkpoint is executed
    Convert(Convert),
    /// Makes a folder of a checkpoint for the Hugging Face hub: weights, configuration, model
    /// card with the measured figures. Sends nothing
    Publish(Publish),
}

fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Task::Convert(arguments) => convert(&arguments),
        Task::Publish(arguments) => publish(&arguments),
    };
    conclude(done)
}
