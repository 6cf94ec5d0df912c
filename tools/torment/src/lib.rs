//! Tests by random faults: kills, interrupts and starves training runs, and feeds the programs damaged
//! files, for as long as it is told to.
//!
//! A trial is one such fault, and what has to be true afterwards. All that is random about it comes from
//! a seed, the trial's kind and its number, so that a trial can be repeated; only the moment at which a
//! signal arrives depends on the machine.
#![cfg(unix)]
#![forbid(unsafe_code)]

mod damage;
mod process;
mod report;
mod scene;
mod trials;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

pub use self::process::Programs;
pub use self::report::{Failure, Report};
pub use self::trials::Kind;

use self::scene::Scene;
use self::trials::Trial;

/// What is tried, and for how long.
#[derive(Clone, Debug)]
pub struct Options {
    /// Seed of all trials.
    pub seed: u64,
    /// How long trials are begun; at least one of each kind is.
    pub time: Duration,
    /// The only kind to try, if not all.
    pub only: Option<Kind>,
    /// Number of the first trial of each kind.
    pub first: u64,
    /// Where the files of trials that failed are kept.
    pub keep: PathBuf,
}

/// Runs trials until the time is over.
///
/// # Errors
/// The undisturbed runs with which others are compared do not succeed; files cannot be written.
pub fn run(
    options: &Options,
    programs: &Programs,
    mut each: impl FnMut(&str),
) -> Result<Report, String> {
    let folder = tempfile::tempdir().map_err(|e| format!("a temporary folder: {e}"))?;
    let scene = Scene::new(folder.path(), programs)?;
    let mut report = Report::new(options.seed);
    let started = Instant::now();
    for (kind, number) in trials::schedule(options.only, options.first) {
        if started.elapsed() >= options.time && report.has_tried_all(options.only) {
            break;
        }
        let place = folder.path().join(format!("{kind}-{number}"));
        std::fs::create_dir(&place).map_err(|e| format!("{}: {e}", place.display()))?;
        let mut trial = Trial::new(&scene, &place, options.seed, kind, number);
        match trial.run() {
            Ok(ending) => {
                report.count(kind, ending);
                std::fs::remove_dir_all(&place).map_err(|e| format!("{}: {e}", place.display()))?;
            }
            Err(what) => {
                let text = format!("seed {}\n{}\n\n{what}\n", options.seed, trial.log());
                let kept = keep(&place, &options.keep, &text)?;
                each(&format!("FAILED {kind} {number}: {what}\n  kept in {}", kept.display()));
                report.fail(Failure { kind, number, what, folder: kept });
            }
        }
    }
    report.seconds = started.elapsed().as_secs_f64();
    Ok(report)
}

/// Moves the files of a trial to where they outlast the program.
fn keep(place: &Path, folder: &Path, text: &str) -> Result<PathBuf, String> {
    let name = place.file_name().unwrap_or_default();
    let target = (0..).map(|n| folder.join(format!("{}-{n}", name.display())));
    let target = target.into_iter().find(|path| !path.exists()).unwrap_or_default();
    let kept = std::fs::write(place.join("trial.txt"), text)
        .and_then(|()| std::fs::create_dir_all(folder))
        .and_then(|()| scene::copy(place, &target));
    kept.map(|()| target).map_err(|e| format!("keeping {}: {e}", place.display()))
}
