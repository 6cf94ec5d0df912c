//! Trainings and comparisons. Each is a process of its own, so that one that fails or is killed
//! does not end the others.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use evaluator::Report;
use evaluator::analysis::Analysis;
use fewshot_episodes::heads::HeadKind;
use serde::{Deserialize, Serialize};
use trainer::FinalReport;

use super::files::write;
use super::margins::Finished;
use super::plan::{State, Training};
use super::results::{self, Elapsed};

/// Time between checks of a process.
const INTERVAL: Duration = Duration::from_millis(200);
/// Time between updates of a training's elapsed time.
const ELAPSED_INTERVAL: Duration = Duration::from_secs(10);
/// Exit status of a trainer that was interrupted and has saved its state.
const INTERRUPTED: i32 = 130;

/// Paths of the programs that do the work.
pub struct Programs {
    /// Trains a model.
    pub trainer: PathBuf,
    /// Compares two checkpoints.
    pub evaluator: PathBuf,
}

/// How a training ended.
pub enum Ended {
    /// Finished, with results.
    Finished,
    /// Stopped on request; it can be resumed.
    Interrupted,
}

/// Accuracy of one checkpoint minus that of another on the same episodes, in percentage points.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
pub struct Difference {
    /// Mean over episodes.
    pub mean: f64,
    /// Half the width of its 95 % interval.
    pub ci95: f64,
}

impl Programs {
    /// Trains from the start, or resumes an interrupted training. Calls `on_epoch` with the number
    /// of epochs done.
    ///
    /// # Errors
    /// The trainer's error, with the path of its log.
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
            let is_noted = status.is_some() || noted.elapsed() >= ELAPSED_INTERVAL;
            if is_noted {
                noted = Instant::now();
                let seconds = before.seconds + started.elapsed().as_secs_f64();
                Elapsed { seconds }.write(folder);
            }
            if let Some(status) = status {
                break status;
            }
            // By then the trainer has moved aside what another run had left.
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

    /// Returns the difference of `first` and `second`, as stored by an earlier call or by running
    /// the evaluator.
    ///
    /// # Errors
    /// The evaluator's error.
    pub fn compare(
        &self,
        first: (&Training, &FinalReport),
        second: (&Training, &FinalReport),
        checkpoint: &str,
        shot: usize,
    ) -> Result<Difference, String> {
        let stored_at = first.0.folder.join(format!("compared-{shot}shot.json"));
        let sides = [first, second].map(|(_, results)| results::origin(&results.run));
        let stored = std::fs::read_to_string(&stored_at).ok();
        let stored: Option<Stored> = stored.and_then(|text| serde_json::from_str(&text).ok());
        if let Some(stored) = stored.filter(|stored| stored.sides == sides) {
            return Ok(stored.difference);
        }
        let path = |(training, results): (&Training, &FinalReport)| {
            training.folder.join(results::file(results, checkpoint))
        };
        let mut command = Command::new(&self.evaluator);
        command.arg("--checkpoint").arg(path(first)).arg("--compare").arg(path(second));
        command.args(["--split", "novel", "--json", "--shots", &shot.to_string()]);
        let (out, log) = (stored_at.with_extension("out"), stored_at.with_extension("log"));
        evaluate(command.stdout(create(&out)?), &log)?;
        let text = std::fs::read_to_string(&out).unwrap_or_default();
        let report: Report = serde_json::from_str(&text)
            .map_err(|e| format!("{}: not the evaluator's output: {e}", out.display()))?;
        let difference = report.comparison.and_then(|both| both.difference.get(&shot).cloned());
        let difference =
            difference.ok_or_else(|| format!("{}: no difference in it", out.display()))?;
        let difference = Difference { mean: difference.mean, ci95: difference.ci95 };
        let text =
            serde_json::to_string(&Stored { sides, difference }).map_err(|e| e.to_string())?;
        write(&stored_at, text.as_bytes())?;
        // All that matters in them is stored now.
        [out, log].iter().for_each(|path| drop(std::fs::remove_file(path)));
        Ok(difference)
    }

