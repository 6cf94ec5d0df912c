//! All images of a training, decoded and kept in a GPU's memory, where they are augmented.

use candle_core::{DType, Device, Tensor};
use fewshot_data::{Adjustment, AugmentParams, BatchPlan, Dataset, Loader, OnBroken};
use fewshot_experiment::{Config, DeviceBatch, Error, Progress};
use fewshot_ops::cuda::images::{self, Images};
use image::RgbImage;
use rayon::prelude::*;

/// Number of images that are decoded at a time.
const AT_ONCE: usize = 256;

/// All images of a dataset that can be decoded.
pub(super) struct GpuImageCache {
    images: Images,
    /// Index among `images`, width and height, by index in the dataset; none where broken.
    entries: Vec<Option<(usize, u32, u32)>>,
    size: usize,
    device: Device,
}

impl GpuImageCache {
    /// Decodes all images of a loader.
    ///
    /// # Errors
    /// Images that cannot be read, unless they are to be skipped; too little memory on the GPU.
    pub(super) fn new(config: &Config, loader: &Loader, device: &Device) -> Result<Self, Error> {
        let dataset = loader.dataset();
        let levels = RgbImage::from_fn(256, 1, |level, _| image::Rgb([level as u8; 3]));
        let mut cache = Self {
            images: Images::new(&config.method.preprocessing.normalize(&levels), device)?,
            entries: Vec::with_capacity(dataset.len()),
            size: config.method.image_size,
            device: device.clone(),
        };
        let title = format!("decoding {} onto the GPU", dataset.name());
        let progress = Progress::new(title, dataset.len(), "images");
        let mut count = 0;
        while cache.entries.len() < dataset.len() {
            let first = cache.entries.len();
            let decoded: Vec<_> = (first..dataset.len().min(first + AT_ONCE))
                .into_par_iter()
                .map(|index| decode(dataset, index, config.loader.on_broken))
                .collect::<Result<_, _>>()?;
            let (mut sizes, mut samples) = (Vec::new(), Vec::new());
            for image in &decoded {
                let Some(image) = image else {
                    cache.entries.push(None);
                    continue;
                };
                cache.entries.push(Some((count, image.width(), image.height())));
                count += 1;
                sizes.push(image.dimensions());
                samples.extend_from_slice(image);
            }
            cache.images.add(&sizes, samples).map_err(|e| Error::Value {
                key: "loader.keep_on_gpu".to_owned(),
                got: format!(
                    "true, and after {first} of {} images, {} MB, the GPU said: {e}",
                    dataset.len(),
                    cache.images.bytes() / 1_000_000
                ),
                expected: "false, or room for all decoded images".to_owned(),
            })?;
            progress.advance(decoded.len(), String::new);
        }
        Ok(cache)
    }

    /// Width and height of an image of the dataset; none if it is broken.
    pub(super) fn size(&self, index: usize) -> Option<(u32, u32)> {
        self.entries[index].map(|(_, width, height)| (width, height))
    }

    /// Crops, adjusts and mirrors the images of a batch as planned; `images` is `[B, 3, S, S]`.
    pub(super) fn augment(&self, batch: &BatchPlan, dtype: DType) -> Result<DeviceBatch, Error> {
        let cached = |&index: &usize| self.entries[index].map(|(image, ..)| image);
        let images = batch.indices.iter().filter_map(cached);
        let params: Vec<_> = images.zip(&batch.params).map(to_gpu_params).collect();
        let images = self.images.apply(&params, self.size, dtype)?;
        let labels = Tensor::from_slice(&batch.labels, batch.labels.len(), &self.device)?;
        Ok(DeviceBatch { images, labels })
    }
}

fn decode(dataset: &Dataset, index: usize, on_broken: OnBroken) -> Result<Option<RgbImage>, Error> {
    match dataset.load(index) {
        Ok(image) => Ok(Some(image)),
        Err(fewshot_data::Error::Image { .. }) if on_broken == OnBroken::Skip => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn to_gpu_params((image, params): (usize, &AugmentParams)) -> images::AugmentParams {
    let AugmentParams { crop, adjustments, is_mirrored } = params;
    let mut on_gpu = [(images::Adjustment::Nothing, 1.0); 3];
    for (to, (adjustment, factor)) in on_gpu.iter_mut().zip(adjustments) {
        let adjustment = match adjustment {
            Adjustment::Brightness => images::Adjustment::Brightness,
            Adjustment::Contrast => images::Adjustment::Contrast,
            Adjustment::Saturation => images::Adjustment::Saturation,
        };
        *to = (adjustment, *factor as f32);
    }
    images::AugmentParams {
        image,
        start: [crop.top, crop.left],
        size: [crop.height, crop.width],
        adjustments: on_gpu,
        is_mirrored: *is_mirrored,
    }
}

#[cfg(test)]
mod tests {
    use super::super::Batches;
    use fewshot_experiment::{DeviceBatch, RawConfig, open_loader, open_split};
    use fewshot_parity::{device, is_gpu};

    /// Difference between normalized values that are one level of 256 apart, about.
    const LEVEL: f32 = 0.0153;

    #[test]
    fn images_are_varied_as_on_the_cpu() {
        if !is_gpu() {
            return;
        }
        for settings in [
            ["method.image_size=21", "dataset.glyph_size=33", "augment.min_area=0.08"],
            ["method.image_size=16", "dataset.glyph_size=50", "augment.min_area=1"],
            ["method.image_size=32", "dataset.glyph_size=11", "augment.jitter=0"],
        ] {
            let batches = |keep: &str| {
                let mut raw = RawConfig::default();
                let both = ["device=cuda:0", "dataset.images_per_class=21", "train.batch_size=50"];
                let keep = format!("loader.keep_on_gpu={keep}");
                for setting in both.iter().chain(&settings).copied().chain([&*keep]) {
                    raw.set(setting).unwrap();
                }
                let config = raw.check().unwrap();
                let base = open_split(&config.dataset.base).unwrap();
                let loader = open_loader(&config, base, true).unwrap();
                let mut batches = Batches::new(&config, loader, device()).unwrap();
                let values = |batch: DeviceBatch| {
                    let images = batch.images.flatten_all().unwrap().to_vec1::<f32>().unwrap();
                    (images, batch.labels.to_vec1::<u32>().unwrap())
                };
                let two = batches.epoch_from(1, 2).take(2);
                two.map(|batch| values(batch.unwrap().batch.unwrap())).collect::<Vec<_>>()
            };
            for (cached, loaded) in batches("true").into_iter().zip(batches("false")) {
                assert_eq!(cached.1, loaded.1);
                let differences = cached.0.iter().zip(&loaded.0).map(|(a, b)| (a - b).abs());
                let most = differences.clone().fold(0.0, f32::max);
                let mean = differences.sum::<f32>() / cached.0.len() as f32;
                println!("{settings:?}: at most {most}, {mean} on average");
                // A sum that rounds the other way is a level; jitter adds to that, and changes
                // all of an image by the level of its grey.
                let limits = (6.0 * LEVEL, 0.05 * LEVEL);
                assert!(most < limits.0 && mean < limits.1, "{settings:?}: {most}, {mean}");
                assert!(loaded.0.iter().any(|&v| v > 0.0) && loaded.0.iter().any(|&v| v < 0.0));
            }
        }
    }
}
