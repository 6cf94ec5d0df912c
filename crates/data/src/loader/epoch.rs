//! The batches of an epoch.

use std::cell::Cell;
use std::iter::FusedIterator;
use std::ops::Range;
use std::sync::Arc;

use fewshot_seed::stream;

use super::pipeline::{FilledBatch, Pipeline, Plan};
use super::{Loader, OnBroken};
use crate::{Dataset, Error};

/// Most bytes of a pixel buffer that is kept for the next image.
const MAX_BUFFER: usize = 16 << 20;

thread_local! {
    /// The pixel buffer of the last image, reused for the next: the system would have to clear new
    /// pages for each.
    static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Transformed images with their labels.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// Normalized samples, row-major `[len, 3, size, size]`; `[len, views, 3, size, size]` where a loader
    /// gives several views of each image.
    pub images: Vec<f32>,
    /// Side of the images, in pixels.
    pub size: usize,
    /// The class of each image, `[len]`.
    pub labels: Vec<u32>,
    /// The index of each image in the dataset, `[len]`.
    pub indices: Vec<usize>,
}

/// The batches of one epoch, in order. Ends after the first error.
pub struct Epoch {
    dataset: Dataset,
    order: Arc<Vec<usize>>,
    size: usize,
    on_broken: OnBroken,
    batches: usize,
    skipped: usize,
    /// Nothing at the end, so that the workers stop.
    pipeline: Option<Pipeline>,
    /// Why the workers could not be started, if they could not.
    start_error: Option<Error>,
}

impl Epoch {
    pub(super) fn start(loader: &Loader, epoch: u64, order: Vec<usize>) -> Self {
        let order = Arc::new(order);
        let started = Pipeline::start(plan(loader, order.len()), loader.threads, {
            let (dataset, order) = (loader.dataset.clone(), Arc::clone(&order));
            let (transform, seed) = (loader.transform.clone(), loader.options.seed);
            let (views, preprocessing) = (loader.options.views, loader.options.preprocessing);
            move |position, samples: &mut [f32]| {
                let index = order[position];
                let mut rng = stream(seed, "augment", &[epoch, index as u64]);
                let choose = |width, height| {
                    let views: Vec<_> =
                        (0..views).map(|_| transform.draw(width, height, &mut rng)).collect();
                    let bottom = views.iter().map(|params| params.crop.bottom()).max();
                    (bottom.unwrap_or(height), views)
                };
                let (image, params, _share) = dataset.load_rows(index, BUFFER.take(), choose)?;
                let size = samples.len() / views;
                for (params, samples) in params.iter().zip(samples.chunks_exact_mut(size)) {
                    preprocessing.normalize_into(&transform.apply_with(&image, params)?, samples);
                }
                let pixels = image.into_raw();
                if pixels.capacity() <= MAX_BUFFER {
                    BUFFER.set(pixels);
                }
                Ok(())
            }
        });
        let (pipeline, start_error) = match started {
            Ok(pipeline) => (Some(pipeline), None),
            Err(error) => (None, Some(error)),
        };
        Self {
            dataset: loader.dataset.clone(),
            order,
            size: loader.transform.size(),
            on_broken: loader.options.on_broken,
            batches: 0,
            skipped: 0,
            pipeline,
            start_error,
        }
    }

    /// Returns the number of images skipped as broken in the [`batches`](Self::batches) so far.
    pub fn skipped(&self) -> usize {
        self.skipped
    }

    /// Returns the number of batches so far, those included that are not given because all of their
    /// images are broken: where [`Loader::epoch_from`] goes on.
    pub fn batches(&self) -> usize {
        self.batches
    }

    fn next_batch(&mut self) -> Result<Option<Batch>, Error> {
        if let Some(error) = self.start_error.take() {
            return Err(error);
        }
        let Some(pipeline) = &mut self.pipeline else {
            return Ok(None);
        };
        while let Some(done) = pipeline.next()? {
            let FilledBatch { items, samples, failures } = done;
            let mut broken = Vec::with_capacity(failures.len());
            for (position, error) in failures {
                let skip = self.on_broken == OnBroken::Skip;
                if !(skip && matches!(error, Error::Image { .. })) {
                    return Err(error);
                }
                broken.push(position);
            }
            self.batches += 1;
            self.skipped += broken.len();
            if broken.len() < items.len() {
                return Ok(Some(self.gather(items, samples, &broken)));
            }
        }
        Ok(None)
    }

    /// Returns a batch of the items that are not broken.
    fn gather(&self, items: Range<usize>, mut samples: Vec<f32>, broken: &[usize]) -> Batch {
        let row = samples.len() / items.len().max(1);
        let first = items.start;
        let whole: Vec<_> = items.filter(|position| !broken.contains(position)).collect();
        for (to, position) in whole.iter().enumerate() {
            let from = (position - first) * row;
            if from != to * row {
                samples.copy_within(from..from + row, to * row);
            }
        }
        samples.truncate(whole.len() * row);
        let indices: Vec<_> = whole.iter().map(|&position| self.order[position]).collect();
        Batch {
            images: samples,
            size: self.size,
            labels: indices.iter().map(|&index| self.dataset.labels()[index]).collect(),
            indices,
        }
    }
}

impl Iterator for Epoch {
    type Item = Result<Batch, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.next_batch().transpose();
        if !matches!(next, Some(Ok(_))) {
            self.pipeline = None;
        }
        next
    }
}

impl FusedIterator for Epoch {}

fn plan(loader: &Loader, items: usize) -> Plan {
    let samples = 3 * loader.transform.size().pow(2) * loader.options.views;
    let batch_size = loader.batch_size().min(loader.len());
    let batch_bytes = batch_size * samples * size_of::<f32>();
    Plan { items, batch_size, samples, ahead: (loader.options.prefetch_bytes / batch_bytes).max(1) }
}
