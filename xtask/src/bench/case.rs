//! A row before it is measured, and the measuring: ours and PyTorch's in turn.

use std::path::PathBuf;
use std::thread::sleep;
use std::time::Duration;

use fewshot_experiment::Progress;
use serde_json::Value;

use super::Error;
use super::python::{Interpreter, Script};
use super::row::{Better, Row};

/// Between the sides, so that the threads of one no longer spin when the other begins.
const PAUSE: Duration = Duration::from_millis(300);

/// What holds for all rows.
pub struct Setup {
    /// Threads of either side.
    pub threads: usize,
    /// Everything once and as small as it goes.
    pub smallest: bool,
    /// Pairs of each row, where the command line says.
    pub pairs: Option<usize>,
    /// Epochs of a run.
    pub epochs: usize,
    /// Whether PyTorch is measured, too.
    pub against_pytorch: bool,
    /// Where datasets lie.
    pub data: Option<PathBuf>,
}

/// One measurement of ours, in the row's unit.
pub type Measure = Box<dyn FnMut() -> Result<f64, Error>>;

/// A row before it is measured.
pub struct Case {
    /// What is measured, with its sizes.
    pub name: String,
    /// `images/s`, `MB`, …
    pub unit: &'static str,
    /// Which way is better.
    pub better: Better,
    /// Makes what measures our side. Late, so that no two rows are in memory at once.
    pub ours: Box<dyn FnOnce() -> Result<Measure, Error>>,
    /// What pytorch.py is asked for; nothing where PyTorch has no such thing.
    pub pytorch: Option<Value>,
    /// Pairs where the command line does not say.
    pub pairs: usize,
    /// Measurements of either side before those that count.
    pub warm_ups: usize,
}

impl Case {
    /// A case of 5 pairs after 2 warm-ups.
    pub fn new(
        name: impl Into<String>,
        unit: &'static str,
        better: Better,
        ours: impl FnOnce() -> Result<Measure, Error> + 'static,
    ) -> Self {
        let ours = Box::new(ours);
        Self { name: name.into(), unit, better, ours, pytorch: None, pairs: 5, warm_ups: 2 }
    }

    /// The same with PyTorch's side.
    #[must_use]
    pub fn against(mut self, request: Value) -> Self {
        self.pytorch = Some(request);
        self
    }

    /// How often either side is measured before it counts, and how often then.
    pub fn counts(&self, setup: &Setup) -> (usize, usize) {
        if setup.smallest {
            return (0, 1);
        }
        (self.warm_ups, setup.pairs.unwrap_or(self.pairs))
    }

    /// Measures the row, and has `progress` count its pairs.
    ///
    /// # Errors
    /// Those of either side.
    pub fn measure(
        self,
        setup: &Setup,
        python: Option<&Interpreter>,
        progress: &Progress,
    ) -> Result<Row, Error> {
        let (warm_ups, pairs) = self.counts(setup);
        let name = self.name;
        // The bar names the row as soon as it begins.
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

/// Ours and PyTorch's of one pair.
pub type Pair = (f64, Option<f64>);

/// Measures both sides in turn and in turning order, so that neither always has the machine
/// that the other has warmed.
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
