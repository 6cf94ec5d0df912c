//! The training loop.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use candle_core::{DType, Tensor};
use evaluator::{extract_features, few_shot};
use fewshot_data::Replica;
use fewshot_experiment::{
    DeviceBatch, Error, Model, Progress, Provenance, TrainingState, open_replica_loader,
};
use fewshot_losses::{count_correct, cross_entropy};
use fewshot_models::Pass;
use fewshot_progress::{counted, duration, say};
use serde_json::{Value, json};

use super::steps::{Score, UnreadSteps};
use super::{Outcome, Session};
use crate::batches::{Batches, NextBatch};
use crate::objective::Evaluated;
use crate::{EventWriter, LearningRate, ProcessGroup};

impl Session {
    /// Trains to the end, or until `stop` is raised. With several processes it first waits for
    /// the others.
    ///
    /// # Errors
    /// Images that cannot be read, a full disk, a loss that is not finite, processes that do not
    /// come. The checkpoints of earlier epochs are then as they were.
    pub fn train(&mut self, stop: &AtomicBool) -> Result<Outcome, Error> {
        self.parallel.connect(&self.device)?;
        let ProcessGroup { rank, world_size, .. } = self.parallel.group;
        let (base, replica) = (self.datasets.base.clone(), Replica { rank, world_size });
        let loader = open_replica_loader(&self.config, base, true, replica)?;
        let (images_per_epoch, steps_per_epoch) = (loader.len(), loader.batches_per_epoch());
        let rate = LearningRate::new(&self.config, steps_per_epoch);
        let steps_done = self.state.epochs * steps_per_epoch + self.state.steps;
        let mut events = EventWriter::create(self.run.path(), steps_done)?;
        let mut is_first_step = true;
        let mut last_images = None;
        let mut batches = Batches::new(&self.config, loader, &self.device)?;
        let mut unread = UnreadSteps::new(self.config.train.print_freq);

        while self.state.epochs < self.config.train.epochs {
            let epoch = self.state.epochs;
            let started = Instant::now();
            let seen_before = self.state.seen;
            let (steps_before, skipped_before) = (self.state.steps, self.state.skipped);
            let title = format!("epoch {}/{}", epoch + 1, self.config.train.epochs);
            let images_before = steps_before * (self.config.train.batch_size / world_size);
            let images_left = images_per_epoch.saturating_sub(images_before);
            let progress = Progress::new(title, images_left, "images");
            for next in batches.epoch_from(epoch, steps_before) {
                let NextBatch { batch, batches, skipped } = next?;
                self.state.steps = steps_before + batches;
                self.state.skipped = skipped_before + skipped;
                let Some(batch) = batch else { continue };
                if batch.labels.elem_count() < self.smallest_batch {
                    // One image, beside which all others of its batch are broken.
                    self.state.skipped += 1;
                    continue;
                }
                let step = epoch * steps_per_epoch + self.state.steps - 1;
                last_images = Some(batch.images.clone());
                let count = self.step(batch, (step, rate.at(step)), &mut unread)?;
                let mut stops = stop.load(Ordering::Relaxed);
                let reads = unread.is_due() || is_first_step;
                if reads {
                    self.read(&mut unread, &mut events)?;
                }
                if world_size > 1 {
                    // All stop at the same step, or those that go on would wait for ever.
                    stops = reads && self.parallel.any(stops)?;
                }
                if std::mem::take(&mut is_first_step) {
                    let seconds = self.opened.elapsed().as_secs_f64();
                    progress.print_line(&format!("first step {seconds:.2} s after the start"));
                }
                progress.advance(count, || self.plain());
                if stops {
                    self.read(&mut unread, &mut events)?;
                    events.flush()?;
                    self.check_model(step, last_images.as_ref())?;
                    self.state.images = self.datasets.base.len();
                    self.save(false)?;
                    return Ok(Outcome::Interrupted);
                }
            }
            self.read(&mut unread, &mut events)?;
            drop(progress);
            if self.state.seen == 0 {
                return Err(Error::all_skipped(&self.datasets.base));
            }
            let images_per_second =
                (self.state.seen - seen_before) as f64 / started.elapsed().as_secs_f64();
            let steps = (epoch + 1) * steps_per_epoch;
            self.check_model(steps - 1, last_images.take().as_ref())?;
            self.end_epoch(steps, rate.at(steps - 1), images_per_second, &mut events)?;
        }
        Ok(Outcome::Finished)
    }

