//! Accuracy and features over the margin: a grid of trainings, analysed and drawn.

mod grid;
mod output;
mod statistics;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

use evaluator::analysis::Analysis;
use fewshot_progress::{Progress, say};
use grid::{Curve, Grid};
use output::{Output, Subject};
use statistics::points;
pub(crate) use statistics::{SeedValue, Summary};

use crate::grid_command::GridOptions;
use crate::plan::State;
use crate::work::Programs;
use crate::{Outcome, prepare, results};

/// Command line of `cargo xtask reproduce margins` and `… analysis`.
#[derive(clap::Args)]
pub struct Margins {
    /// Curves of the budget [default: all]
    #[arg(value_name = "CURVE")]
    curves: Vec<String>,
    /// A grid of configs/budgets (margins-cpu, margins-gpu, margins-tiny), or a file that ends in .toml
    #[arg(long, value_name = "BUDGET", default_value = "margins-cpu")]
    budget: String,
    #[command(flatten)]
    grid: GridOptions,
}

impl Margins {
    /// Runs `cargo xtask reproduce margins`.
    pub(crate) fn margins(&self) -> ExitCode {
        crate::exit(self.reproduce(Subject::Margins))
    }

    /// Runs `cargo xtask reproduce analysis`.
    pub(crate) fn analysis(&self) -> ExitCode {
        crate::exit(self.reproduce(Subject::Analysis))
    }

    fn reproduce(&self, subject: Subject) -> Result<Outcome, String> {
        let mut grid = Grid::read(&self.budget)?;
        grid.select(&self.curves)?;
        if let Some(seeds) = self.grid.seeds {
            grid.curves.iter_mut().for_each(|curve| curve.seeds = curve.seeds.min(seeds));
        }
        self.grid.run(
            &grid.name,
            |out| grid.trainings(out),
            |out, stop| measure(&grid, &prepare()?, subject, out, stop),
        )
    }
}

/// Analyses what is finished and writes tables and figures, unless stopped.
fn measure(
    grid: &Grid,
    programs: &Programs,
    subject: Subject,
    out: &Path,
    stop: &AtomicBool,
) -> Result<(), String> {
    let output = analyse(grid, programs, out, stop)?;
    if stop.load(Ordering::Relaxed) {
        return Ok(());
    }
    if output.points.is_empty() {
        return Err(format!(
            "{}: no finished training with margin 0 to compare others with",
            out.display()
        ));
    }
    say(format_args!("\n{}", output.write(subject, out)?));
    let (out, name) = (out.display(), subject.name());
    say(format_args!("written: {out}/{name}.html, .md, .csv, .json and figures"));
    Ok(())
}

/// Analyses the finished trainings: those of a curve and a seed together, so that each margin is
/// compared with margin 0 of the same seed on the same episodes.
fn analyse(
    grid: &Grid,
    programs: &Programs,
    out: &Path,
    stop: &AtomicBool,
) -> Result<Output, String> {
    let seeds: u64 = grid.curves.iter().map(|curve| curve.seeds).sum();
    let progress = Progress::new("analyses", seeds as usize, "seeds");
    let (mut all, mut missing) = (Vec::new(), Vec::new());
    for curve in &grid.curves {
        let mut analyses: Vec<(u64, Analysis)> = Vec::new();
        for seed in 0..curve.seeds {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            let checkpoints = finished(grid, curve, seed, out, &mut missing)?;
            // Without margin 0 there is nothing to compare with.
            if checkpoints.first().is_some_and(|first| first.margin == 0.0) {
                let folder = out.join(&curve.name).join(format!("analysis-seed-{seed}"));
                let of_seed = programs.analyse(&checkpoints, &grid.heads, &folder)?;
                analyses.push((seed, of_seed));
            }
            progress.advance(1, || curve.name.clone());
        }
        all.extend(points(&curve.name, &analyses));
    }
    Ok(Output {
        budget: grid.name.clone(),
        checkpoint: grid.checkpoint.clone(),
        heads: grid.heads.iter().map(|head| head.name().to_owned()).collect(),
        points: all,
        missing,
    })
}

/// The checkpoint of a finished training.
pub(crate) struct Finished {
    /// Its margin.
    pub margin: f64,
    /// Its file.
    pub path: PathBuf,
    /// What identifies the training's result.
    pub origin: String,
}

/// Returns the finished trainings of a curve with one seed, margin 0 first; adds the names of the
/// others to `missing`.
fn finished(
    grid: &Grid,
    curve: &Curve,
    seed: u64,
    out: &Path,
    missing: &mut Vec<String>,
) -> Result<Vec<Finished>, String> {
    let mut margins = curve.margins.clone();
    margins.sort_by_key(|&margin| margin != 0.0);
    let mut finished = Vec::new();
    for margin in margins {
        let training = curve.training(margin, seed, out)?;
        match training.state() {
            State::Done(done) => finished.push(Finished {
                margin,
                path: training.folder.join(results::file(&done, &grid.checkpoint)),
                origin: results::origin(&done.run),
            }),
            _ => missing.push(training.name),
        }
    }
    Ok(finished)
}
