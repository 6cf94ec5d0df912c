//! Cases: rows before they are measured, and how they are measured, ours and PyTorch's in turn.

use std::path::PathBuf;
use std::thread::sleep;
use std::time::Duration;

use fewshot_experiment::Progress;
use serde_json::Value;

use super::Error;
use super::python::{Interpreter, Script};
use super::row::{Better, Row};

/// Pause between the two sides, so that the threads of one no longer spin when the other begins.
const PAUSE: Duration = Duration::from_millis(300);

/// Settings common to all rows.
pub struct Setup {
    /// Number of threads of each side.
    pub threads: usize,
    /// Whether everything is measured once with the smallest sizes.
    pub smallest: bool,
    /// Pairs of each row, if the command line gives them.
    pub pairs: Option<usize>,
    /// Epochs of each measurement of `run`.
    pub epochs: usize,
    /// Whether PyTorch is measured, too.
    pub against_pytorch: bool,
    /// Folder of the datasets (`FEWSHOT_DATA`).
    pub data: Option<PathBuf>,
}

/// Takes one measurement of our side, in the row's unit.
pub type Measure = Box<dyn FnMut() -> Result<f64, Error>>;

/// A row before it is measured.
pub struct Case {
    /// What is measured, with its sizes.
    pub name: String,
    /// Unit of the figures: `images/s`, `MB`, …
    pub unit: &'static str,
    /// Whether higher or lower figures are better.
    pub better: Better,
    /// Sets up our side. Called when the row's turn comes, so that no two rows are in memory at
    /// once.
    pub ours: Box<dyn FnOnce() -> Result<Measure, Error>>,
    /// Request to pytorch.py, or `None` if PyTorch has no counterpart.
    pub pytorch: Option<Value>,
    /// Pairs, unless the command line gives them.
    pub pairs: usize,
    /// Measurements of each side that are discarded first.
    pub warm_ups: usize,
}

impl Case {
    /// Creates a case of 5 pairs after 2 warm-ups, without PyTorch's side.
    pub fn new(
        name: impl Into<String>,
        unit: &'static str,
        better: Better,
        ours: impl FnOnce() -> Result<Measure, Error> + 'static,
    ) -> Self {
        let ours = Box::new(ours);
        Self { name: name.into(), unit, better, ours, pytorch: None, pairs: 5, warm_ups: 2 }
    }

    /// Adds PyTorch's side: the request to pytorch.py.
    #[must_use]
    pub fn against(mut self, request: Value) -> Self {
        self.pytorch = Some(request);
        self
    }

    /// Returns the numbers of warm-ups and of pairs.
    pub fn counts(&self, setup: &Setup) -> (usize, usize) {
        if setup.smallest {
            return (0, 1);
        }
        (self.warm_ups, setup.pairs.unwrap_or(self.pairs))
    }

    /// Measures the row and advances `progress` by one after each pair.
    ///
    /// # Errors
    /// Errors of either side.
    pub fn measure(
        self,
        setup: &Setup,
        python: Option<&Interpreter>,
        progress: &Progress,
    ) -> Result<Row, Error> {
        let (warm_ups, pairs) = self.counts(setup);
        let name = self.name;
        // The progress bar names the row before its first measurement ends.
        progress.advance(0, || name.clone());
        let mut script = match (python, self.pytorch) {
            (Some(python), Some(request)) => Some(Script::start(python, request, setup.threads)?),
            _ => None,
        };
        let mut ours = (self.ours)()?;
        let theirs = script.as_mut().map(|script| || script.measure());
        let pairs = alternate(&mut ours, theirs, warm_ups, pairs, PAUSE, || {
            progress.advance(1, || name.clone());
        })?;
        let note = script.map(|script| script.note().to_owned());
        Ok(Row::new(name, self.unit, self.better, pairs, note))
    }
}

/// Our figure and PyTorch's, measured right after each other.
pub type Pair = (f64, Option<f64>);

/// Measures both sides in turn. Which of them is first changes from pair to pair, so that neither
/// always runs on a machine that the other has warmed up.
fn alternate(
    ours: &mut dyn FnMut() -> Result<f64, Error>,
    mut theirs: Option<impl FnMut() -> Result<f64, Error>>,
    warm_ups: usize,
    pairs: usize,
    pause: Duration,
    on_pair: impl Fn(),
) -> Result<Vec<Pair>, Error> {
    let mut measured = Vec::with_capacity(pairs);
    for pair in 0..warm_ups + pairs {
        let values = match &mut theirs {
            None => (ours()?, None),
            Some(theirs) => {
                let mut value = None;
                if pair % 2 == 1 {
                    value = Some(theirs()?);
                    sleep(pause);
                }
                let our_value = ours()?;
                sleep(pause);
                if pair % 2 == 0 {
                    value = Some(theirs()?);
                    sleep(pause);
                }
                (our_value, value)
            }
        };
        if pair >= warm_ups {
            measured.push(values);
        }
        on_pair();
    }
    Ok(measured)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    #[test]
    fn sides_take_turns_and_warm_ups_do_not_count() {
        let calls = RefCell::new(String::new());
        let side = |name: char| {
            let calls = &calls;
            move || {
                calls.borrow_mut().push(name);
                Ok(calls.borrow().len() as f64)
            }
        };
        let pairs =
            alternate(&mut side('o'), Some(side('p')), 1, 2, Duration::ZERO, || ()).unwrap();
        assert_eq!(*calls.borrow(), "oppoop");
        assert_eq!(pairs, [(4.0, Some(3.0)), (5.0, Some(6.0))]);
    }

    #[test]
    fn ours_alone() {
        let none: Option<fn() -> Result<f64, Error>> = None;
        let pairs = alternate(&mut || Ok(2.0), none, 2, 1, Duration::ZERO, || ()).unwrap();
        assert_eq!(pairs, [(2.0, None)]);
    }

    #[test]
    fn a_failure_ends_the_row() {
        let fail = || Err(Error::Python("gone".to_owned()));
        let error = alternate(&mut || Ok(1.0), Some(fail), 0, 3, Duration::ZERO, || ());
        assert_eq!(error.unwrap_err().to_string(), "gone");
    }
}
