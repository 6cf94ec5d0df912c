//! Trains a few-shot backbone with a margin classifier, and reports what it reaches.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use candle_core::Device;
use clap::Parser;
use fewshot_experiment::{
    Checkpoint, Config, Error, Model, Progress, Provenance, RawConfig, RunFolder, TrainingState,
    device, start, write_atomically,
};
use trainer::{Datasets, FinalReport, ModelReport, Optimizer, Outcome, Parallel, Ranks, Session};

/// What is trained without --config: no file and no download is needed for it.
const QUICKSTART: &str = include_str!("../../../configs/quickstart.toml");
/// Exit status of an interrupted training, as shells count it.
const INTERRUPTED: u8 = 130;

/// Trains a backbone on base classes with a margin classifier, then classifies novel classes
/// from a few images each.
///
/// Without --config it trains the quickstart: a Conv4 on procedurally drawn glyphs, in under
/// three minutes on two cores.
#[derive(Parser)]
#[command(
    version,
    after_help = "Any setting of the configuration can be given as key=value:
  trainer --config configs/cpu/mini-imagenet-conv4.toml method.margin=0 seed=1
  trainer --config configs/cub/neg-cosine-5shot.toml dataset.root=/data/CUB_200_2011.tgz
  trainer --resume last            go on with an interrupted quickstart
  trainer --print-config           all settings there are, with their values

The run folder holds config.toml, last and best.safetensors, metrics.jsonl (a line an epoch),
TensorBoard events, results.json and report.md. Relative dataset roots are also looked up under
the folder that FEWSHOT_DATA names. FEWSHOT_INSTRUCTION_SET (portable, avx2, avx512) chooses a lesser
one than the machine's, to repeat bit for bit what another machine computed.

Built with --features cuda it computes on an NVIDIA GPU: device=cuda:0 precision=bf16 (or tf32,
f32). Built with --features nccl, several processes train one model, each on a GPU of its own:
  torchrun --no-python --nproc-per-node 4 trainer --config FILE device=cuda:0
  srun --ntasks 4 --gpus-per-task 1 trainer --config FILE device=cuda:0
train.batch_size is of all of them together; the first prints, logs and saves, and its loss and
accuracy are of its own images.

Exit status: 0 done, 2 anything that was wrong, 130 interrupted (after saving)."
)]
struct Arguments {
    /// A configuration (TOML) [default: the built-in quickstart]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Put behind the configuration's name in the run folder's
    #[arg(long, value_name = "SUPPLEMENT")]
    name: Option<String>,
    /// The run folder [default: checkpoints/DATASET/CONFIG[_SUPPLEMENT]]
    #[arg(long, value_name = "DIR")]
    run_dir: Option<PathBuf>,
    /// Go on from this run's last or best checkpoint, or from any other's path
    #[arg(long, value_name = "last|best|PATH")]
    resume: Option<String>,
    /// Print every setting with its effective value, as TOML, and exit
    #[arg(long)]
    print_config: bool,
    /// Settings that override the configuration's
    #[arg(value_name = "KEY=VALUE")]
    settings: Vec<String>,
}

impl Arguments {
    /// The configuration: the file's, or for a resumed run its own, or the quickstart.
    fn raw_config(&self) -> Result<RawConfig, Error> {
        let mut raw = match (&self.config, &self.run_dir, &self.resume) {
            (Some(path), _, _) => RawConfig::from_file(path)?,
            (None, Some(folder), Some(_)) if folder.join("config.toml").exists() => {
                RawConfig::from_file(&folder.join("config.toml"))?
            }
            _ => RawConfig::from_toml(QUICKSTART)?,
        };
        self.settings.iter().try_for_each(|setting| raw.set(setting))?;
        Ok(raw)
    }

    fn run_folder(&self, config: &Config) -> PathBuf {
        if let Some(folder) = &self.run_dir {
            return folder.clone();
        }
        let stem = self.config.as_deref().and_then(Path::file_stem);
        let mut name = stem.map_or("quickstart".into(), |s| s.to_string_lossy().into_owned());
        if let Some(supplement) = &self.name {
            name = format!("{name}_{supplement}");
        }
        Path::new("checkpoints").join(&config.dataset.name).join(name)
    }
}

