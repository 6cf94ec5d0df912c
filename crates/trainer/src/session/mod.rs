//! A training: started or resumed, run to its end, and reported.

mod checks;
mod datasets;
mod steps;
mod training;

use std::path::Path;
use std::time::Instant;

use candle_core::Device;
use fewshot_experiment::{
    Change, Checkpoint, Config, Error, FeatureMean, Model, Provenance, RunClaim, RunFolder,
    TrainingState, device, write_atomically,
};
use fewshot_progress::say;
use tempfile::TempDir;

use self::checks::{Loaded, load, smallest_batch};
pub use self::datasets::Datasets;
use crate::average::Average;
use crate::objective::Objective;
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
    model: Model,
    objective: Objective,
    optimizer: Optimizer,
    /// The weights' average over steps, if there is one.
    average: Option<Average>,
    /// How far the training has come.
    state: TrainingState,
    device: Device,
    parallel: Parallel,
    /// Number of images that the network can be trained on at once, at least.
    smallest_batch: usize,
    /// When the session was opened, to say how long the first step was in coming.
    opened: Instant,
    /// The run folder of a process other than the first, which keeps no files.
    _scratch: Option<TempDir>,
}

impl Session {
    /// Starts a training that keeps its files in `run_folder`. An earlier run that lies there
    /// is moved aside, which is printed before, but its best checkpoint stays until this run has one.
    ///
    /// `group` says which of several processes this is: the default is a process of its own.
    /// Only the first process prints and writes to the run folder.
    ///
    /// # Errors
    /// Whatever is wrong with the settings or the data; a run folder that cannot be written to, in
    /// which another trainer is at work, or which holds something other than a run.
    pub fn start(config: Config, run_folder: &Path, group: ProcessGroup) -> Result<Self, Error> {
        Self::open(config, run_folder, None, group)
    }

    /// Continues a training from a checkpoint. If the checkpoint lies in `run_folder`, that run
    /// goes on; otherwise a new one starts there, as by [`start`](Self::start).
    ///
    /// # Errors
    /// Those of [`start`](Self::start); a checkpoint that cannot be read, is of another network
    /// or optimizer, or has lost its optimizer's state; one within an epoch, if its batches or its
    /// images were others.
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
        let is_first = group.is_first();
        if !is_first {
            fewshot_progress::silence();
        }
        let scratch = (!is_first).then(tempfile::tempdir).transpose();
        let scratch = scratch.map_err(Error::io("create a folder in", &std::env::temp_dir()))?;
        let run_folder =
            scratch.as_ref().map_or_else(|| run_folder.to_owned(), |s| s.path().join("run"));
        // Whatever is wrong is found before anything is written, first of all another trainer.
        let claim = RunClaim::new(&run_folder)?;
        let device = device(&config)?;
        let datasets = Datasets::open(&config)?;
        let smallest_batch = smallest_batch(&config, datasets.base.len(), &group, &device)?;
        let model = Model::new(&config, datasets.base.class_count(), &device)?;
        let train = &config.train;
        let objective = Objective::new(&config, &model, &device)?;
        let mut parameters = model.parameters.trainable();
        parameters.extend(objective.parameters());
        let mut optimizer = Optimizer::new(train.optimizer, train.weight_decay, parameters)?;
        let images = datasets.base.len();
        let resumed = checkpoint.map(|path| load(path, &config, images, &model, &mut optimizer));
        let Loaded { mut state, changes, beside } = resumed.transpose()?.unwrap_or_default();
        let average = Average::new(&config, &model, &device)?;
        if let Some(path) = checkpoint {
            let loaded = objective.load(&beside);
            let loaded = loaded.and_then(|()| average.iter().try_for_each(|a| a.load(&beside)));
            loaded.map_err(|e| {
                let reason = Error::from(e);
                Error::checkpoint(
                    path,
                    format!("its training cannot go on by these settings: {reason}"),
                )
            })?;
        }