    /// Returns the analysis of checkpoints side by side, as stored in `folder` by an earlier call or
    /// by running the evaluator.
    ///
    /// # Errors
    /// The evaluator's error.
    pub fn analyse(
        &self,
        checkpoints: &[Finished],
        heads: &[HeadKind],
        folder: &Path,
    ) -> Result<Analysis, String> {
        let heads: Vec<&str> = heads.iter().map(|head| head.name()).collect();
        let origins = checkpoints.iter().map(|checkpoint| checkpoint.origin.clone());
        let request = Request { origins: origins.collect(), heads: heads.join(",") };
        let read = |name: &str| std::fs::read_to_string(folder.join(name)).ok();
        let stored = || -> Option<Analysis> {
            let earlier: Request = serde_json::from_str(&read("request.json")?).ok()?;
            (earlier == request).then(|| serde_json::from_str(&read("analysis.json")?).ok())?
        };
        if let Some(analysis) = stored() {
            return Ok(analysis);
        }
        std::fs::create_dir_all(folder)
            .map_err(|error| format!("cannot create {}: {error}", folder.display()))?;
        let mut command = Command::new(&self.evaluator);
        command.arg("analyse").arg("--out").arg(folder).arg("--heads").arg(&request.heads);
        command.arg("--checkpoint").args(checkpoints.iter().map(|checkpoint| &checkpoint.path));
        evaluate(command.stdout(Stdio::null()), &folder.join("analysis.log"))?;
        let path = folder.join("analysis.json");
        let analysis = serde_json::from_str(&read("analysis.json").unwrap_or_default())
            .map_err(|e| format!("{}: not the evaluator's output: {e}", path.display()))?;
        let text = serde_json::to_string(&request).map_err(|e| e.to_string())?;
        write(&folder.join("request.json"), text.as_bytes())?;
        Ok(analysis)
    }
}

/// What an analysis was made of.
#[derive(Deserialize, PartialEq, Serialize)]
struct Request {
    /// Origin of each checkpoint.
    origins: Vec<String>,
    /// Names of the adaptation heads.
    heads: String,
}

/// A stored difference.
#[derive(Deserialize, Serialize)]
struct Stored {
    /// Origins of both results.
    sides: [String; 2],
    difference: Difference,
}

/// Runs the evaluator, whose messages go into `log`, to its end.
fn evaluate(command: &mut Command, log: &Path) -> Result<(), String> {
    let mut child = start(command.stderr(create(log)?))?;
    let status = child.0.wait().map_err(|e| format!("cannot watch the evaluator: {e}"))?;
    if status.success() { Ok(()) } else { Err(reason(log, status)) }
}

fn create(path: &Path) -> Result<File, String> {
    File::create(path).map_err(|e| format!("cannot write {}: {e}", path.display()))
}

/// Returns the last error in a log, else how the process ended.
fn reason(log: &Path, status: ExitStatus) -> String {
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let error = text.lines().rev().find_map(|line| line.strip_prefix("error: "));
    let error = error.map_or_else(|| status.to_string(), str::to_owned);
    format!("{error} (log: {})", log.display())
}

/// Starts a process in a process group of its own, so that Ctrl-C does not reach it directly: it
/// gets exactly one signal, from [`Worker::interrupt`].
fn start(command: &mut Command) -> Result<Worker, String> {
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(command, 0);
    let name = command.get_program().to_string_lossy().into_owned();
    let child = command.stdin(Stdio::null()).spawn();
    Ok(Worker(child.map_err(|e| format!("cannot start {name}: {e}"))?, false))
}

/// A process that is killed when it is dropped, and whether it was told to stop.
struct Worker(Child, bool);

impl Worker {
    /// Tells the process, once, to save its state and stop: by SIGTERM, since SIGINT stays ignored
    /// where this program was started with it ignored.
    fn interrupt(&mut self) {
        if !std::mem::replace(&mut self.1, true) {
            #[cfg(unix)]
            // SAFETY: `kill` accesses no memory of this process; the child has not been waited for,
            // so that its id is not another process's.
            unsafe {
                libc::kill(self.0.id() as libc::pid_t, libc::SIGTERM);
            }
            // Elsewhere it resumes after its last complete epoch.
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
