//! Runs without room for their files or for what they print.

use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};

use rand::Rng;

use super::{Trial, Verdict};
use crate::process::Running;
use crate::scene::LIMIT;

/// A device without room, where the system has one.
const FULL: &str = "/dev/full";

impl Trial<'_> {
    /// From a random moment on no file may grow beyond a random size, as on a full disk.
    pub(super) fn disk(&mut self) -> Verdict {
        let size = self.rng.random_range(0..1_200_000);
        // The signal of that limit is ignored, so that writing fails as it does on a full disk.
        let mut running = self.start(&mut self.trainer("trap '' XFSZ"))?;
        self.wait_a_while();
        self.log.push(format!("  room for {size} bytes"));
        if !limit_files(&mut running, size) {
            running.wait(LIMIT)?.succeeded()?;
            return Ok("full after the end");
        }
        let ended = running.wait(LIMIT)?;
        let ending = match ended.code()? {
            0 => "room enough",
            _ => {
                let run = self.run_folder().display().to_string();
                ended.refused(&[&run])?;
                self.evaluate_last()?;
                "full, refused and resumed"
            }
        };
        self.go_on()?;
        Ok(ending)
    }

    /// What the run prints is lost. It goes on, and its files are whole.
    pub(super) fn output(&mut self) -> Verdict {
        let mut command = self.trainer(":");
        let ending = if self.rng.random() && Path::new(FULL).exists() {
            full(&mut command)?;
            "onto a full disk"
        } else {
            "into a closed pipe"
        };
        let running = self.start(&mut command)?;
        if ending == "into a closed pipe" {
            self.wait_a_while();
            running.close_output();
        }
        let ended = running.wait(LIMIT)?;
        ended.succeeded()?;
        self.scene.compare(&self.run_folder(), 0)?;
        Ok(ending)
    }
}

fn full(command: &mut Command) -> Result<(), String> {
    let file = || File::options().write(true).open(FULL);
    let file = file().map_err(|e| format!("{FULL}: {e}"))?;
    command.stdout(Stdio::from(file));
    Ok(())
}

/// Bounds the size of files that the process may write; returns whether it was there to be bounded.
#[cfg(target_os = "linux")]
fn limit_files(running: &mut Running, size: u64) -> bool {
    use rustix::process::{Resource, Rlimit, prlimit};
    let limit = Rlimit { current: Some(size), maximum: Some(size) };
    running.pid().is_some_and(|pid| prlimit(Some(pid), Resource::Fsize, limit).is_ok())
}

/// Other systems have no such call.
#[cfg(not(target_os = "linux"))]
fn limit_files(_: &mut Running, _: u64) -> bool {
    false
}
