//! Runs the binary on an experiment that takes a second.

use std::path::Path;
use std::process::{Command, Output, Stdio};

/// Settings of a training on few, small glyphs.
pub const SMALL: &[&str] = &[
    "dataset.images_per_class=12",
    "method.backbone=conv4",
    "method.image_size=16",
    "train.batch_size=16",
    "train.epochs=3",
    "val.freq=2",
    "val.episodes=5",
    "test.episodes=10",
    "test.query=4",
];

/// `trainer` with [`SMALL`] settings, writing to `run`, on a GPU if one answers to a build with the
/// feature `cuda`; more arguments can follow.
pub fn trainer(run: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_trainer"));
    command.arg("--run-dir").arg(run).args(SMALL).env_remove("FEWSHOT_DATA");
    if fewshot_parity::is_gpu() {
        command.arg("device=cuda:0");
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// What a finished process wrote to its standard error.
pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Runs a command that must succeed.
#[track_caller]
pub fn succeed(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{:?}: {}", output.status, stderr(&output));
    output
}