    /// Updates the model by one batch; returns its number of images. A GPU is not waited for.
    fn step(
        &mut self,
        batch: DeviceBatch,
        (step, rate): (usize, f64),
        unread: &mut UnreadSteps,
    ) -> Result<usize, Error> {
        let count = batch.labels.elem_count();
        // The processes of a group drop different units.
        let seed = self.config.seed.wrapping_add(self.parallel.group.rank as u64);
        let pass = Pass::Train { seed, forward: step as u64 };
        let context = self.parallel.tape_context(self.config.train.sync_batch_norm);
        let place = [step as u64, self.parallel.group.rank as u64];
        let Evaluated { loss, scores, plain } =
            self.objective.evaluate(&self.model, &batch, pass, place, context.clone())?;
        let labels = &batch.labels;
        let gradients = self.parallel.backward(&context, &loss, self.optimizer.parameters())?;
        self.optimizer.step(&gradients, rate)?;
        if let Some(average) = &self.average {
            average.follow(&self.model)?;
        }
        let margined = Score { loss: loss.detach(), correct: count_correct(&scores, labels)? };
        let plain =
            Score { loss: cross_entropy(&plain, labels)?, correct: count_correct(&plain, labels)? };
        unread.add(step, rate, count, margined, plain);
        Ok(count)
    }

    /// Reads losses and accuracies of the unread steps.
    fn read(&mut self, unread: &mut UnreadSteps, events: &mut EventWriter) -> Result<(), Error> {
        for step in unread.read()? {
            let Score { loss, correct } = step.margined;
            if !loss.is_finite() {
                return Err(self.diverged(step.number, &format!("the loss became {loss}")));
            }
            let percent = |correct: usize| 100.0 * correct as f64 / step.count as f64;
            // A step is known by the number of updates up to it, as the validation after it is: a
            // resumed run keeps what is at or below the number of updates that it starts with.
            events.scalars(
                step.number + 1,
                &[
                    ("lr", step.rate),
                    ("loss", loss),
                    ("loss_without_margin", step.plain.loss),
                    ("train_acc", percent(correct)),
                    ("train_acc_without_margin", percent(step.plain.correct)),
                ],
            )?;
            let state = &mut self.state;
            state.loss_sum += loss * step.count as f64;
            state.correct += correct;
            state.seen += step.count;
            state.plain_loss_sum += step.plain.loss * step.count as f64;
            state.plain_correct += step.plain.correct;
            state.plain_seen += step.count;
        }
        Ok(())
    }

    /// Checks what is about to be saved: the last step may have spoilt it, and no loss has shown that
    /// yet. Every number has to be finite, and so do the scores of the last images, if there are any.
    fn check_model(&self, step: usize, images: Option<&Tensor>) -> Result<(), Error> {
        // Whatever is not finite, times zero, is not a number.
        let is_finite = |tensor: &Tensor| -> Result<bool, Error> {
            let zero = tensor.affine(0.0, 0.0)?.sum_all()?.to_dtype(DType::F32)?;
            Ok(zero.to_scalar::<f32>()? == 0.0)
        };
        let model = self.model.parameters.all();
        let model = model.iter().map(|(name, variable)| (name, variable.as_tensor()));
        for (name, tensor) in model.chain(&self.optimizer.tensors()?) {
            if tensor.dtype().is_float() && !is_finite(tensor)? {
                return Err(self.diverged(step, &format!("`{name}` is not finite any more")));
            }
        }
        if let Some(images) = images {
            let model = self.model.frozen(&self.config, &self.device)?;
            let scores = model.head()?.scores(&model.backbone.forward(images, Pass::Eval)?)?;
            if !is_finite(&scores)? {
                return Err(self.diverged(step, "the scores of its images are not finite any more"));
            }
        }
        Ok(())
    }

    fn diverged(&self, step: usize, what: &str) -> Error {
        Error::Value {
            key: "train.learning_rate".to_owned(),
            got: format!("{}, and {what}", self.config.train.learning_rate),
            expected: format!("a rate that training survives (it failed at step {step})"),
        }
    }

