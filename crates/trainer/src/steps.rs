//! What comes out of training steps, without waiting for a GPU in between.

use candle_core::{Result, Tensor};

/// Steps whose loss and accuracy still lie on the device.
pub(crate) struct Steps {
    every: usize,
    waiting: Vec<Waiting>,
}

struct Waiting {
    number: usize,
    rate: f64,
    count: usize,
    loss: Tensor,
    correct: Tensor,
}

/// A step that was read.
pub(crate) struct Step {
    pub(crate) number: usize,
    pub(crate) rate: f64,
    /// Images.
    pub(crate) count: usize,
    pub(crate) loss: f64,
    /// Images that were classified rightly.
    pub(crate) correct: usize,
}

impl Steps {
    /// To be read `every` so many steps.
    pub(crate) fn new(every: usize) -> Self {
        Self { every, waiting: Vec::new() }
    }

    /// Adds a step with its scalar loss, and its scalar count of rightly classified images.
    pub(crate) fn add(
        &mut self,
        number: usize,
        rate: f64,
        count: usize,
        loss: Tensor,
        correct: Tensor,
    ) {
        self.waiting.push(Waiting { number, rate, count, loss, correct });
    }

    /// Whether it is time to read.
    pub(crate) fn are_due(&self) -> bool {
        self.waiting.len() >= self.every
    }

    /// Waits for the device, and gives all steps since the last time.
    pub(crate) fn read(&mut self) -> Result<Vec<Step>> {
        let read = |step: Waiting| {
            Ok(Step {
                number: step.number,
                rate: step.rate,
                count: step.count,
                loss: f64::from(step.loss.to_scalar::<f32>()?),
                correct: step.correct.to_scalar::<u32>()? as usize,
            })
        };
        self.waiting.drain(..).map(read).collect()
    }
}
