//! The paper's main table and its curves over the margin, trained and evaluated at a budget's size,
//! and curves of runs.

mod ablation;
mod budget;
mod cells;
mod estimate;
mod files;
mod grid_command;
mod margins;
mod plan;
mod plot;
mod results;
mod table;
mod work;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

pub use ablation::Ablation;
use budget::Budget;
use cells::Cell;
use estimate::Estimator;
use fewshot_progress::{Progress, duration, on_stop_signal, say, warn};
use files::write;
pub use margins::Margins;
use plan::{Planned, State, Training, plan};
pub use plot::Plot;
use results::{Accuracy, Elapsed};
use table::{Margin, Row, Run, Table};
use work::{Ended, Programs};

/// Features that this package was built with, for cargo.
const FEATURES: &[&str] = if cfg!(feature = "cuda") { &["cuda"] } else { &[] };

/// Command line of `cargo xtask reproduce`.
#[derive(clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:
  cargo xtask reproduce --dry-run                     what it would train, with time and disk space
  cargo xtask reproduce --budget cpu                  the whole table at the size of two CPU cores
  cargo xtask reproduce cub mini-imagenet/neg-cosine  some of its cells
  cargo xtask reproduce cub/neg-cosine-5shot --seeds 3
  cargo xtask reproduce --budget my.toml              a budget of your own, as configs/budgets has them
  cargo xtask reproduce margins --dry-run             accuracy over the margin: the paper's first figure
  cargo xtask reproduce analysis --no-training        section 4 of the paper, of what is trained
  cargo xtask reproduce ablation --dry-run            what each part of later recipes adds

Budgets override settings of configs/DATASET/METHOD-SHOTshot.toml:
  paper          as published: ResNet-18, 224 px; days on a GPU
  cpu            ResNet-10, 42 and 64 px, on partial copies of the datasets; an hour on two cores
  gpu-half-hour  ResNet-10, 84 px, for a GPU: cargo xtask --features cuda reproduce --budget gpu-half-hour

Runs lie in OUT/CELL/seed-N, beside their logs and settings. Finished runs are kept, interrupted ones
resumed, and a cell that fails is reported while the others continue; the same command again does
what is left. The table covers all cells in OUT: OUT/table.md, table.csv, table.json.
Relative dataset roots are also looked up under the folder that FEWSHOT_DATA names.

Exit status: 0 done, 1 some cells failed, 2 nothing could be done, 130 interrupted (after saving)."
)]
pub struct Reproduce {
    #[command(subcommand)]
    figure: Option<Paper>,
    /// Cells: a dataset, a method, or both, as in cub, neg-cosine, cub/cosine-5shot [default: all]
    #[arg(value_name = "CELL")]
    cells: Vec<String>,
    /// paper, cpu, gpu-half-hour, or a file that ends in .toml
    #[arg(long, value_name = "BUDGET", default_value = "paper")]
    budget: String,
    /// Trainings per cell, with seeds from 0
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=100))]
    seeds: u64,
    #[command(flatten)]
    options: Options,
}

/// Options of the table and of the curves.
#[derive(clap::Args)]
struct Options {
    /// Print what would be done, with time and disk space, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// Estimate times with this build of the program, even if it is not a release build
    #[arg(long, hide = true)]
    any_build: bool,
    /// Folder for runs and results [default: checkpoints/reproduce/BUDGET]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

impl Options {
    /// Returns the folder for the runs and results of a budget.
    fn out(&self, budget: &str) -> PathBuf {
        self.out.clone().unwrap_or_else(|| Path::new("checkpoints/reproduce").join(budget))
    }
}

/// What else of the paper is reproduced.
#[derive(clap::Subcommand)]
enum Paper {
    /// Draws accuracy on base and unseen classes and discriminability over the margin, as the paper's
    /// first figure does: trains a grid of margins and seeds, and compares each margin with margin 0 on
    /// the same episodes. OUT gets margins.html, .md, .csv, .json, and each figure as SVG and PNG
    Margins(Margins),
    /// Measures the features of the same trainings as the paper's section 4 does: discriminability, and
    /// the base classes that unseen classes are taken for. OUT gets analysis.html, .md, .csv, .json,
    /// and OUT/CURVE/analysis-seed-N/analysis.html t-SNE maps and images
    Analysis(Margins),
    /// Measures what each part of the recipes since 2020 adds to the published one, in training and in
    /// evaluation, alone and together, with and without a negative margin: differences on the same
    /// episodes. OUT gets ablation.md, .csv and .json
    Ablation(Ablation),
}

/// How the command ended.
pub(crate) enum Outcome {
    Done,
    SomeFailed,
    Interrupted,
}

impl Reproduce {
    /// Trains what is left and evaluates it; prints messages and the table.
    pub fn run(&self) -> ExitCode {
        match &self.figure {
            Some(Paper::Margins(command)) => command.margins(),
            Some(Paper::Analysis(command)) => command.analysis(),
            Some(Paper::Ablation(command)) => command.run(),
            None => exit(self.reproduce()),
        }
    }

