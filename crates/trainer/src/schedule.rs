//! Learning-rate schedules.

use fewshot_experiment::{Config, Schedule};

/// Ratio of the highest to the first learning rate (published `multiplier`).
const WARMUP_START: f64 = 16.0;
/// Last learning rate of the cosine (published `eta_min`).
const LOWEST: f64 = 1e-6;

/// The learning rate of every step of a training.
#[derive(Clone, Copy, Debug)]
pub struct LearningRate {
    highest: f64,
    /// Number of steps of warm-up and of the whole training; none for a constant rate.
    steps: Option<(f64, f64)>,
}

impl LearningRate {
    /// Creates the configuration's schedule over epochs of `steps_per_epoch` steps.
    pub fn new(config: &Config, steps_per_epoch: usize) -> Self {
        let train = &config.train;
        let steps = match train.schedule {
            Schedule::Constant => None,
            Schedule::WarmupCosine { warmup_epochs } => Some((warmup_epochs, train.epochs)),
        };
        Self::from_epochs(train.learning_rate, steps, steps_per_epoch)
    }

    /// Creates a schedule that rises linearly from `highest / 16` over the first number of epochs,
    /// then follows a cosine to 1e-6 at the second; constant without them.
    pub fn from_epochs(
        highest: f64,
        epochs: Option<(usize, usize)>,
        steps_per_epoch: usize,
    ) -> Self {
        let in_steps = |epochs: usize| (epochs * steps_per_epoch) as f64;
        let steps = epochs.map(|(warmup, all)| (in_steps(warmup), in_steps(all)));
        Self { highest, steps }
    }

    /// Returns the rate of the update at step `step`, counted from 0.
    ///
    /// The published code advances the schedule after each update, to the number of that update:
    /// the first two updates use the same rate.
    pub fn at(&self, step: usize) -> f64 {
        let Some((warmup, all)) = self.steps else { return self.highest };
        let step = step.saturating_sub(1) as f64;
        if step <= warmup && warmup > 0.0 {
            let rise = (WARMUP_START - 1.0) * step / warmup + 1.0;
            return self.highest / WARMUP_START * rise;
        }
        let share = (step - warmup) / (all - warmup).max(1.0);
        LOWEST + (self.highest - LOWEST) * (1.0 + (std::f64::consts::PI * share).cos()) / 2.0
    }
}
