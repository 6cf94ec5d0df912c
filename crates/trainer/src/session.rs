//! A training from its first step, or from where it was interrupted, to its last.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use candle_core::Device;
use evaluator::{extract_features, few_shot, head_of};
use fewshot_data::{Dataset, Replica, Split};
use fewshot_experiment::{
    Config, Error, Model, Progress, Provenance, RunFolder, TrainingState, open_optional,
    open_replica_loader, open_split, sampler,
};
use fewshot_losses::{count_correct, cross_entropy};
use fewshot_models::Pass;
use serde_json::{Value, json};

use crate::batches::{Batches, Ready};
use crate::steps::Steps;
use crate::{EventWriter, LearningRate, Optimizer, Parallel, Ranks};

/// The images of an experiment.
pub struct Datasets {
    /// Training images of base classes.
    pub base: Dataset,
    /// Held-out images of base classes, where the source has such.
    pub base_val: Option<Dataset>,
    /// Images of validation classes.
    pub val: Dataset,
    /// Images of novel classes.
    pub novel: Dataset,
}

impl Datasets {
    /// Opens them all and makes sure that they suffice for the episodes to come.
    ///
    /// # Errors
    /// Data that cannot be read; classes or images that do not suffice.
    pub fn open(config: &Config) -> Result<Self, Error> {
        let datasets = Self {
            base: open_split(&config.dataset.base)?,
            base_val: open_optional(&config.split(Split::BaseVal))?,
            val: open_split(&config.dataset.val)?,
            novel: open_split(&config.dataset.novel)?,
        };
        for &shot in &config.test.shots {
            sampler(config, datasets.val.labels(), shot)?;
            sampler(config, datasets.novel.labels(), shot)?;
        }
        sampler(config, datasets.val.labels(), config.val.shot)?;
        Ok(datasets)
    }
}

/// How a training ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All epochs are done.
    Finished,
    /// It was asked to stop, and saved where it was.
    Interrupted,
}

/// A training under way.
pub struct Session<'a> {
    /// The checked configuration.
    pub config: &'a Config,
    /// Its images.
    pub datasets: &'a Datasets,
    /// Where it keeps its files.
    pub run: &'a RunFolder,
    /// What it trains.
    pub model: Model,
    /// How it updates.
    pub optimizer: Optimizer,
    /// How far it has come.
    pub state: TrainingState,
    /// Where it computes.
    pub device: Device,
    /// The processes that train with it.
    pub parallel: Parallel,
    /// When the program began, so that the first step can say how long it was in coming.
    pub started: Instant,
}