    fn reproduce(&self) -> Result<Outcome, String> {
        let budget = Budget::read(&self.budget)?;
        let cells = cells::select(&self.cells)?;
        go_on_in_release(self.options.any_build)?;
        let out = self.options.out(&budget.name);
        let (trainings, _) = plan(&budget, &cells, self.seeds, &out)?;
        say(announce(&budget.name, &trainings)?);
        if self.options.dry_run {
            return Ok(Outcome::Done);
        }
        let stop = stop_signal()?;
        let programs = prepare()?;
        reproduce(&budget, &trainings, &programs, self.seeds, &out, &stop)
    }
}

/// Returns the exit status, after printing an error.
fn exit(outcome: Result<Outcome, String>) -> ExitCode {
    match outcome {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::SomeFailed) => ExitCode::from(1),
        Ok(Outcome::Interrupted) => ExitCode::from(130),
        Err(message) => {
            warn(format_args!("error: {message}"));
            ExitCode::from(2)
        }
    }
}

/// Replaces this program by its release build, which times are estimated with, unless it is one or
/// `any_build` will do.
fn go_on_in_release(any_build: bool) -> Result<(), String> {
    if cfg!(debug_assertions) && !any_build {
        fewshot_programs::go_on_in_release(env!("CARGO_PKG_NAME"), FEATURES)
            .map_err(|e| format!("cannot run cargo: {e}"))?;
    }
    Ok(())
}

/// Builds the programs that do the work.
fn prepare() -> Result<Programs, String> {
    let built = fewshot_programs::build_release(&["trainer", "evaluator"], FEATURES)?;
    let [trainer, evaluator] = <[PathBuf; 2]>::try_from(built).map_err(|_| "no programs")?;
    Ok(Programs { trainer, evaluator })
}

/// Runs the trainings that are left, then writes and prints the table of all finished ones.
fn reproduce(
    budget: &Budget,
    trainings: &[Training],
    programs: &Programs,
    seeds: u64,
    out: &Path,
    stop: &AtomicBool,
) -> Result<Outcome, String> {
    let failures = train(trainings, programs, stop);
    if stop.load(Ordering::Relaxed) {
        say("interrupted and saved; the same command goes on");
        return Ok(Outcome::Interrupted);
    }
    let (all, planned) = plan(budget, &cells::CELLS, seeds, out)?;
    let table = table(budget, &all, &planned, programs, &failures);
    let markdown = table.to_markdown();
    let json = serde_json::to_string_pretty(&table).map_err(|e| e.to_string())?;
    let csv = table.to_csv().map_err(|e| e.to_string())?;
    std::fs::create_dir_all(out).map_err(|e| format!("cannot create {}: {e}", out.display()))?;
    for (name, text) in [("table.md", &markdown), ("table.json", &json), ("table.csv", &csv)] {
        write(&out.join(name), text.as_bytes())?;
    }
    say(format_args!("\n{markdown}"));
    say(format_args!("written: {0}/table.md, {0}/table.csv, {0}/table.json", out.display()));
    Ok(if failures.is_empty() { Outcome::Done } else { Outcome::SomeFailed })
}

/// Formats the plan.
fn announce(budget: &str, trainings: &[Training]) -> Result<String, String> {
    let mut estimator = Estimator::default();
    let mut lines = vec![format!("budget {budget}, trainings: {}", trainings.len())];
    let (mut seconds, mut bytes, mut is_known) = (0.0, 0, true);
    for training in trainings {
        let (method, train) = (&training.config.method, &training.config.train);
        let what = format!("{} {} px, {} epochs", method.backbone, method.image_size, train.epochs);
        let (share, state) = match training.state() {
            State::Done(_) => (0.0, "finished, kept".to_owned()),
            State::Interrupted(done) => {
                (1.0 - done as f64 / train.epochs as f64, format!("goes on after epoch {done}"))
            }
            State::Other => (1.0, "another run lies there and will be moved aside".into()),
            State::Absent => (1.0, "to do".into()),
        };
        if share == 0.0 {
            lines.push(format!("  {}: {what}; {state}", training.name));
            continue;
        }
        let estimate = estimator.estimate(training)?;
        let ready = if estimate.is_ready { "" } else { "; its images are not all there" };
        is_known &= estimate.seconds.is_some();
        let time = match estimate.seconds {
            Some(all) => {
                seconds += share * all;
                format!("about {}", duration(share * all))
            }
            None => {
                format!("unknown time ({} is not there to be measured)", training.config.device)
            }
        };
        bytes += estimate.bytes;
        let images = estimate.images;
        lines.push(format!(
            "  {}: {what} of {images} images; {state}, {time}{ready}",
            training.name
        ));
    }
    let time =
        if is_known { format!("about {}", duration(seconds)) } else { "unknown time".into() };
    lines.push(format!("in all {time}, {} of disk", fewshot_fetch::format_bytes(bytes)));
    Ok(lines.join("\n"))
}

