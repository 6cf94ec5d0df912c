//! Training batches as tensors, from image files or from a cache of decoded images on a GPU.

use candle_core::Device;
use fewshot_data::Loader;
use fewshot_experiment::{BatchUploader, Config, DeviceBatch, Error};

#[cfg(feature = "cuda")]
mod image_cache;

/// The batches of any epoch.
pub(crate) struct Batches {
    loader: Loader,
    uploader: BatchUploader,
    #[cfg(feature = "cuda")]
    cache: Option<image_cache::GpuImageCache>,
}

impl Batches {
    /// Makes batches of a loader's images. With `loader.keep_on_gpu` all of them are decoded
    /// now and stay on the GPU.
    ///
    /// # Errors
    /// Out of memory; images that cannot be read.
    pub(crate) fn new(config: &Config, loader: Loader, device: &Device) -> Result<Self, Error> {
        Ok(Self {
            #[cfg(feature = "cuda")]
            cache: match config.loader.keep_on_gpu {
                true => Some(image_cache::GpuImageCache::new(config, &loader, device)?),
                false => None,
            },
            loader,
            uploader: BatchUploader::new(config, device)?,
        })
    }

    /// Returns an epoch's batches in order, without the first `from`, each with the number of
    /// images that were skipped as broken since the first of them.
    pub(crate) fn epoch_from(
        &mut self,
        epoch: usize,
        from: usize,
    ) -> Box<dyn Iterator<Item = Result<(DeviceBatch, usize), Error>> + '_> {
        let uploader = &mut self.uploader;
        #[cfg(feature = "cuda")]
        if let Some(cache) = &self.cache {
            let plans = self.loader.plan_epoch_from(epoch as u64, from, |image| cache.size(image));
            let mut skipped = 0;
            let counted = plans.map(move |batch| {
                skipped += batch.skipped;
                (batch, skipped)
            });
            let dtype = uploader.dtype();
            let not_empty = counted.filter(|(batch, _)| !batch.labels.is_empty());
            return Box::new(
                not_empty.map(move |(batch, skipped)| Ok((cache.augment(&batch, dtype)?, skipped))),
            );
        }
        let mut loaded = self.loader.epoch_from(epoch as u64, from);
        Box::new(std::iter::from_fn(move || {
            let batch = loaded.next()?.map_err(Error::from);
            Some(batch.and_then(|batch| Ok((uploader.upload(batch)?, loaded.skipped()))))
        }))
    }
}
