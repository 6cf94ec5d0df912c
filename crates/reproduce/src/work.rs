//! Trainings and comparisons, each in a process of its own, so that one that fails or is
//! killed takes nothing else along.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::plan::{State, Training};
use super::results::{Elapsed, Results};

/// Time between looks at a process.
const INTERVAL: Duration = Duration::from_millis(200);
/// Time between notes of how long a training took so far.
const NOTED: Duration = Duration::from_secs(10);
/// The trainer's exit status after it was interrupted and saved.
const INTERRUPTED: i32 = 130;

/// The programs that do the work.
pub struct Programs {
    /// Trains.
    pub trainer: PathBuf,
    /// Compares two checkpoints.
    pub evaluator: PathBuf,
}

/// How a training ended.
pub enum Ended {
    /// With results.
    Finished,
    /// It was asked to stop, and can go on.
    Interrupted,
}

/// How much better the first of two checkpoints is on the same episodes, in percentage points.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
pub struct Difference {
    /// Mean over episodes.
    pub mean: f64,
    /// Half the width of its 95 % interval.
    pub ci95: f64,
}

impl Programs {
    /// Trains from the start or from where it was cut off; tells of each epoch.
    ///
    /// # Errors
    /// What the trainer said was wrong, and where its log is.
    pub fn train(
        &self,
        training: &Training,
        stop: &AtomicBool,
        on_epoch: &mut dyn FnMut(usize),
    ) -> Result<Ended, String> {
        let folder = &training.folder;
        let settings = training.write_settings()?;
        let mut command = Command::new(&self.trainer);
        command.arg("--config").arg(settings).arg("--run-dir").arg(folder);
        let mut before = Elapsed::default();
        if let State::Interrupted(_) = training.state() {
            command.args(["--resume", "last"]);
            before = Elapsed::read(folder);
        }
        let log = folder.with_extension("log");
        let output = File::create(&log).and_then(|file| Ok((file.try_clone()?, file)));
        let (out, err) = output.map_err(|e| format!("cannot write {}: {e}", log.display()))?;
        let mut child = start(command.stdout(out).stderr(err))?;
        let started = Instant::now();
        let (mut noted, mut epochs) = (started, 0);
        let status = loop {
            let status =
                child.0.try_wait().map_err(|e| format!("cannot watch the trainer: {e}"))?;
            let is_noted = status.is_some() || noted.elapsed() >= NOTED;
            if is_noted {
                noted = Instant::now();
                let seconds = before.seconds + started.elapsed().as_secs_f64();
                Elapsed { seconds }.write(folder);
            }
            if let Some(status) = status {
                break status;
            }
            // By then the trainer has moved aside what another run left.
            if is_noted && training.epochs() != epochs {
                epochs = training.epochs();
                on_epoch(epochs);
            }
            if stop.load(Ordering::Relaxed) {
                child.interrupt();
            }
            std::thread::sleep(INTERVAL);
        };
        match status.code() {
            Some(0) => Ok(Ended::Finished),
            Some(INTERRUPTED) => Ok(Ended::Interrupted),
            _ => Err(reason(&log, status)),
        }
    }

    /// How much better `first` is than `second`, from an earlier call or by the evaluator.
    ///
    /// # Errors
    /// What the evaluator said was wrong.
    pub fn compare(
        &self,
        first: (&Training, &Results),
        second: (&Training, &Results),
        checkpoint: &str,
        shot: usize,
    ) -> Result<Difference, String> {
        let kept = first.0.folder.join(format!("compared-{shot}shot.json"));
        let sides = [first, second].map(|(_, results)| results.run.to_string());
        let of = |path: &Path| -> Option<Kept> {
            serde_json::from_str(&std::fs::read_to_string(path).ok()?).ok()
        };
        if let Some(kept) = of(&kept)
            && kept.sides == sides
        {
            return Ok(kept.difference);
        }
        let path = |(training, results): (&Training, &Results)| {
            training.folder.join(results.file(checkpoint))
        };
        let mut command = Command::new(&self.evaluator);
        command.arg("--checkpoint").arg(path(first)).arg("--compare").arg(path(second));
        command.args(["--split", "novel", "--json", "--shots", &shot.to_string()]);
        let (out, log) = (kept.with_extension("out"), kept.with_extension("log"));
        let create = |path: &Path| {
            File::create(path).map_err(|e| format!("cannot write {}: {e}", path.display()))
        };
        let mut child = start(command.stdout(create(&out)?).stderr(create(&log)?))?;
        let status = child.0.wait().map_err(|e| format!("cannot watch the evaluator: {e}"))?;
        if !status.success() {
            return Err(reason(&log, status));
        }
        let text = std::fs::read_to_string(&out).unwrap_or_default();
        let report: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
        let difference = &report["comparison"]["difference"][shot.to_string()];
        let difference = Difference::deserialize(difference)
            .map_err(|e| format!("{}: no difference in it: {e}", out.display()))?;
        let text = serde_json::to_string(&Kept { sides, difference }).map_err(|e| e.to_string())?;
        fewshot_experiment::write_atomically(&kept, text.as_bytes()).map_err(|e| e.to_string())?;
        // They hold nothing that is not kept.
        [out, log].iter().for_each(|path| drop(std::fs::remove_file(path)));
        Ok(difference)
    }
}

/// A difference with what it is the difference of.
#[derive(Deserialize, Serialize)]
struct Kept {
    /// What both came from.
    sides: [String; 2],
    difference: Difference,
}

/// The last error in a log, else how the process ended.
fn reason(log: &Path, status: ExitStatus) -> String {
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let error = text.lines().rev().find_map(|line| line.strip_prefix("error: "));
    let error = error.map_or_else(|| status.to_string(), str::to_owned);
    format!("{error} (log: {})", log.display())
}

/// Starts a process in a group of its own: what interrupts this one reaches it only by us,
/// and once.
fn start(command: &mut Command) -> Result<Worker, String> {
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(command, 0);
    let name = command.get_program().to_string_lossy().into_owned();
    let child = command.stdin(Stdio::null()).spawn();
    Ok(Worker(child.map_err(|e| format!("cannot start {name}: {e}"))?, false))
}

/// A process that does not outlive its use, and whether it was told to stop.
struct Worker(Child, bool);

impl Worker {
    /// Tells it, once, to save and to stop.
    fn interrupt(&mut self) {
        if !std::mem::replace(&mut self.1, true) {
            #[cfg(unix)]
            // SAFETY: a signal to a child that has not been waited for touches no memory.
            unsafe {
                libc::kill(self.0.id() as libc::pid_t, libc::SIGINT);
            }
            // Elsewhere its last whole epoch is what it goes on from.
            #[cfg(not(unix))]
            let _ = self.0.kill();
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
