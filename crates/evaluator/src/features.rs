//! Features of images, and accuracy on base classes.

use candle_core::{Device, Tensor};
use fewshot_data::{Batch, Dataset};
use fewshot_episodes::FeatureBank;
use fewshot_experiment::{BatchUploader, Config, DeviceBatch, Error, Model, Progress, open_loader};
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
    let progress = Progress::new(format!("{title} {}", dataset.name()), loader.len(), "images");
    let (mut all, mut labels) = (Vec::new(), Vec::new());
    for batch in loader.epoch(0) {
        let batch = batch?;
        labels.extend_from_slice(&batch.labels);
        let count = batch.labels.len();
        all.extend(features(batch)?);
        progress.advance(count, String::new);
    }
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
