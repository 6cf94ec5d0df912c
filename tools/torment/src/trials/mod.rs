//! The kinds of trials.

mod files;
mod interrupted;
mod starved;
mod two;

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use fewshot_seed::{ChaCha8Rng, stream};
use rand::Rng;
use serde::Serialize;

use crate::process::{Ended, Running, prepared, set_up, typed};
use crate::scene::{LIMIT, SETTINGS, Scene};

/// A kind of trial.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A run is killed (SIGKILL) up to three times, and resumed.
    Kill,
    /// A run gets SIGINT, SIGTERM or SIGHUP, which it may have been told to ignore, and is resumed.
    Signal,
    /// A run finds no room for its files, and is resumed.
    Disk,
    /// A run's standard output is full, or closed by who reads it.
    Output,
    /// Two trainers work in one run folder.
    Two,
    /// A file that is read has been damaged.
    Files,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 6] =
        [Self::Kill, Self::Signal, Self::Disk, Self::Output, Self::Two, Self::Files];

    fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Signal => "signal",
            Self::Disk => "disk",
            Self::Output => "output",
            Self::Two => "two",
            Self::Files => "files",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Kinds and numbers of trials, without end: damaged files take least time, and come most often.
pub fn schedule(only: Option<Kind>, first: u64) -> impl Iterator<Item = (Kind, u64)> {
    const FILES: u64 = 8;
    let kinds = move |round: u64| match only {
        Some(kind) => vec![(kind, first + round)],
        None => {
            let [runs @ .., files] = Kind::ALL;
            let runs = runs.into_iter().map(move |kind| (kind, first + round));
            let files = move |n| (files, first + FILES * round + n);
            runs.chain((0..FILES).map(files)).collect()
        }
    };
    (0..).flat_map(kinds)
}

/// One trial at work.
pub struct Trial<'a> {
    scene: &'a Scene,
    /// Its own folder.
    place: &'a Path,
    kind: Kind,
    rng: ChaCha8Rng,
    /// What was done.
    log: Vec<String>,
}

/// How a trial ended that went well, or what was not as it should be.
type Verdict = Result<&'static str, String>;

impl<'a> Trial<'a> {
    /// Begins a trial.
    pub fn new(scene: &'a Scene, place: &'a Path, seed: u64, kind: Kind, number: u64) -> Self {
        let log = vec![format!("{kind} {number}")];
        Self { scene, place, kind, rng: stream(seed, kind.name(), &[number]), log }
    }

    /// Runs it to its end.
    ///
    /// # Errors
    /// What was not as it should be.
    pub fn run(&mut self) -> Verdict {
        match self.kind {
            Kind::Kill => self.kill(),
            Kind::Signal => self.signal(),
            Kind::Disk => self.disk(),
            Kind::Output => self.output(),
            Kind::Two => self.two(),
            Kind::Files => self.files(),
        }
    }

    /// What was done.
    pub fn log(&self) -> String {
        self.log.join("\n")
    }

    /// The folder of the run.
    fn run_folder(&self) -> PathBuf {
        self.place.join("run")
    }

    /// The trainer on the scene's settings, prepared by a shell, which begins a new run.
    fn new_trainer(&self, preparation: &str) -> Command {
        let mut command = prepared(preparation, &self.scene.programs.trainer);
        command.arg("--run-dir").arg(self.run_folder()).args(SETTINGS);
        set_up(&mut command);
        command
    }

    /// The same, which goes on where there is something to go on with.
    fn trainer(&self, preparation: &str) -> Command {
        let mut command = self.new_trainer(preparation);
        if self.run_folder().join("last.safetensors").exists() {
            command.args(["--resume", "last"]);
        }
        command
    }

    fn start(&mut self, command: &mut Command) -> Result<Running, String> {
        self.log.push(typed(command));
        Running::start(command)
    }

    /// Runs a command to its end.
    fn finish(&mut self, command: &mut Command) -> Result<Ended, String> {
        let ended = self.start(command)?.wait(LIMIT)?;
        self.log.push(format!("  {}", ended.status));
        Ok(ended)
    }

    /// Waits for a random moment of a run.
    fn wait_a_while(&mut self) {
        let share = self.rng.random_range(0.0..1.1);
        let time = self.scene.duration.mul_f64(share);
        self.log.push(format!("  after {time:.3?}"));
        std::thread::sleep(time.min(Duration::from_secs(60)));
    }

    /// Lets the run go on undisturbed, and compares what it left.
    fn go_on(&mut self) -> Result<(), String> {
        let ended = self.finish(&mut self.trainer(":"))?;
        ended.succeeded().map_err(|e| format!("the run does not go on: {e}"))?;
        self.scene.compare(&self.run_folder(), 0)
    }

    /// Checks that the last checkpoint, if there is one, can be evaluated.
    fn evaluate_last(&mut self) -> Result<(), String> {
        let last = self.run_folder().join("last.safetensors");
        if !last.exists() {
            return Ok(());
        }
        let ended = self.finish(&mut self.evaluator(":", &last))?;
        ended.succeeded().map_err(|e| format!("the last checkpoint does not load: {e}"))
    }

    /// The evaluator on a checkpoint.
    fn evaluator(&self, preparation: &str, checkpoint: &Path) -> Command {
        let mut command = prepared(preparation, &self.scene.programs.evaluator);
        command.arg("--checkpoint").arg(checkpoint);
        command.args(["--episodes", "4", "--shots", "1", "--query", "2", "--head", "nearest"]);
        set_up(&mut command);
        command
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_comes_and_no_trial_twice() {
        let trials: Vec<_> = schedule(None, 5).take(39).collect();
        let unique: std::collections::BTreeSet<_> = trials.iter().collect();
        assert_eq!(unique.len(), 39);
        assert!(Kind::ALL.iter().all(|&kind| trials.contains(&(kind, 5))));
        let only: Vec<_> = schedule(Some(Kind::Two), 2).take(3).collect();
        assert_eq!(only, [(Kind::Two, 2), (Kind::Two, 3), (Kind::Two, 4)]);
    }
}
