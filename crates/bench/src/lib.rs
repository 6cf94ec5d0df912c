//! Benchmarks of the workspace beside PyTorch on the same machine: speed, memory, and how soon a
//! training begins.
//!
//! Each kind of benchmark has cases. A case is measured in pairs, ours and PyTorch's in turn, and
//! becomes a row of the report. PyTorch's side is `pytorch.py`, one process for each row, so that
//! no row inherits what another left in memory.

mod case;
mod episodes;
mod error;
mod gpu;
mod hardware;
mod images;
mod kernels;
mod kind;
mod loader;
mod memory;
mod networks;
mod python;
mod report;
mod row;
mod run;
mod start;
pub mod training;

pub use error::Error;
pub use memory::Probe;

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};

use fewshot_experiment::{Progress, write_atomically};
use fewshot_programs::go_on_in_release;

use case::Setup;
use hardware::Hardware;
use kind::Kind;
use python::Interpreter;
use report::Report;

/// Features that this package was built with, for cargo.
const FEATURES: &[&str] = if cfg!(feature = "cuda") { &["cuda"] } else { &[] };

/// Command line of `cargo xtask bench`.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  cargo xtask bench                                     ours alone, the usual kinds: a minute or two
  cargo xtask bench --against-pytorch --json bench.json both sides: six minutes on two cores
  cargo xtask bench train features --pairs 9            two kinds, more pairs
  cargo xtask bench kernels scaling --threads 1         convolutions, batches and sizes, on one thread
  cargo xtask bench run --against-pytorch --epochs 2    whole epochs; needs FEWSHOT_DATA
  cargo xtask bench --smallest                          every row once, to see that all works
  cargo xtask --features cuda bench gpu --against-pytorch
                                                        training on an NVIDIA GPU, both sides

Both sides have the same threads, sizes and images, and are measured in turn, after warming
up. `ours` and `PyTorch` are medians, `ratio` is the median of the pairs' ratios: above 1 ours
is better, whether the figure is a speed, a time or a size. PyTorch computes in float32, in the
better of its default and its channels-last format. It needs Python with torch, torchvision,
numpy and pillow. Figures mean nothing on a machine that is busy with something else.

FEWSHOT_DATA names the folder that holds mini-imagenet-84: `loader` then reads its images,
otherwise generated ones; `run` is skipped without it. A release build is measured, whichever
build this is.

Exit status: 0 done, 2 an error.")]
pub struct Bench {
    /// What to measure [default: all but scaling, kernels, gpu and run]
    #[arg(value_enum, value_name = "KIND")]
    kinds: Vec<Kind>,
    /// Measure PyTorch, too, with the python3 or python of the PATH
    #[arg(long)]
    against_pytorch: bool,
    /// Measure PyTorch with this interpreter
    #[arg(long, value_name = "PATH")]
    python: Option<PathBuf>,
    /// Write hardware and rows as JSON; `-` writes them to standard output, and the table to
    /// standard error
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Measurements of each side after warming up [default: 5; 1 for `run`]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000))]
    pairs: Option<u16>,
    /// Threads of each side [default: one per core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
    /// Epochs of each measurement of `run`
    #[arg(long, value_name = "N", default_value_t = 1,
        value_parser = clap::value_parser!(u16).range(1..=1000))]
    epochs: u16,
    /// Measure everything once with the smallest sizes: shows that it works, not how fast it is
    #[arg(long)]
    smallest: bool,
}

/// Measures what `arguments` ask for and returns the text to print: the table, or JSON.
///
/// # Errors
/// A side that fails, a PyTorch that cannot be imported, a file that cannot be written.
pub fn bench(arguments: &Bench) -> Result<String, Error> {
    if cfg!(debug_assertions) && !arguments.smallest {
        go_on_in_release(env!("CARGO_PKG_NAME"), FEATURES).map_err(Error::io("run cargo"))?;
    }
    let python = arguments.interpreter()?;
    let threads = arguments.threads.map_or_else(hardware::cores, usize::from);
    let setup = Setup {
        threads,
        smallest: arguments.smallest,
        pairs: arguments.pairs.map(usize::from),
        epochs: arguments.epochs.into(),
        against_pytorch: python.is_some(),
        data: std::env::var_os("FEWSHOT_DATA").map(PathBuf::from),
    };
    // Checked now rather than after minutes of measuring.
    if let Some(path) = arguments.file() {
        let writable = OpenOptions::new().create(true).append(true).open(path);
        writable.map_err(Error::at("write", path))?;
    }
    start_threads(threads)?;
    let kinds = if arguments.kinds.is_empty() { &Kind::DEFAULT[..] } else { &arguments.kinds };
    let mut cases = Vec::new();
    for kind in kinds {
        cases.extend(kind.cases(&setup)?);
    }
    let total = cases.iter().map(|case| case.counts(&setup)).map(|(warm_ups, n)| warm_ups + n);
    let progress = Progress::new("bench", total.sum(), "pairs");
    let mut report = Report { hardware: Hardware::this(threads, python.as_ref())?, rows: vec![] };
    let json = |report: &Report| {
        let json = report.to_json().map_err(|e| Error::Process(format!("no JSON: {e}")))?;
        Ok::<_, Error>(json + "\n")
    };
    let mut failures = Vec::new();
    for case in cases {
        let name = case.name.clone();
        match case.measure(&setup, python.as_ref(), &progress) {
            Ok(row) => report.rows.push(row),
            Err(error) => failures.push(format!("{name}: {error}")),
        }
        // Written after each row, so that a later failure loses none.
        if let Some(path) = arguments.file() {
            write_atomically(path, json(&report)?.as_bytes())?;
        }
    }
    drop(progress);
    if !failures.is_empty() {
        eprintln!("{}", report.to_table());
        return Err(Error::Process(format!("not measured: {}", failures.join("; "))));
    }
    if arguments.json.is_some() && arguments.file().is_none() {
        eprintln!("{}", report.to_table());
        return Ok(json(&report)?.trim_end().to_owned());
    }
    Ok(report.to_table())
}

impl Bench {
    /// Returns the file to write JSON to, or `None` for standard output.
    fn file(&self) -> Option<&Path> {
        self.json.as_deref().filter(|path| *path != Path::new("-"))
    }

    /// Returns an interpreter with PyTorch, or `None`, with a line that says why, if PyTorch is
    /// not to be measured or there is no Python.
    fn interpreter(&self) -> Result<Option<Interpreter>, Error> {
        let python = if self.against_pytorch || self.python.is_some() {
            Interpreter::find(self.python.as_deref())?
        } else {
            None
        };
        if python.is_none() {
            let why = if self.against_pytorch {
                "there is no python3 or python on the PATH (--python names one)"
            } else {
                "--against-pytorch was not given"
            };
            eprintln!("ours alone: {why}");
        }
        Ok(python)
    }
}

/// Sets up this process as the trainer does, with `threads` threads.
fn start_threads(threads: usize) -> Result<(), Error> {
    fewshot_experiment::start()?;
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build_global();
    pool.map_err(|error| Error::Process(format!("cannot start {threads} threads: {error}")))
}
