//! From a loader's batches to tensors on a device.

use candle_core::{DType, Device, Tensor};
use fewshot_data::Batch;

use crate::{Config, Error, image_dtype};

/// A batch as tensors on a device.
#[derive(Clone, Debug)]
pub struct DeviceBatch {
    /// `[B, 3, S, S]`, in the configuration's precision.
    pub images: Tensor,
    /// `[B]`, `u32`.
    pub labels: Tensor,
}

/// Moves batches to a device. A GPU copies a batch while it still computes on the one before.
pub struct BatchUploader {
    device: Device,
    dtype: DType,
    #[cfg(feature = "cuda")]
    gpu: Option<fewshot_ops::cuda::Uploader>,
}

impl BatchUploader {
    /// An uploader to a device.
    ///
    /// # Errors
    /// A GPU that does not answer.
    pub fn new(config: &Config, device: &Device) -> Result<Self, Error> {
        Ok(Self {
            device: device.clone(),
            dtype: image_dtype(config),
            #[cfg(feature = "cuda")]
            gpu: match device {
                Device::Cuda(_) => Some(fewshot_ops::cuda::Uploader::new(device)?),
                _ => None,
            },
        })
    }

    /// The number type of the images.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Moves a batch to the device. On the CPU its images are not copied.
    ///
    /// # Errors
    /// Out of memory.
    pub fn upload(&mut self, batch: Batch) -> Result<DeviceBatch, Error> {
        let count = batch.labels.len();
        let labels = Tensor::from_vec(batch.labels, count, &self.device)?;
        let shape = [count, 3, batch.size, batch.size];
        #[cfg(feature = "cuda")]
        if let Some(gpu) = &mut self.gpu {
            let images = gpu.upload(&batch.images, &shape, self.dtype)?;
            return Ok(DeviceBatch { images, labels });
        }
        let images = Tensor::from_vec(batch.images, &shape[..], &self.device)?;
        Ok(DeviceBatch { images: images.to_dtype(self.dtype)?, labels })
    }
}
