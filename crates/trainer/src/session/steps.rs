//! Losses and accuracies of training steps, read without waiting for a GPU at each.

use candle_core::{Result, Tensor};

/// Steps whose loss and accuracy still lie on the device.
pub(super) struct UnreadSteps {
    capacity: usize,
    steps: Vec<UnreadStep>,
}

struct UnreadStep {
    number: usize,
    rate: f64,
    count: usize,
    loss: Tensor,
    correct: Tensor,
}

/// A step whose loss and accuracy have been read.
pub(super) struct Step {
    /// Position in the training, from 0.
    pub(super) number: usize,
    /// Learning rate.
    pub(super) rate: f64,
    /// Number of images.
    pub(super) count: usize,
    /// Mean loss of the images.
    pub(super) loss: f64,
    /// Number of images that were classified correctly.
    pub(super) correct: usize,
}

impl UnreadSteps {
    /// A reading is due after every `capacity` steps.
    pub(super) fn new(capacity: usize) -> Self {
        Self { capacity, steps: Vec::new() }
    }

    /// Adds a step of `count` images with its loss and its number of correctly classified
    /// images, both scalars.
    pub(super) fn add(
        &mut self,
        number: usize,
        rate: f64,
        count: usize,
        loss: Tensor,
        correct: Tensor,
    ) {
        self.steps.push(UnreadStep { number, rate, count, loss, correct });
    }

    /// Whether so many steps have gathered that they should be read.
    pub(super) fn is_due(&self) -> bool {
        self.steps.len() >= self.capacity
    }

    /// Waits for the device, once, and returns all steps since the last reading.
    pub(super) fn read(&mut self) -> Result<Vec<Step>> {
        if self.steps.is_empty() {
            return Ok(Vec::new());
        }
        let stack = |part: fn(&UnreadStep) -> &Tensor| {
            Tensor::stack(&self.steps.iter().map(part).collect::<Vec<_>>(), 0)
        };
        let (losses, correct) = (stack(|step| &step.loss)?, stack(|step| &step.correct)?);
        let (losses, correct) = (losses.to_vec1::<f32>()?, correct.to_vec1::<u32>()?);
        let read = |(step, (loss, correct)): (UnreadStep, (f32, u32))| Step {
            number: step.number,
            rate: step.rate,
            count: step.count,
            loss: loss.into(),
            correct: correct as usize,
        };
        Ok(self.steps.drain(..).zip(losses.into_iter().zip(correct)).map(read).collect())
    }
}
