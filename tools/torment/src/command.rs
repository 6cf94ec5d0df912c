//! The command line.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Parser;
use fewshot_torment::{Kind, Options, Programs, run};

#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version)]
enum Arguments {
    /// Tests by random faults: kills, interrupts and starves training runs, and feeds trainer and
    /// evaluator damaged files
    Torment(Torment),
}

#[derive(clap::Args)]
#[command(after_help = "Kinds of trials, and what has to be true afterwards:
  kill    SIGKILL at random moments, then --resume: metrics, results and checkpoints are to the bit those
          of a run that nothing disturbed
  signal  SIGINT, SIGTERM or SIGHUP at a random moment: exit 130, or nothing where it was ignored; resumed,
          the run is the undisturbed one
  disk    no room for files from a random moment on (Linux): exit 2 and the file's name; the last
          checkpoint loads, and the run can be resumed
  output  what is printed goes to a full disk or a closed pipe: the run goes on
  two     a second trainer in the same run folder: refused, or after the first
  files   damaged checkpoints, images, archives, lists, configurations, logs and locks: read, or exit 2 and
          the file's name

None may end in a panic, a signal, or not at all. Files are drawn in a temporary folder; no data are needed.
Trials are repeated by the same --seed, but for the moment at which signals arrive.

Examples:
  cargo xtask torment --minutes 60
  cargo xtask torment --seed 7 --only files --first 1234 --minutes 0    one trial again

Exit status: 0 all trials went well, 1 some failed, 2 nothing could be tried.")]
struct Torment {
    /// For how long trials are begun; at least one of each kind is
    #[arg(long, default_value_t = 1.0)]
    minutes: f64,
    /// Seed of all trials [default: the time]
    #[arg(long)]
    seed: Option<u64>,
    /// Try this kind only
    #[arg(long, value_enum)]
    only: Option<Kind>,
    /// Number of the first trial of each kind
    #[arg(long, default_value_t = 0)]
    first: u64,
    /// Folder for the files of trials that fail
    #[arg(long, value_name = "DIR", default_value = "torment-failures")]
    keep: PathBuf,
    /// Folder of trainer and evaluator, instead of building them
    #[arg(long, value_name = "DIR")]
    programs: Option<PathBuf>,
}

/// Runs the command line.
pub fn main() -> ExitCode {
    let Arguments::Torment(arguments) = Arguments::parse();
    match arguments.run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::from(2)
        }
    }
}

impl Torment {
    /// Returns whether all trials went well.
    fn run(self) -> Result<bool, String> {
        let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let time = Duration::try_from_secs_f64(60.0 * self.minutes);
        let options = Options {
            seed: self.seed.unwrap_or_else(now),
            time: time.map_err(|e| format!("--minutes {}: {e}", self.minutes))?,
            only: self.only,
            first: self.first,
            keep: self.keep,
        };
        println!("seed {}", options.seed);
        let programs = match &self.programs {
            Some(folder) => Programs::of_folder(folder)?,
            None => Programs::build()?,
        };
        let report = run(&options, &programs, |line| println!("{line}"))?;
        println!("\n{}", report.table());
        println!("{}", serde_json::to_string(&report).map_err(|e| e.to_string())?);
        Ok(report.failures.is_empty())
    }
}