/// Runs the trainings that are not finished; returns errors by run folder.
fn train(
    trainings: &[Training],
    programs: &Programs,
    stop: &AtomicBool,
) -> BTreeMap<PathBuf, String> {
    let mut failures = BTreeMap::new();
    let left: Vec<_> = trainings.iter().filter(|t| !matches!(t.state(), State::Done(_))).collect();
    let epochs = left.iter().map(|training| training.config.train.epochs).sum();
    let progress = Progress::new("reproduce", epochs, "epochs");
    for (number, training) in (1..).zip(&left) {
        let title = format!("{number}/{} {}", left.len(), training.name);
        progress.print_line(&title);
        let mut done = 0;
        let mut on_epoch = |now: usize| {
            progress.advance(now.saturating_sub(done), || title.clone());
            done = done.max(now);
        };
        match programs.train(training, stop, &mut on_epoch) {
            Ok(Ended::Finished) => {
                on_epoch(training.config.train.epochs);
                let seconds = Elapsed::read(&training.folder).seconds;
                progress.print_line(&format!("  done in {}", duration(seconds)));
            }
            Ok(Ended::Interrupted) => {}
            Err(reason) => {
                progress.print_line(&format!("  failed: {reason}"));
                failures.insert(training.folder.clone(), reason);
            }
        }
        if stop.load(Ordering::Relaxed) {
            break;
        }
    }
    failures
}

fn table(
    budget: &Budget,
    trainings: &[Training],
    planned: &[Planned],
    programs: &Programs,
    failures: &BTreeMap<PathBuf, String>,
) -> Table {
    let checkpoint = &budget.checkpoint;
    let row = |planned: &Planned| {
        let Cell { dataset, method, shot, published: (mean, ci95) } = planned.cell;
        let mut row = Row {
            dataset,
            method,
            shot,
            margin: 0.0,
            published: Accuracy { mean, ci95 },
            ours: None,
            difference: None,
            runs: Vec::new(),
            problem: None,
        };
        for training in planned.trainings.iter().map(|&index| &trainings[index]) {
            row.margin = training.config.method.margin;
            if let Some(reason) = failures.get(&training.folder) {
                row.problem = Some(format!("failed: {reason}"));
            }
            let State::Done(results) = training.state() else { continue };
            let Some(accuracy) = results::novel(&results, checkpoint, shot) else { continue };
            row.runs.push(Run {
                seed: results.run.seed,
                accuracy,
                seconds: Elapsed::read(&training.folder).seconds,
                device: results.run.device,
                commit: results.run.commit,
                config_sha256: results.run.config_sha256,
                folder: training.folder.clone(),
            });
        }
        row.ours = table::accuracy(&row.runs);
        row.difference = row.ours.map(|ours| ours.mean - mean);
        row
    };
    let margin = |with: &Planned| {
        let without = with.cell.without_margin()?;
        let Cell { dataset, method, shot, published } = with.cell;
        let partner = planned.iter().find(|planned| planned.cell == without)?;
        let mut seeds = Vec::new();
        for (&first, &second) in with.trainings.iter().zip(&partner.trainings) {
            let (first, second) = (&trainings[first], &trainings[second]);
            if let (State::Done(a), State::Done(b)) = (first.state(), second.state()) {
                match programs.compare((first, &a), (second, &b), checkpoint, shot) {
                    Ok(difference) => seeds.push(difference),
                    Err(reason) => {
                        warn(format_args!("{}: cannot compare: {reason}", first.name));
                    }
                }
            }
        }
        let published = published.0 - without.published.0;
        let ours = table::difference(&seeds);
        Some(Margin { dataset, method, without: without.method, shot, published, ours, seeds })
    };
    let split = trainings.first().map(|t| t.config.dataset.novel.split.to_string());
    Table {
        budget: budget.name.clone(),
        checkpoint: checkpoint.clone(),
        split: split.unwrap_or_default(),
        cells: planned.iter().map(row).collect(),
        margins: planned.iter().filter_map(margin).collect(),
    }
}

/// Returns a flag that Ctrl-C sets.
fn stop_signal() -> Result<Arc<AtomicBool>, String> {
    let stop = Arc::new(AtomicBool::new(false));
    let raised = Arc::clone(&stop);
    let act = move |_| {
        raised.store(true, Ordering::Relaxed);
        warn("\nstopping the training after its step");
    };
    on_stop_signal(act).map_err(|error| format!("cannot receive signals to stop: {error}"))?;
    Ok(stop)
}
