//! Features of images, as they are and as the settings have heads see them; accuracy on base classes.

use candle_core::{Device, Tensor};
use fewshot_data::{Batch, Dataset, Loader};
use fewshot_episodes::FeatureBank;
use fewshot_experiment::{
    BatchUploader, Config, Crops, DeviceBatch, Error, Model, Progress, open_crop_loader,
    open_loader, open_split,
};
use fewshot_losses::count_correct;
use fewshot_models::Pass;

/// Extracts the features of all images of `dataset` under the evaluation transform.
///
/// # Errors
/// If images cannot be read, or features are not finite.
pub fn extract_features(
    config: &Config,
    model: &Model,
    dataset: &Dataset,
    device: &Device,
) -> Result<FeatureBank, Error> {
    let model = model.frozen(config, device)?;
    let mut uploader = BatchUploader::new(config, device)?;
    bank(config, dataset, "features of", |batch| {
        let images = uploader.upload(batch)?.images;
        let features = model.backbone.forward(&images, Pass::Eval)?;
        Ok(features.flatten_all()?.to_vec1()?)
    })
}

/// Extracts the features of all images of `dataset` as heads are to see them: each element to the power
/// of `test.power`, less the feature `mean` of base images, for support images averaged over
/// `test.crops`. By default they are those of [`extract_features`].
///
/// # Errors
/// If images cannot be read, features are not finite, or `mean` is of other features.
pub fn episode_features(
    config: &Config,
    model: &Model,
    dataset: &Dataset,
    mean: Option<&[f32]>,
    device: &Device,
) -> Result<FeatureBank, Error> {
    let prepare = |features: &mut [f32], dim: usize| {
        raise(features, config.test.power);
        let Some(mean) = mean else { return Ok(()) };
        if mean.len() != dim {
            return Err(Error::Value {
                key: "test.center".to_owned(),
                got: format!("a mean of {} numbers", mean.len()),
                expected: format!("one of the features' {dim}"),
            });
        }
        for feature in features.chunks_exact_mut(dim) {
            feature.iter_mut().zip(mean).for_each(|(value, mean)| *value -= mean);
        }
        Ok(())
    };
    let is_plain = config.test.power == 1.0 && mean.is_none();
    let plain = extract_features(config, model, dataset, device)?;
    let Some(crops) = config.test.crops else {
        return if is_plain { Ok(plain) } else { with(plain, prepare) };
    };
    let mut cropped = crop_features(config, model, dataset, crops, device)?;
    let (dim, labels) = (plain.dim(), plain.labels().to_vec());
    prepare(&mut cropped, dim)?;
    if crops.of_queries {
        return Ok(FeatureBank::new(cropped, dim, labels)?);
    }
    Ok(with(plain, prepare)?.with_support_features(cropped)?)
}

/// Returns the mean feature of the configuration's base images, each element to the power of
/// `test.power`, if `test.center` asks for it.
///
/// # Errors
/// Base images that cannot be read, or are not there.
pub fn feature_mean(
    config: &Config,
    model: &Model,
    device: &Device,
) -> Result<Option<Vec<f32>>, Error> {
    if !config.test.center {
        return Ok(None);
    }
    let base = open_split(&config.dataset.base)?;
    let bank = extract_features(config, model, &base, device)?;
    let mut sums = vec![0.0; bank.dim()];
    for image in 0..bank.len() {
        let mut feature = bank.feature(image).to_vec();
        raise(&mut feature, config.test.power);
        sums.iter_mut().zip(feature).for_each(|(sum, value)| *sum += f64::from(value));
    }
    Ok(Some(sums.into_iter().map(|sum| (sum / bank.len() as f64) as f32).collect()))
}

/// Changes all features of a bank.
fn with(
    bank: FeatureBank,
    change: impl FnOnce(&mut [f32], usize) -> Result<(), Error>,
) -> Result<FeatureBank, Error> {
    let (dim, labels) = (bank.dim(), bank.labels().to_vec());
    let mut features: Vec<f32> =
        (0..bank.len()).flat_map(|image| bank.feature(image)).copied().collect();
    change(&mut features, dim)?;
    Ok(FeatureBank::new(features, dim, labels)?)
}

/// Raises numbers to a power, with their signs kept.
fn raise(features: &mut [f32], power: f64) {
    if power != 1.0 {
        let raised = |value: f32| value.abs().powf(power as f32).copysign(value);
        features.iter_mut().for_each(|value| *value = raised(*value));
    }
}

