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

    /// Waits for the device, once, and gives all steps since the last time.
    pub(crate) fn read(&mut self) -> Result<Vec<Step>> {
        if self.waiting.is_empty() {
            return Ok(Vec::new());
        }
        let all = |part: fn(&Waiting) -> &Tensor| {
            Tensor::stack(&self.waiting.iter().map(part).collect::<Vec<_>>(), 0)
        };
        let (losses, correct) = (all(|step| &step.loss)?, all(|step| &step.correct)?);
        let (losses, correct) = (losses.to_vec1::<f32>()?, correct.to_vec1::<u32>()?);
        let figures = losses.into_iter().zip(correct);
        let read = |(step, (loss, correct)): (Waiting, (f32, u32))| Step {
            number: step.number,
            rate: step.rate,
            count: step.count,
            loss: loss.into(),
            correct: correct as usize,
        };
        Ok(self.waiting.drain(..).zip(figures).map(read).collect())
    }
}
