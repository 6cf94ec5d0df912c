//! A training: started or resumed, run to its end, and reported.

mod datasets;
mod steps;
mod training;

use std::path::{Path, PathBuf};
use std::time::Instant;

use candle_core::Device;
use fewshot_experiment::{
    Checkpoint, Config, Error, Model, Progress, Provenance, RunFolder, TrainingState, device,
    write_atomically,
};
use tempfile::TempDir;

pub use self::datasets::Datasets;
use crate::{FinalReport, ModelReport, Optimizer, Parallel, ProcessGroup};

/// How a training ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All epochs are done.
    Finished,
    /// It was asked to stop, and saved a checkpoint first.
    Interrupted,
}

/// A training with all that it takes: data, model, optimizer, run folder.
pub struct Session {
    config: Config,
    datasets: Datasets,
    run: RunFolder,
    moved_run: Option<PathBuf>,
    model: Model,
    optimizer: Optimizer,
    /// How far the training has come.
    state: TrainingState,
    device: Device,
    parallel: Parallel,
    /// When the session was opened, to say how long the first step was in coming.
    opened: Instant,
    /// The run folder of a process other than the first, which keeps no files.
    _scratch: Option<TempDir>,
}

impl Session {
    /// Starts a training that keeps its files in `run_folder`. An earlier run that lies there
    /// is moved aside ([`moved_run`](Self::moved_run)).
    ///
    /// `group` says which of several processes this is: the default is a process of its own.
    /// Only the first process prints and writes to the run folder.
    ///
    /// # Errors
    /// Whatever is wrong with the settings or the data; a run folder that cannot be written to.
    pub fn start(config: Config, run_folder: &Path, group: ProcessGroup) -> Result<Self, Error> {
        Self::open(config, run_folder, None, group)
    }

    /// Continues a training from a checkpoint. If the checkpoint lies in `run_folder`, that run
    /// goes on; otherwise a new one starts there, as by [`start`](Self::start).
    ///
    /// # Errors
    /// Those of [`start`](Self::start); a checkpoint that cannot be read, is of another network
    /// or optimizer, or has lost its optimizer's state.
    pub fn resume(
        config: Config,
        run_folder: &Path,
        checkpoint: &Path,
        group: ProcessGroup,
    ) -> Result<Self, Error> {
        Self::open(config, run_folder, Some(checkpoint), group)
    }

    fn open(
        mut config: Config,
        run_folder: &Path,
        checkpoint: Option<&Path>,
        group: ProcessGroup,
    ) -> Result<Self, Error> {
        let opened = Instant::now();
        group.configure(&mut config)?;
        let device = device(&config)?;
        let datasets = Datasets::open(&config)?;
        // Whatever is wrong with settings or checkpoint is found before anything is written.
        let model = Model::new(&config, datasets.base.class_count(), &device)?;
        let train = &config.train;
        let parameters = model.parameters.trainable();
        let mut optimizer = Optimizer::new(train.optimizer, train.weight_decay, parameters)?;
        let mut state = match checkpoint {
            None => TrainingState::default(),
            Some(path) => load(path, &config, &model, &mut optimizer)?,
        };

        let is_first = group.is_first();
        if !is_first {
            Progress::silence();
        }
        let scratch = (!is_first).then(tempfile::tempdir).transpose();
        let scratch = scratch.map_err(Error::io("create a folder in", &std::env::temp_dir()))?;
        let continues = is_first && checkpoint.and_then(Path::parent) == Some(run_folder);
        let (run, moved_run) = if continues {
            (RunFolder::open(run_folder)?, None)
        } else {
            // The best checkpoint of another run stays with that run.
            (state.best_accuracy, state.best_epochs) = (None, 0);
            match &scratch {
                None => RunFolder::create(run_folder)?,
                Some(scratch) => RunFolder::create(&scratch.path().join("run"))?,
            }
        };
        run.truncate_metrics(state.epochs)?;
        write_atomically(&run.file("config.toml"), config.to_toml().as_bytes())?;
        Ok(Self {
            config,
            datasets,
            run,
            moved_run,
            model,
            optimizer,
            state,
            device,
            parallel: Parallel::new(group),
            opened,
            _scratch: scratch,
        })
    }

    /// The configuration, as adjusted to this process of its group.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The images.
    pub fn datasets(&self) -> &Datasets {
        &self.datasets
    }

    /// The run folder.
    pub fn run_folder(&self) -> &RunFolder {
        &self.run
    }

    /// Where the run went that was in the run folder before, if there was one.
    pub fn moved_run(&self) -> Option<&Path> {
        self.moved_run.as_deref()
    }

    /// The network and its classifier as trained so far.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// Number of epochs that are complete.
    pub fn epochs(&self) -> usize {
        self.state.epochs
    }

    /// Whether this is the process that prints, logs and saves.
    pub fn is_first(&self) -> bool {
        self.parallel.group.is_first()
    }

    /// Evaluates the last and the best checkpoint of a finished training.
    ///
    /// # Errors
    /// Images or checkpoints that cannot be read.
    pub fn report(&self) -> Result<FinalReport, Error> {
        let Self { config, datasets, run, state, device, .. } = self;
        let last = ModelReport::of(config, &self.model, datasets, state.epochs, device)?;
        let best = if [0, state.epochs].contains(&state.best_epochs) {
            last.clone()
        } else {
            let path = run.file("best.safetensors");
            let checkpoint = Checkpoint::read(&path)?;
            let model = checkpoint.model(&path, config, device)?;
            ModelReport::of(config, &model, datasets, checkpoint.state.epochs, device)?
        };
        let pixels =
            config.test.pixel_baseline.then(|| FinalReport::pixel_baseline(config, datasets));
        Ok(FinalReport {
            run: Provenance::of(config),
            test_seed: config.test.seed,
            last,
            best,
            pixels: pixels.transpose()?,
        })
    }

    /// Writes a report to `report.md` and `results.json` of the run folder.
    ///
    /// # Errors
    /// [`Error::Io`], as on a full disk.
    pub fn save_report(&self, report: &FinalReport) -> Result<(), Error> {
        let table = report.to_markdown(&self.config);
        write_atomically(&self.run.file("report.md"), table.as_bytes())?;
        let json = serde_json::to_string_pretty(report).map_err(Error::json("results"))?;
        write_atomically(&self.run.file("results.json"), json.as_bytes())
    }

    /// Writes the last checkpoint, and the best one if this is it.
    fn save(&self, is_best: bool) -> Result<(), Error> {
        let optimizer = self.optimizer.tensors()?;
        self.run.save(&self.config, &self.state, &self.model, &optimizer, is_best)
    }
}

/// Loads a checkpoint and its optimizer's state; returns how far its training had come.
fn load(
    path: &Path,
    config: &Config,
    model: &Model,
    optimizer: &mut Optimizer,
) -> Result<TrainingState, Error> {
    let checkpoint = Checkpoint::read(path)?;
    let loaded = model.parameters.load(&checkpoint.tensors);
    loaded.map_err(|e| {
        let network = format!("{} with {}", config.method.backbone, config.method.classifier);
        Error::checkpoint(path, format!("does not hold a {network}: {}", Error::from(e)))
    })?;
    optimizer.load(&RunFolder::optimizer(path, &checkpoint.state)?)?;
    Ok(checkpoint.state)
}