/// Returns features `[N, D]` that are averaged over random crops of each image, of those images that
/// are not skipped as broken.
fn crop_features(
    config: &Config,
    model: &Model,
    dataset: &Dataset,
    crops: Crops,
    device: &Device,
) -> Result<Vec<f32>, Error> {
    let loader = open_crop_loader(config, dataset.clone(), crops)?;
    let model = model.frozen(config, device)?;
    let mut uploader = BatchUploader::new(config, device)?;
    let title = format!("{} crops of {}", crops.count, dataset.name());
    let mut averaged = Vec::new();
    each_batch(&loader, &title, |mut batch| {
        let views = batch.labels.iter().flat_map(|&label| vec![label; crops.count]);
        batch.labels = views.collect();
        let images = uploader.upload(batch)?.images;
        let features = model.backbone.forward(&images, Pass::Eval)?;
        let (rows, dim) = features.dims2()?;
        let features = features.reshape((rows / crops.count, crops.count, dim))?.mean(1)?;
        averaged.extend(features.flatten_all()?.to_vec1::<f32>()?);
        Ok(())
    })?;
    Ok(averaged)
}

/// Passes the batches of a loader on, under a progress bar.
fn each_batch(
    loader: &Loader,
    title: &str,
    mut take: impl FnMut(Batch) -> Result<(), Error>,
) -> Result<(), Error> {
    let progress = Progress::new(title.to_owned(), loader.len(), "images");
    for batch in loader.epoch(0) {
        let batch = batch?;
        let count = batch.labels.len();
        take(batch)?;
        progress.advance(count, String::new);
    }
    Ok(())
}

/// Returns the normalized pixels of all images in place of features, for a baseline that learns
/// nothing.
///
/// # Errors
/// If images cannot be read.
pub fn pixels(config: &Config, dataset: &Dataset) -> Result<FeatureBank, Error> {
    bank(config, dataset, "pixels of", |batch| Ok(batch.images))
}

/// Collects the results `[B, D]`, row-major, of `features` for each batch.
fn bank(
    config: &Config,
    dataset: &Dataset,
    title: &str,
    mut features: impl FnMut(Batch) -> Result<Vec<f32>, Error>,
) -> Result<FeatureBank, Error> {
    let loader = open_loader(config, dataset.clone(), false)?;
    let (mut all, mut labels) = (Vec::new(), Vec::new());
    each_batch(&loader, &format!("{title} {}", dataset.name()), |batch| {
        labels.extend_from_slice(&batch.labels);
        all.extend(features(batch)?);
        Ok(())
    })?;
    if labels.is_empty() {
        return Err(Error::all_skipped(dataset));
    }
    let dim = all.len() / labels.len();
    Ok(FeatureBank::new(all, dim, labels)?)
}

/// Accuracy of a model's own classifier on images of base classes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BaseAccuracy {
    /// Accuracy in percent.
    pub percent: f64,
    /// Number of images that were skipped as broken.
    pub skipped: usize,
}

/// Returns the accuracy of the model's own classifier on images of base classes.
/// With `augmented`, images pass through the training transform, as in the published report.
///
/// # Errors
/// If images cannot be read, or all are skipped as broken.
pub fn base_accuracy(
    config: &Config,
    model: &Model,
    dataset: &Dataset,
    device: &Device,
    augmented: bool,
) -> Result<BaseAccuracy, Error> {
    let model = model.frozen(config, device)?;
    let loader = open_loader(config, dataset.clone(), augmented)?;
    let mut uploader = BatchUploader::new(config, device)?;
    let title = format!("base accuracy on {}", dataset.name());
    let progress = Progress::new(title, loader.len(), "images");
    // Counts are read at the end, so that batches do not wait for a GPU.
    let (mut counts, mut seen) = (Vec::new(), 0);
    // An epoch that training does not reach, so that its images are augmented differently.
    for batch in loader.epoch(u64::MAX) {
        let DeviceBatch { images, labels } = uploader.upload(batch?)?;
        let features = model.backbone.forward(&images, Pass::Eval)?;
        counts.push(count_correct(&model.head()?.scores(&features)?, &labels)?);
        let count = labels.elem_count();
        seen += count;
        progress.advance(count, String::new);
    }
    if counts.is_empty() {
        return Err(Error::all_skipped(dataset));
    }
    let correct: u32 = Tensor::stack(&counts, 0)?.to_vec1()?.iter().sum();
    let percent = 100.0 * f64::from(correct) / seen as f64;
    Ok(BaseAccuracy { percent, skipped: dataset.len() - seen })
}