impl Session<'_> {
    /// Trains to the end, or until `stop` is raised.
    ///
    /// # Errors
    /// Images that cannot be read, a full disk, a loss that is not finite. The checkpoints
    /// of earlier epochs are then as they were.
    pub fn train(&mut self, stop: &AtomicBool) -> Result<Outcome, Error> {
        let config = self.config;
        let Ranks { rank: index, count, .. } = self.parallel.ranks;
        let base = self.datasets.base.clone();
        let loader =
            open_replica_loader(config, base, true, Replica { rank: index, world_size: count })?;
        let (images_per_epoch, steps_per_epoch) = (loader.len(), loader.batches_per_epoch());
        let rate = LearningRate::new(config, steps_per_epoch);
        let first_step = self.state.epochs * steps_per_epoch + self.state.steps;
        let mut events = EventWriter::create(self.run.path(), first_step)?;
        let mut is_first = true;
        let mut batches = Batches::new(config, loader, &self.device)?;
        let mut steps = Steps::new(config.train.print_freq);

        while self.state.epochs < config.train.epochs {
            let epoch = self.state.epochs;
            let started = Instant::now();
            let seen_before = self.state.seen;
            let title = format!("epoch {}/{}", epoch + 1, config.train.epochs);
            let progress = Progress::new(title, images_per_epoch - seen_before, "images");
            let skipped_before = self.state.skipped;
            for batch in batches.epoch_from(epoch, self.state.steps) {
                let batch = batch?;
                let skipped = batch.skipped;
                let step = epoch * steps_per_epoch + self.state.steps;
                let count = self.step(batch, (step, rate.at(step)), &mut steps)?;
                let mut stops = stop.load(Ordering::Relaxed);
                let is_time = steps.are_due() || is_first;
                if is_time {
                    self.read(&mut steps, &mut events)?;
                }
                if self.parallel.ranks.count > 1 {
                    // All stop at the same step, or those that go on would wait for ever.
                    stops = is_time && self.parallel.any(stops)?;
                }
                self.state.skipped = skipped_before + skipped;
                if std::mem::take(&mut is_first) {
                    let seconds = self.started.elapsed().as_secs_f64();
                    progress.print_line(&format!("first step {seconds:.2} s after the start"));
                }
                progress.advance(count, || self.running());
                if stops {
                    self.read(&mut steps, &mut events)?;
                    events.flush()?;
                    self.save(false)?;
                    return Ok(Outcome::Interrupted);
                }
            }
            self.read(&mut steps, &mut events)?;
            drop(progress);
            let images_per_second =
                (self.state.seen - seen_before) as f64 / started.elapsed().as_secs_f64();
            let steps = (epoch + 1) * steps_per_epoch;
            self.end_epoch(steps, rate.at(steps - 1), images_per_second, &mut events)?;
        }
        Ok(Outcome::Finished)
    }

    /// One update; gives the number of images. A GPU is not waited for.
    fn step(
        &mut self,
        Ready { images, labels, .. }: Ready,
        (step, rate): (usize, f64),
        steps: &mut Steps,
    ) -> Result<usize, Error> {
        let count = labels.elem_count();
        // Each process drops other units.
        let seed = self.config.seed.wrapping_add(self.parallel.ranks.rank as u64);
        let pass = Pass::Train { seed, forward: step as u64 };
        let backbone = &self.model.backbone;
        let shares = self.config.train.sync_batch_norm;
        let features = self.parallel.forward(shares, || backbone.forward(&images, pass))?;
        let scores = self.model.head.training_scores(&features, &labels)?;
        let loss = cross_entropy(&scores, &labels)?;
        let gradients = self.parallel.backward(&loss, self.optimizer.parameters())?;
        self.optimizer.step(&gradients, rate)?;
        steps.add(step, rate, count, loss.detach(), count_correct(&scores, &labels)?);
        self.state.steps += 1;
        Ok(count)
    }

    /// Reads losses and accuracies of the steps since the last time.
    fn read(&mut self, steps: &mut Steps, events: &mut EventWriter) -> Result<(), Error> {
        for step in steps.read()? {
            if !step.loss.is_finite() {
                let rate = self.config.train.learning_rate;
                return Err(Error::Value {
                    key: "train.learning_rate".to_owned(),
                    got: format!("{rate}, and the loss became {}", step.loss),
                    expected: format!(
                        "a rate that training survives (it failed at step {})",
                        step.number
                    ),
                });
            }
            let accuracy = 100.0 * step.correct as f64 / step.count as f64;
            let scalars = [("lr", step.rate), ("loss", step.loss), ("train_acc", accuracy)];
            events.scalars(step.number, &scalars)?;
            self.state.loss_sum += step.loss * step.count as f64;
            self.state.correct += step.correct;
            self.state.seen += step.count;
        }
        Ok(())
    }

    fn loss(&self) -> f64 {
        self.state.loss_sum / self.state.seen.max(1) as f64
    }

    fn accuracy(&self) -> f64 {
        100.0 * self.state.correct as f64 / self.state.seen.max(1) as f64
    }

    fn running(&self) -> String {
        format!("loss {:.4} accuracy {:.2} %", self.loss(), self.accuracy())
    }

    /// Validates if it is time to, logs, and saves.
    fn end_epoch(
        &mut self,
        steps: usize,
        rate: f64,
        images_per_second: f64,
        events: &mut EventWriter,
    ) -> Result<(), Error> {
        let running = self.running();
        let mut metrics = json!({
            "epoch": self.state.epochs + 1,
            "steps": steps,
            "learning_rate": rate,
            "loss": self.loss(),
            "train_accuracy": self.accuracy(),
            "skipped": self.state.skipped,
            "run": Provenance::of(self.config),
        });
        let (skipped, seen) = (self.state.skipped, self.state.seen);
        self.state = TrainingState {
            epochs: self.state.epochs + 1,
            best_accuracy: self.state.best_accuracy,
            best_epochs: self.state.best_epochs,
            ..TrainingState::default()
        };
        let epochs = self.state.epochs;
        let mut line = format!(
            "epoch {epochs}/{}: {running}, {images_per_second:.0} images/s, {} left",
            self.config.train.epochs,
            duration((self.config.train.epochs - epochs) as f64 * seen as f64 / images_per_second)
        );
        let mut is_best = false;
        if self.is_validation_due() {
            let (mean, validation) = self.validate()?;
            is_best = self.state.best_accuracy.is_none_or(|best| mean > best);
            if is_best {
                self.state.best_accuracy = Some(mean);
                self.state.best_epochs = epochs;
            }
            events.scalars(steps, &[("val_acc", mean)])?;
            line += &format!(", validation {mean:.2} %{}", if is_best { " (best)" } else { "" });
            metrics["val"] = validation;
        }
        if skipped > 0 {
            line += &format!(", {skipped} broken images skipped");
        }
        if self.parallel.ranks.is_first() {
            println!("{line}");
        }
        events.flush()?;
        // Before the checkpoint: should a kill come between, the epoch is done again and its
        // line replaced.
        self.run.append_metrics(&metrics)?;
        self.save(is_best)
    }

    fn is_validation_due(&self) -> bool {
        let freq = self.config.val.freq;
        let is_last = self.state.epochs == self.config.train.epochs;
        is_last || (freq > 0 && self.state.epochs.is_multiple_of(freq))
    }

    /// Mean accuracy in percent on validation classes, and what the log keeps of it.
    fn validate(&self) -> Result<(f64, Value), Error> {
        let (config, val) = (self.config, &self.config.val);
        let bank = extract_features(config, &self.model, &self.datasets.val, &self.device)?;
        let accuracy =
            few_shot(config, &bank, &head_of(config), val.shot, val.episodes, &self.device)?;
        let (mean, ci95) = (100.0 * accuracy.mean, 100.0 * accuracy.ci95);
        let value = json!({
            "shot": val.shot,
            "head": config.test.head,
            "mean": mean,
            "ci95": ci95,
            "episodes": val.episodes,
        });
        Ok((mean, value))
    }

    fn save(&self, is_best: bool) -> Result<(), Error> {
        let optimizer = self.optimizer.tensors()?;
        self.run.save(self.config, &self.state, &self.model, &optimizer, is_best)
    }
}

/// `2 h 5 min`, `3 min`, `40 s`.
fn duration(seconds: f64) -> String {
    let minutes = (seconds / 60.0).round() as u64;
    match minutes {
        0..2 => format!("{seconds:.0} s"),
        2..60 => format!("{minutes} min"),
        _ => format!("{} h {} min", minutes / 60, minutes % 60),
    }
}
