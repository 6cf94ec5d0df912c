//! Training batches as tensors, from image files or from a cache of decoded images on a GPU.

use candle_core::Device;
use fewshot_data::Loader;
use fewshot_experiment::{BatchUploader, Config, DeviceBatch, Error};

#[cfg(feature = "cuda")]
mod image_cache;

/// The next batch of an epoch that has an image, and how far the epoch has come with it.
pub(crate) struct NextBatch {
    /// Nothing at the end of an epoch.
    pub(crate) batch: Option<DeviceBatch>,
    /// Number of batches so far, those included of which every image is broken.
    pub(crate) batches: usize,
    /// Number of images of these batches that were skipped as broken.
    pub(crate) skipped: usize,
}

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

    /// Returns an epoch's batches in order, without the first `from`; numbers count from there on.
    /// The last item has no batch: images may be skipped after the last that has one.
    pub(crate) fn epoch_from(
        &mut self,
        epoch: usize,
        from: usize,
    ) -> Box<dyn Iterator<Item = Result<NextBatch, Error>> + '_> {
        let uploader = &mut self.uploader;
        #[cfg(feature = "cuda")]
        if let Some(cache) = &self.cache {
            let plans = self.loader.plan_epoch_from(epoch as u64, from, |image| cache.size(image));
            let dtype = uploader.dtype();
            let mut skipped = 0;
            return Box::new(plans.enumerate().map(move |(index, plan)| {
                skipped += plan.skipped;
                let is_empty = plan.labels.is_empty();
                let batch = (!is_empty).then(|| cache.augment(&plan, dtype)).transpose()?;
                Ok(NextBatch { batch, batches: index + 1, skipped })
            }));
        }
        let mut loaded = self.loader.epoch_from(epoch as u64, from);
        let mut is_over = false;
        Box::new(std::iter::from_fn(move || {
            if is_over {
                return None;
            }
            let batch = loaded.next();
            is_over = batch.is_none();
            let batch = batch.map(|batch| uploader.upload(batch?)).transpose();
            let (batches, skipped) = (loaded.batches(), loaded.skipped());
            Some(batch.map(|batch| NextBatch { batch, batches, skipped }))
        }))
    }
}
