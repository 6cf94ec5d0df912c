//! Time from the start of the trainer to the end of its first step.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use fewshot_programs::cargo;

use super::Error;
use super::case::{Case, Measure, Setup};
use super::row::Better;

const TRAINER: &str = if cfg!(windows) { "trainer.exe" } else { "trainer" };
/// Beginning of the line that the trainer prints after its first step.
const LINE: &str = "first step ";

/// Returns the one row, in seconds.
///
/// # Errors
/// The trainer is missing and cannot be built.
pub fn cases(setup: &Setup) -> Result<Vec<Case>, Error> {
    let trainer = trainer(setup.smallest)?;
    let threads = setup.threads;
    let ours =
        move || -> Result<Measure, Error> { Ok(Box::new(move || first_step(&trainer, threads))) };
    Ok(vec![Case::new("start trainer to its first step", "s", Better::Lower, ours)])
}

/// Returns the trainer beside this program. Cargo builds it first if it is missing or a figure is
/// wanted, since a figure has to be of the current sources.
fn trainer(smallest: bool) -> Result<PathBuf, Error> {
    let program = std::env::current_exe().map_err(Error::io("find this program"))?;
    let path = program.with_file_name(TRAINER);
    if smallest && path.exists() {
        return Ok(path);
    }
    let mut cargo = cargo("build");
    // Together with this package, so that dependencies keep the features that they were built with.
    cargo.args(["--quiet", "--package", env!("CARGO_PKG_NAME"), "--package", "trainer"]);
    cargo.args((!cfg!(debug_assertions)).then_some("--release"));
    match cargo.status() {
        Ok(status) if status.success() && path.exists() => Ok(path),
        // Without cargo, a trainer that was installed along with this program.
        Err(_) if path.exists() => Ok(path),
        _ => {
            let path = path.display();
            let remedy = "build it with `cargo build --release -p trainer`";
            Err(Error::Process(format!("there is no trainer at {path}: {remedy}")))
        }
    }
}

/// Runs the quickstart; returns the seconds from its start to the end of its first step.
fn first_step(trainer: &Path, threads: usize) -> Result<f64, Error> {
    let folder = tempfile::tempdir().map_err(Error::io("create a temporary folder"))?;
    let mut command = Command::new(trainer);
    command.arg("--run-dir").arg(folder.path().join("run"));
    command.arg(format!("loader.threads={threads}"));
    command.env("RAYON_NUM_THREADS", threads.to_string());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let started = Instant::now();
    let mut child = KillOnDrop(command.spawn().map_err(Error::at("start", trainer))?);
    let lines = child.0.stdout.take().into_iter().flat_map(|output| BufReader::new(output).lines());
    let is_first_step =
        |line: &std::io::Result<String>| line.as_ref().is_ok_and(|line| line.starts_with(LINE));
    let found = lines.into_iter().any(|line| is_first_step(&line));
    let seconds = started.elapsed().as_secs_f64();
    found.then_some(seconds).ok_or_else(|| {
        let trainer = trainer.display();
        let remedy = "build it again with `cargo build --release -p trainer`";
        Error::Process(format!("{trainer} printed no line \"{LINE}…\": {remedy}"))
    })
}

/// A process that is killed when it is dropped.
struct KillOnDrop(Child);

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_program_without_the_line_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("old-trainer");
        std::fs::write(&path, "#!/bin/sh\necho training\n").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        let error = first_step(&path, 1).unwrap_err().to_string();
        assert!(error.contains("old-trainer printed no line"), "{error}");
        let absent = first_step(&folder.path().join("absent"), 1).unwrap_err().to_string();
        assert!(absent.starts_with("cannot start "), "{absent}");
    }
}
