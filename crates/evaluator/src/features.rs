//! From images to features.

use candle_core::{Device, Tensor};
use fewshot_data::{Batch, Dataset};
use fewshot_episodes::FeatureBank;
use fewshot_experiment::{BatchUploader, Config, DeviceBatch, Error, Model, Progress, open_loader};
use fewshot_losses::count_correct;
use fewshot_models::Pass;

/// Features of all images of `dataset` under the evaluation transform.
///
/// # Errors
/// Images that cannot be read, or features that are not finite.
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

/// The images' own normalized pixels in place of features: what a classifier reaches that
/// has learnt nothing.
///
/// # Errors
/// Images that cannot be read.
pub fn pixels(config: &Config, dataset: &Dataset) -> Result<FeatureBank, Error> {
    bank(config, dataset, "pixels of", |batch| Ok(batch.images))
}

/// Collects what `features` makes of each batch, `[B, D]` row-major.
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
    let dim = all.len() / labels.len().max(1);
    Ok(FeatureBank::new(all, dim, labels)?)
}

/// Share of images of base classes that the model's own classifier gets right, in percent.
/// With `varied` images go through the training transform, as in the published report.
///
/// # Errors
/// Images that cannot be read.
pub fn base_accuracy(
    config: &Config,
    model: &Model,
    dataset: &Dataset,
    device: &Device,
    varied: bool,
) -> Result<f64, Error> {
    let model = model.frozen(config, device)?;
    let loader = open_loader(config, dataset.clone(), varied)?;
    let mut uploader = BatchUploader::new(config, device)?;
    let title = format!("base accuracy on {}", dataset.name());
    let progress = Progress::new(title, loader.len(), "images");
    // Read in the end: a GPU is not waited for between batches.
    let (mut right, mut seen) = (Vec::new(), 0);
    // An epoch that training does not reach, so that its images are varied anew.
    for batch in loader.epoch(u64::MAX) {
        let DeviceBatch { images, labels } = uploader.upload(batch?)?;
        let features = model.backbone.forward(&images, Pass::Eval)?;
        right.push(count_correct(&model.head.scores(&features)?, &labels)?);
        let count = labels.elem_count();
        seen += count;
        progress.advance(count, String::new);
    }
    if right.is_empty() {
        return Ok(0.0);
    }
    let correct: u32 = Tensor::stack(&right, 0)?.to_vec1()?.iter().sum();
    Ok(100.0 * f64::from(correct) / seen as f64)
}
