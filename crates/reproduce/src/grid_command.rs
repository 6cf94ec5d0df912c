//! What the commands that train a grid and measure it have in common.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use fewshot_progress::say;

use crate::plan::Training;
use crate::{Options, Outcome, announce, go_on_in_release, prepare, stop_signal, train};

/// Options of a command that trains a grid and measures it.
#[derive(clap::Args)]
pub struct GridOptions {
    /// Trainings of each setting at most, with seeds from 0 [default: the budget's]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=100))]
    pub(crate) seeds: Option<u64>,
    /// Train nothing: measure what is finished
    #[arg(long)]
    no_training: bool,
    #[command(flatten)]
    options: Options,
}

impl GridOptions {
    /// Trains what is left of the grid `name`, and calls `measure`. Either ends early, without an error,
    /// when the last argument of `measure` becomes true.
    pub(crate) fn run(
        &self,
        name: &str,
        plan: impl FnOnce(&Path) -> Result<Vec<Training>, String>,
        measure: impl FnOnce(&Path, &AtomicBool) -> Result<(), String>,
    ) -> Result<Outcome, String> {
        go_on_in_release(self.options.any_build)?;
        let out = self.options.out(name);
        let trainings = plan(&out)?;
        if !self.no_training {
            say(announce(name, &trainings)?);
        }
        if self.options.dry_run {
            return Ok(Outcome::Done);
        }
        let stop = stop_signal()?;
        let failures = match self.no_training {
            true => BTreeMap::new(),
            false => train(&trainings, &prepare()?, &stop),
        };
        let is_stopped = || stop.load(Ordering::Relaxed);
        if !is_stopped() {
            measure(&out, &stop)?;
        }
        if is_stopped() {
            say("interrupted and saved; the same command goes on");
            return Ok(Outcome::Interrupted);
        }
        Ok(if failures.is_empty() { Outcome::Done } else { Outcome::SomeFailed })
    }
}
