//! Learning-rate schedules.

use std::f64::consts::PI;

use fewshot_experiment::{Config, Schedule};

/// Ratio of the highest to the first learning rate (published `multiplier`).
const WARMUP_START: f64 = 16.0;
/// Last learning rate of a cosine (published `eta_min`).
const LOWEST: f64 = 1e-6;

/// The learning rate of every step of a training.
#[derive(Clone, Debug)]
pub struct LearningRate {
    highest: f64,
    course: Course,
}

/// How the rate follows from the step; all lengths are numbers of steps.
#[derive(Clone, Debug)]
enum Course {
    Constant,
    WarmupCosine { warmup: f64, all: f64 },
    Step { milestones: Vec<usize>, factor: f64 },
    CosineRestarts { cycle: f64 },
}

impl LearningRate {
    /// Creates the configuration's schedule over epochs of `steps_per_epoch` steps.
    pub fn new(config: &Config, steps_per_epoch: usize) -> Self {
        let train = &config.train;
        Self::from_schedule(train.learning_rate, &train.schedule, train.epochs, steps_per_epoch)
    }

    /// Creates a schedule over `epochs` epochs of `steps_per_epoch` steps.
    pub fn from_schedule(
        highest: f64,
        schedule: &Schedule,
        epochs: usize,
        steps_per_epoch: usize,
    ) -> Self {
        let in_steps = |epochs: usize| (epochs * steps_per_epoch) as f64;
        let course = match schedule {
            Schedule::Constant => Course::Constant,
            &Schedule::WarmupCosine { warmup_epochs } => {
                Course::WarmupCosine { warmup: in_steps(warmup_epochs), all: in_steps(epochs) }
            }
            Schedule::Step { milestones, factor } => Course::Step {
                milestones: milestones.iter().map(|epoch| epoch * steps_per_epoch).collect(),
                factor: *factor,
            },
            &Schedule::CosineRestarts { cycles } => {
                Course::CosineRestarts { cycle: in_steps(epochs) / cycles as f64 }
            }
        };
        Self { highest, course }
    }

    /// Returns the rate of the update at step `step`, counted from 0.
    ///
    /// The published code advances its schedule, warm-up and cosine, after each update, to the number of
    /// that update: the first two updates use the same rate. The others are PyTorch's: `MultiStepLR`, and
    /// `CosineAnnealingWarmRestarts` advanced at each step.
    pub fn at(&self, step: usize) -> f64 {
        let cosine =
            |share: f64| LOWEST + (self.highest - LOWEST) * (1.0 + (PI * share).cos()) / 2.0;
        match &self.course {
            Course::Constant => self.highest,
            &Course::WarmupCosine { warmup, all } => {
                let step = step.saturating_sub(1) as f64;
                if step <= warmup && warmup > 0.0 {
                    let rise = (WARMUP_START - 1.0) * step / warmup + 1.0;
                    return self.highest / WARMUP_START * rise;
                }
                cosine((step - warmup) / (all - warmup).max(1.0))
            }
            Course::Step { milestones, factor } => {
                let passed = milestones.iter().filter(|&&milestone| step >= milestone).count();
                self.highest * factor.powi(passed as i32)
            }
            &Course::CosineRestarts { cycle } => cosine((step as f64 % cycle) / cycle),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rates(schedule: &Schedule) -> Vec<f64> {
        let rates = LearningRate::from_schedule(0.1, schedule, 6, 2);
        (0..12).map(|step| rates.at(step)).collect()
    }

    #[test]
    fn the_rate_falls_at_milestones() {
        let schedule = Schedule::Step { milestones: vec![2, 2, 5], factor: 0.1 };
        let expected = [0.1, 0.1, 0.1, 0.1, 1e-3, 1e-3, 1e-3, 1e-3, 1e-3, 1e-3, 1e-4, 1e-4];
        for (rate, expected) in rates(&schedule).into_iter().zip(expected) {
            assert!((rate - expected).abs() < 1e-12, "{rate} {expected}");
        }
    }

    /// PyTorch's `CosineAnnealingWarmRestarts(optimizer, T_0=6, eta_min=1e-6)`, stepped after each update.
    #[test]
    fn cosines_restart() {
        let cycle = [0.1, 0.093301337, 0.07500025, 0.0500005, 0.02500075, 0.006699663];
        let rates = rates(&Schedule::CosineRestarts { cycles: 2 });
        for (rate, expected) in rates.into_iter().zip(cycle.into_iter().cycle()) {
            assert!((rate - expected).abs() < 1e-8, "{rate} {expected}");
        }
    }
}
