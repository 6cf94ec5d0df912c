//! Training batches as tensors, from files or from decoded images that a GPU keeps.

use candle_core::{DType, Device, Tensor};
use fewshot_data::{Batch, Loader};
use fewshot_experiment::{Config, Error, image_dtype};

#[cfg(feature = "cuda")]
mod kept;

/// Gives the batches of any epoch.
pub(crate) struct Batches {
    loader: Loader,
    place: Place,
    #[cfg(feature = "cuda")]
    kept: Option<kept::Kept>,
}

impl Batches {
    /// Batches of `loader`. Where the configuration asks for it, all its images are decoded
    /// now, and kept on the GPU.
    ///
    /// # Errors
    /// No memory; images that cannot be read.
    pub(crate) fn new(config: &Config, loader: Loader, device: &Device) -> Result<Self, Error> {
        Ok(Self {
            #[cfg(feature = "cuda")]
            kept: match config.loader.keep_on_gpu {
                true => Some(kept::Kept::new(config, &loader, device)?),
                false => None,
            },
            loader,
            place: Place::new(config, device)?,
        })
    }

    /// An epoch's batches, in order, without the first `from`.
    pub(crate) fn epoch_from(
        &mut self,
        epoch: usize,
        from: usize,
    ) -> Box<dyn Iterator<Item = Result<Ready, Error>> + '_> {
        let place = &mut self.place;
        #[cfg(feature = "cuda")]
        if let Some(kept) = &self.kept {
            let drawn = self.loader.draw_epoch_from(epoch as u64, from, |image| kept.size(image));
            let mut skipped = 0;
            let counted = drawn.map(move |batch| {
                skipped += batch.left_out;
                (batch, skipped)
            });
            let is_there =
                |(batch, _): &(fewshot_data::DrawnBatch, usize)| !batch.labels.is_empty();
            let dtype = place.dtype;
            let ready = move |(batch, skipped)| kept.take(&batch, skipped, dtype);
            return Box::new(counted.filter(is_there).map(ready));
        }
        let mut loaded = self.loader.epoch_from(epoch as u64, from);
        Box::new(std::iter::from_fn(move || {
            let batch = loaded.next()?.map_err(Error::from);
            Some(batch.and_then(|batch| place.take(batch, loaded.skipped())))
        }))
    }
}

/// A batch where it is to be.
pub(crate) struct Ready {
    /// `[B, 3, S, S]`
    pub(crate) images: Tensor,
    /// `[B]`
    pub(crate) labels: Tensor,
    /// Images skipped as broken since the epoch's first batch.
    pub(crate) skipped: usize,
}

/// Where batches are to be; on a GPU they come there while the step before is still computed.
struct Place {
    device: Device,
    dtype: DType,
    #[cfg(feature = "cuda")]
    uploader: Option<fewshot_ops::cuda::Uploader>,
}

impl Place {
    fn new(config: &Config, device: &Device) -> Result<Self, Error> {
        Ok(Self {
            device: device.clone(),
            dtype: image_dtype(config),
            #[cfg(feature = "cuda")]
            uploader: match device {
                Device::Cuda(_) => Some(fewshot_ops::cuda::Uploader::new(device)?),
                _ => None,
            },
        })
    }

    fn take(&mut self, batch: Batch, skipped: usize) -> Result<Ready, Error> {
        let count = batch.labels.len();
        let labels = Tensor::from_slice(&batch.labels, count, &self.device)?;
        let shape = [count, 3, batch.size, batch.size];
        #[cfg(feature = "cuda")]
        if let Some(uploader) = &mut self.uploader {
            let images = uploader.upload(&batch.images, &shape, self.dtype)?;
            return Ok(Ready { images, labels, skipped });
        }
        let images = Tensor::from_vec(batch.images, &shape[..], &self.device)?;
        Ok(Ready { images: images.to_dtype(self.dtype)?, labels, skipped })
    }
}