        let continues = checkpoint.is_some_and(|path| claim.contains(path));
        let run = if continues {
            claim.resume()?
        } else {
            // The best checkpoint of another run stays with that run.
            (state.best_accuracy, state.best_epochs) = (None, 0);
            if let Some(aside) = claim.moves_to()? {
                let (from, to) = (run_folder.display(), aside.display());
                say(format_args!("moving the run that is in {from} to {to}"));
            }
            claim.start()?
        };
        run.truncate_metrics(state.epochs)?;
        write_atomically(&run.file("config.toml"), config.to_toml().as_bytes())?;
        let mut session = Self {
            config,
            datasets,
            run,
            model,
            objective,
            optimizer,
            average,
            state,
            device,
            parallel: Parallel::new(group),
            smallest_batch,
            opened,
            _scratch: scratch,
        };
        if session.state.best_epochs > 0 && changes.iter().any(Change::concerns_validation) {
            session.measure_best_again()?;
        }
        Ok(session)
    }

    /// Validates the best checkpoint so far under the present settings, so that those to come are
    /// compared with it by the same measure.
    fn measure_best_again(&mut self) -> Result<(), Error> {
        let path = self.run.file("best.safetensors");
        let best = Checkpoint::read(&path)?.model(&path, &self.config, &self.device)?;
        self.state.best_accuracy = Some(self.validate(&best)?.0);
        Ok(())
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
        let (last, mean) = ModelReport::of(config, &self.model, datasets, state.epochs, device)?;
        let is_last = [0, state.epochs].contains(&state.best_epochs);
        let best = if is_last {
            last.clone()
        } else {
            let path = run.file("best.safetensors");
            let checkpoint = Checkpoint::read(&path)?;
            let model = checkpoint.model(&path, config, device)?;
            let epochs = checkpoint.state.epochs;
            let (best, mean) = ModelReport::of(config, &model, datasets, epochs, device)?;
            self.keep_mean("best.safetensors", &checkpoint.state, &model, mean)?;
            best
        };
        if is_last && state.best_epochs > 0 {
            self.keep_mean("best.safetensors", state, &self.model, mean.clone())?;
        }
        self.keep_mean("last.safetensors", state, &self.model, mean)?;
        let average = self.average.as_ref().map(|average| -> Result<_, Error> {
            let model = average.model();
            let (report, mean) = ModelReport::of(config, model, datasets, state.epochs, device)?;
            self.keep_mean("ema.safetensors", state, model, mean)?;
            Ok(report)
        });
        let pixels =
            config.test.pixel_baseline.then(|| FinalReport::pixel_baseline(config, datasets));
        let mut warnings = datasets.shared(config);
        warnings.extend(datasets.many_skipped(config, &last.skipped));
        Ok(FinalReport {
            run: Provenance::of(config),
            test_seed: config.test.seed,
            last,
            best,
            average: average.transpose()?,
            warnings,
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
        let mut beside = self.optimizer.tensors()?;
        let objective = self.objective.parameters().into_iter();
        beside.extend(objective.map(|(name, value)| (name, value.as_detached_tensor())));
        beside.extend(self.average.iter().flat_map(Average::tensors));
        if let Some(average) = &self.average {
            self.run.save_average(&self.config, &self.state, average.model())?;
        }
        self.run.save(&self.config, &self.state, &self.model, &beside, is_best)
    }

    /// Writes the mean feature of base images into the checkpoint of a report.
    fn keep_mean(
        &self,
        name: &str,
        state: &TrainingState,
        model: &Model,
        mean: Option<Vec<f32>>,
    ) -> Result<(), Error> {
        let Some(values) = mean else { return Ok(()) };
        let mean = FeatureMean { power: self.config.test.power, values };
        let path = self.run.file(name);
        Checkpoint::write_with(&path, &self.config.to_toml(), state, model, Some(mean))
    }
}
