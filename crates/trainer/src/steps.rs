//! What goes into training steps and comes out of them, without waiting for a GPU in between.

use candle_core::{DType, Device, Result, Tensor};
use fewshot_data::Batch;
use fewshot_experiment::{Config, Error, image_dtype};

/// Makes tensors of batches; on a GPU, while the step before is still computed.
pub(crate) struct Batches {
    device: Device,
    dtype: DType,
    #[cfg(feature = "cuda")]
    uploader: Option<fewshot_ops::cuda::Uploader>,
}

impl Batches {
    pub(crate) fn new(config: &Config, device: &Device) -> Result<Self> {
        #[cfg(feature = "cuda")]
        let uploader = match device {
            Device::Cuda(_) => Some(fewshot_ops::cuda::Uploader::new(device)?),
            _ => None,
        };
        Ok(Self {
            device: device.clone(),
            dtype: image_dtype(config),
            #[cfg(feature = "cuda")]
            uploader,
        })
    }

    /// Images `[B, 3, S, S]` and labels `[B]`.
    pub(crate) fn take(&mut self, batch: Batch) -> std::result::Result<(Tensor, Tensor), Error> {
        let count = batch.labels.len();
        let labels = Tensor::from_slice(&batch.labels, count, &self.device)?;
        let shape = [count, 3, batch.size, batch.size];
        #[cfg(feature = "cuda")]
        if let Some(uploader) = &mut self.uploader {
            return Ok((uploader.upload(&batch.images, &shape, self.dtype)?, labels));
        }
        let images = Tensor::from_vec(batch.images, &shape[..], &self.device)?;
        Ok((images.to_dtype(self.dtype)?, labels))
    }
}

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