    /// Mean loss of this epoch's images so far.
    fn loss(&self) -> f64 {
        self.state.loss_sum / self.state.seen.max(1) as f64
    }

    /// Accuracy on this epoch's images so far, in percent.
    fn accuracy(&self) -> f64 {
        100.0 * self.state.correct as f64 / self.state.seen.max(1) as f64
    }

    /// Mean loss and accuracy in percent of this epoch's images so far, without margin.
    fn plain_scores(&self) -> (f64, f64) {
        let TrainingState { plain_loss_sum, plain_correct, plain_seen, .. } = self.state;
        let count = plain_seen.max(1) as f64;
        (plain_loss_sum / count, 100.0 * plain_correct as f64 / count)
    }

    /// Loss and accuracy without margin, for people.
    fn plain(&self) -> String {
        let (loss, accuracy) = self.plain_scores();
        format!("loss {loss:.4} accuracy {accuracy:.2} %")
    }

    /// As [`plain`](Self::plain), and what they are with the margin if there is one.
    fn running(&self) -> String {
        let mut text = self.plain();
        if self.model.head().is_ok_and(|head| head.has_margin()) {
            let (loss, accuracy) = (self.loss(), self.accuracy());
            text += &format!(" (with the margin {loss:.4} and {accuracy:.2} %)");
        }
        text
    }

    /// Validates if that is due, logs, and saves.
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
            "loss_without_margin": self.plain_scores().0,
            "train_accuracy": self.accuracy(),
            "train_accuracy_without_margin": self.plain_scores().1,
            "skipped": self.state.skipped,
            "run": Provenance::of(&self.config),
        });
        let (skipped, seen) = (self.state.skipped, self.state.seen);
        self.state = TrainingState {
            epochs: self.state.epochs + 1,
            best_accuracy: self.state.best_accuracy,
            best_epochs: self.state.best_epochs,
            ..TrainingState::default()
        };
        let epochs = self.state.epochs;
        let mut line = format!("epoch {epochs}/{}: {running}", self.config.train.epochs);
        // None were left for a run that was stopped after the last step of the epoch.
        if images_per_second > 0.0 {
            let images_left = ((self.config.train.epochs - epochs) * seen) as f64;
            let time_left = duration(images_left / images_per_second);
            line += &format!(", {images_per_second:.0} images/s, {time_left} left");
        }
        let mut is_best = false;
        if self.is_validation_due() {
            let (mean, validation) = self.validate(&self.model)?;
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
            line += &format!(", {} skipped", counted(skipped, "broken image"));
        }
        events.flush()?;
        // Before the checkpoint: after a kill in between, the epoch is repeated and its line
        // replaced.
        self.run.append_metrics(&metrics)?;
        if is_best || self.is_checkpoint_due() {
            self.save(is_best)?;
        }
        // Only now that it is true, and that whatever becomes of the output the epoch is kept.
        say(line);
        Ok(())
    }

    fn is_validation_due(&self) -> bool {
        let freq = self.config.val.freq;
        self.is_last_epoch() || (freq > 0 && self.state.epochs.is_multiple_of(freq))
    }

    fn is_checkpoint_due(&self) -> bool {
        self.is_last_epoch() || self.state.epochs.is_multiple_of(self.config.train.save_freq)
    }

    fn is_last_epoch(&self) -> bool {
        self.state.epochs == self.config.train.epochs
    }

    /// Returns the mean accuracy on validation classes, in percent, and its entry in the log.
    pub(super) fn validate(&self, model: &Model) -> Result<(f64, Value), Error> {
        let (config, val) = (&self.config, &self.config.val);
        let bank = extract_features(config, model, &self.datasets.val, &self.device)?;
        let accuracy =
            few_shot(config, &bank, &*config.test.head, val.shot, val.episodes, &self.device)?;
        let (mean, ci95) = (100.0 * accuracy.mean, 100.0 * accuracy.ci95);
        let value = json!({
            "shot": val.shot,
            "head": config.test.head.name(),
            "mean": mean,
            "ci95": ci95,
            "episodes": val.episodes,
        });
        Ok((mean, value))
    }
}
