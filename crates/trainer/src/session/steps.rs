//! Losses and accuracies of training steps, read without waiting for a GPU at each.

use candle_core::{Result, Tensor};

/// Mean loss and number of correctly classified images of a step: `L` and `C` are tensors while
/// they still lie on the device.
pub(super) struct Score<L, C> {
    pub(super) loss: L,
    pub(super) correct: C,
}

/// Steps whose loss and accuracy still lie on the device.
pub(super) struct UnreadSteps {
    capacity: usize,
    steps: Vec<UnreadStep>,
}

struct UnreadStep {
    number: usize,
    rate: f64,
    count: usize,
    margined: Score<Tensor, Tensor>,
    plain: Score<Tensor, Tensor>,
}

/// A step whose loss and accuracy have been read.
pub(super) struct Step {
    /// Position in the training, from 0.
    pub(super) number: usize,
    /// Learning rate.
    pub(super) rate: f64,
    /// Number of images.
    pub(super) count: usize,
    /// By the scores that are trained, with the margin at the label.
    pub(super) margined: Score<f64, usize>,
    /// By the scores without margin, by which new images are classified.
    pub(super) plain: Score<f64, usize>,
}

impl UnreadSteps {
    /// A reading is due after every `capacity` steps.
    pub(super) fn new(capacity: usize) -> Self {
        Self { capacity, steps: Vec::new() }
    }

    /// Adds a step of `count` images with its scores, all scalars.
    pub(super) fn add(
        &mut self,
        number: usize,
        rate: f64,
        count: usize,
        margined: Score<Tensor, Tensor>,
        plain: Score<Tensor, Tensor>,
    ) {
        self.steps.push(UnreadStep { number, rate, count, margined, plain });
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
        let margined = read_scores(self.steps.iter().map(|step| &step.margined))?;
        let plain = read_scores(self.steps.iter().map(|step| &step.plain))?;
        let read = |(step, (margined, plain)): (UnreadStep, _)| Step {
            number: step.number,
            rate: step.rate,
            count: step.count,
            margined,
            plain,
        };
        Ok(self.steps.drain(..).zip(margined.into_iter().zip(plain)).map(read).collect())
    }
}

/// Copies the scores of several steps from the device.
fn read_scores<'s>(
    scores: impl Iterator<Item = &'s Score<Tensor, Tensor>>,
) -> Result<Vec<Score<f64, usize>>> {
    let (losses, correct): (Vec<_>, Vec<_>) = scores.map(|s| (&s.loss, &s.correct)).unzip();
    let losses = Tensor::stack(&losses, 0)?.to_vec1::<f32>()?;
    let correct = Tensor::stack(&correct, 0)?.to_vec1::<u32>()?;
    let both = losses.into_iter().zip(correct);
    Ok(both.map(|(loss, c)| Score { loss: loss.into(), correct: c as usize }).collect())
}
