//! How soon training begins.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use super::Error;
use super::case::{Case, Measure, Setup};
use super::row::Better;
use crate::programs;

const TRAINER: &str = if cfg!(windows) { "trainer.exe" } else { "trainer" };
/// How the trainer's line begins that the first step is followed by.
const LINE: &str = "first step ";

/// One row, seconds.
///
/// # Errors
/// A trainer that is not there and cannot be built.
pub fn cases(setup: &Setup) -> Result<Vec<Case>, Error> {
    let trainer = trainer(setup.smallest)?;
    let threads = setup.threads;
    let ours =
        move || -> Result<Measure, Error> { Ok(Box::new(move || first_step(&trainer, threads))) };
    Ok(vec![Case::new("start trainer to its first step", "s", Better::Lower, ours)])
}

/// The trainer beside this program. A figure must be of the sources as they are, so that for
/// one, or where none is there, cargo builds it.
fn trainer(smallest: bool) -> Result<PathBuf, Error> {
    let program = std::env::current_exe().map_err(Error::io("find this program"))?;
    let path = program.with_file_name(TRAINER);
    if smallest && path.exists() {
        return Ok(path);
    }
    let mut cargo = programs::cargo("build");
    // With this package, so that dependencies keep the features that they were built with.
    cargo.args(["--quiet", "--package", "xtask", "--package", "trainer"]);
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

/// Seconds from the start of the quickstart to the end of its first step.
fn first_step(trainer: &Path, threads: usize) -> Result<f64, Error> {
    let folder = tempfile::tempdir().map_err(Error::io("create a temporary folder"))?;
    let mut command = Command::new(trainer);
    command.arg("--run-dir").arg(folder.path().join("run"));
    command.arg(format!("loader.threads={threads}"));
    command.env("RAYON_NUM_THREADS", threads.to_string());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let started = Instant::now();
    let mut child = Ended(command.spawn().map_err(Error::at("start", trainer))?);
    let lines = child.0.stdout.take().into_iter().flat_map(|output| BufReader::new(output).lines());
    let is_first_step =
        |line: &std::io::Result<String>| line.as_ref().is_ok_and(|line| line.starts_with(LINE));
    let found = lines.into_iter().any(|line| is_first_step(&line));
    let seconds = started.elapsed().as_secs_f64();
    found.then_some(seconds).ok_or_else(|| {
        let trainer = trainer.display();
        let remedy = "build it anew with `cargo build --release -p trainer`";
        Error::Process(format!("{trainer} printed no line \"{LINE}…\": {remedy}"))
    })
}

/// A process that does not outlive its use.
struct Ended(Child);

impl Drop for Ended {
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