fn main() -> ExitCode {
    let started = Instant::now();
    match run(&Arguments::parse(), started) {
        Ok(Outcome::Finished) => ExitCode::SUCCESS,
        Ok(Outcome::Interrupted) => ExitCode::from(INTERRUPTED),
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}

fn run(arguments: &Arguments, started: Instant) -> Result<Outcome, Error> {
    start()?;
    let mut config = arguments.raw_config()?.check()?;
    if arguments.print_config {
        print!("{}", config.to_toml());
        return Ok(Outcome::Finished);
    }
    let ranks = Ranks::from_environment(|name| std::env::var(name).ok()).map_err(Error::Syntax)?;
    Parallel::configure(&ranks, &mut config)?;
    let is_first = ranks.is_first();
    let device = device(&config)?;
    let datasets = Datasets::open(&config)?;
    // Whatever is wrong with the settings or the checkpoint is found before anything is written.
    let folder = arguments.run_folder(&config);
    let model = Model::new(&config, datasets.base.class_count(), &device)?;
    let train = &config.train;
    let parameters = model.parameters.trainable();
    let mut optimizer = Optimizer::new(train.optimizer, train.weight_decay, parameters)?;
    let mut state = TrainingState::default();
    // Only the first of several processes keeps anything.
    let elsewhere = (!is_first).then(tempfile::tempdir).transpose();
    let elsewhere = elsewhere.map_err(|e| Error::Syntax(format!("no temporary folder: {e}")))?;
    if !is_first {
        Progress::silence();
    }
    let start_run = |folder: &Path| match &elsewhere {
        None => start_run(folder),
        Some(elsewhere) => Ok(RunFolder::create(&elsewhere.path().join("run"))?.0),
    };
    let run = match &arguments.resume {
        None => start_run(&folder)?,
        Some(resume) => {
            let from = resume_path(&folder, resume);
            state = load(&from, &config, &model, &mut optimizer)?;
            let run = if from.parent() == Some(&folder) && is_first {
                RunFolder::open(&folder)?
            } else {
                // The best of another run stays with it.
                (state.best_accuracy, state.best_epochs) = (None, 0);
                start_run(&folder)?
            };
            run.truncate_metrics(state.epochs)?;
            if is_first {
                println!("resuming {} after epoch {}", from.display(), state.epochs);
            }
            run
        }
    };
    write_atomically(&run.file("config.toml"), config.to_toml().as_bytes())?;
    if is_first {
        println!("{}", summary(&config, &datasets, run.path()));
    }
    let parallel = Parallel::meet(ranks, &device)?;

    let mut session = Session {
        config: &config,
        datasets: &datasets,
        run: &run,
        model,
        optimizer,
        state,
        device: device.clone(),
        parallel,
        started,
    };
    let stop = stop_signal()?;
    if session.train(&stop)? == Outcome::Interrupted {
        if is_first {
            println!("\ninterrupted and saved; to go on:\n  {}", resume_command(arguments));
        }
        return Ok(Outcome::Interrupted);
    }
    let Session { model, state, .. } = session;
    if !is_first {
        return Ok(Outcome::Finished);
    }
    report(&config, &datasets, &run, &model, &state, &device)?;
    Ok(Outcome::Finished)
}

fn start_run(folder: &Path) -> Result<RunFolder, Error> {
    let (run, moved) = RunFolder::create(folder)?;
    if let Some(moved) = moved {
        println!("moved the run that was in {} to {}", folder.display(), moved.display());
    }
    Ok(run)
}

/// `last` and `best` of the run folder, or any path.
fn resume_path(folder: &Path, resume: &str) -> PathBuf {
    match resume {
        "last" | "best" => folder.join(format!("{resume}.safetensors")),
        path => PathBuf::from(path),
    }
}

/// Loads a checkpoint and its optimizer; gives how far it had come.
fn load(
    path: &Path,
    config: &Config,
    model: &Model,
    optimizer: &mut Optimizer,
) -> Result<TrainingState, Error> {
    let checkpoint = Checkpoint::read(path)?;
    let fits = model.parameters.load(&checkpoint.tensors);
    fits.map_err(|e| {
        let network = format!("{} with {}", config.method.backbone, config.method.classifier);
        Error::checkpoint(path, format!("does not hold a {network}: {}", Error::from(e)))
    })?;
    optimizer.load(&RunFolder::optimizer(path, &checkpoint.state)?)?;
    Ok(checkpoint.state)
}

/// A flag that Ctrl-C raises; a second one ends the process at once.
fn stop_signal() -> Result<Arc<AtomicBool>, Error> {
    let stop = Arc::new(AtomicBool::new(false));
    let raised = Arc::clone(&stop);
    let handler = move || {
        if raised.swap(true, Ordering::Relaxed) {
            std::process::exit(INTERRUPTED.into());
        }
        eprintln!("\nstopping after this step; once more to stop at once");
    };
    ctrlc::set_handler(handler).map_err(|e| Error::Syntax(format!("no signal handler: {e}")))?;
    Ok(stop)
}

/// The command that goes on with an interrupted run.
fn resume_command(arguments: &Arguments) -> String {
    let mut command = "trainer --resume last".to_owned();
    if let Some(config) = &arguments.config {
        command += &format!(" --config {}", config.display());
    }
    if let Some(name) = &arguments.name {
        command += &format!(" --name {name}");
    }
    if let Some(folder) = &arguments.run_dir {
        command += &format!(" --run-dir {}", folder.display());
    }
    arguments.settings.iter().for_each(|setting| command += &format!(" {setting}"));
    command
}

fn summary(config: &Config, datasets: &Datasets, folder: &Path) -> String {
    let (method, train) = (&config.method, &config.train);
    let size =
        |d: &fewshot_data::Dataset| format!("{} images of {} classes", d.len(), d.class_count());
    format!(
        "{} at {} px with {} (scale {}, margin {})\n\
         base {}, val {}, novel {}\n\
         {} epochs, batches of {}, learning rate {}, seed {}\n\
         run folder {}",
        method.backbone,
        method.image_size,
        method.classifier,
        method.scale,
        method.margin,
        size(&datasets.base),
        size(&datasets.val),
        size(&datasets.novel),
        train.epochs,
        train.batch_size,
        train.learning_rate,
        config.seed,
        folder.display()
    )
}

/// Evaluates the last and the best checkpoint; prints and keeps the report.
fn report(
    config: &Config,
    datasets: &Datasets,
    run: &RunFolder,
    model: &Model,
    state: &TrainingState,
    device: &Device,
) -> Result<(), Error> {
    println!(
        "\nevaluating: {}-way, {} queries, {} episodes, {} head",
        config.test.way, config.test.query, config.test.episodes, config.test.head
    );
    let last = ModelReport::of(config, model, datasets, state.epochs, device)?;
    let best = if [0, state.epochs].contains(&state.best_epochs) {
        last.clone()
    } else {
        let path = run.file("best.safetensors");
        let checkpoint = Checkpoint::read(&path)?;
        let model = checkpoint.model(&path, config, device)?;
        ModelReport::of(config, &model, datasets, checkpoint.state.epochs, device)?
    };
    let pixels = config.test.pixel_baseline.then(|| FinalReport::pixel_baseline(config, datasets));
    let report = FinalReport {
        run: Provenance::of(config),
        test_seed: config.test.seed,
        last,
        best,
        pixels: pixels.transpose()?,
    };
    let table = report.to_markdown(config);
    println!("\n{table}");
    write_atomically(&run.file("report.md"), table.as_bytes())?;
    let json = serde_json::to_string_pretty(&report)
        .map_err(|e| Error::Syntax(format!("results: {e}")))?;
    write_atomically(&run.file("results.json"), json.as_bytes())
}
