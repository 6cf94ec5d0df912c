//! Decodes and transforms on worker threads; hands out batches in order.

mod epoch;
mod pipeline;

use std::thread;

use fewshot_seed::stream;
use rand::seq::SliceRandom;

pub use self::epoch::{Batch, Epoch};
use crate::{AugmentParams, Dataset, Error, Transform};

/// What to do about an image that cannot be decoded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnBroken {
    /// End the epoch with the error, which names the image.
    #[default]
    Error,
    /// Leave it out of its batch and count it.
    Skip,
}

/// How a [`Loader`] makes batches.
#[derive(Clone, Debug)]
pub struct LoaderOptions {
    /// Images of a batch, of all replicas together; the last of an epoch may have fewer.
    pub batch_size: usize,
    /// The part of each batch that this loader gives.
    pub replica: Replica,
    /// Whether each epoch has an order of its own, rather than the dataset's.
    pub shuffle: bool,
    /// The seed of the order and of the transform's draws.
    pub seed: u64,
    /// What to do about an image that cannot be decoded.
    pub on_broken: OnBroken,
    /// How far to work ahead: bytes of the batches that are begun or waiting, of which one
    /// is always allowed.
    pub prefetch_bytes: usize,
    /// Worker threads; as many as there are cores where not given.
    pub threads: Option<usize>,
}

impl Default for LoaderOptions {
    fn default() -> Self {
        Self {
            batch_size: 256,
            replica: Replica::default(),
            shuffle: false,
            seed: 0,
            on_broken: OnBroken::Error,
            prefetch_bytes: 256 << 20,
            threads: None,
        }
    }
}

/// One of several equal parts of each batch, for one of several processes that train together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replica {
    /// Which part, from 0.
    pub rank: usize,
    /// Of how many. The batch size must be a multiple of it; of an epoch whose images are none,
    /// the last few are left out, so that all parts have equally many batches.
    pub world_size: usize,
}

impl Default for Replica {
    fn default() -> Self {
        Self { rank: 0, world_size: 1 }
    }
}

/// A batch of images that are kept elsewhere: which, and how they are to be varied.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DrawnBatch {
    /// The index of each image in the dataset, `[len]`.
    pub indices: Vec<usize>,
    /// The class of each image, `[len]`.
    pub labels: Vec<u32>,
    /// What is to be done to each image before it is normalized, `[len]`.
    pub params: Vec<AugmentParams>,
    /// Images that belonged to the batch, but are not there.
    pub left_out: usize,
}

/// Gives the batches of any epoch of a dataset.
///
/// They are a function of the dataset, the transform, the seed and the epoch: the order is
/// drawn from the stream `("shuffle", [epoch])`, the transform of an image from
/// `("augment", [epoch, image index])`.
#[derive(Clone, Debug)]
pub struct Loader {
    dataset: Dataset,
    transform: Transform,
    options: LoaderOptions,
    threads: usize,
}

impl Loader {
    /// Checks the options.
    ///
    /// # Errors
    /// [`Error::Parameter`] where there is no image, no thread, an empty or impossibly
    /// large batch, or where [`Transform::check`] fails.
    pub fn new(
        dataset: Dataset,
        transform: Transform,
        options: LoaderOptions,
    ) -> Result<Self, Error> {
        transform.check()?;
        if dataset.is_empty() {
            return Err(Error::parameter("number of images", 0, "at least 1"));
        }
        let image_samples = 3 * transform.size().pow(2);
        let batch_bytes = image_samples
            .checked_mul(size_of::<f32>())
            .and_then(|bytes| bytes.checked_mul(options.batch_size.min(dataset.len())));
        if options.batch_size == 0 || batch_bytes.is_none_or(|bytes| bytes > isize::MAX as usize) {
            let expected = "at least 1 and no more than fits into memory";
            return Err(Error::parameter("batch size", options.batch_size, expected));
        }
        let Replica { rank: index, world_size: count } = options.replica;
        if index >= count || !options.batch_size.is_multiple_of(count) || dataset.len() < count {
            let got = format!("{index} of {count}");
            let expected = "one of as many as divide the batch size, and not more than images";
            return Err(Error::parameter("replica", got, expected));
        }
        let threads = match options.threads {
            None => thread::available_parallelism().map_or(1, usize::from),
            Some(threads @ 1..=1024) => threads,
            Some(threads) => return Err(Error::parameter("loader threads", threads, "1 to 1024")),
        };
        Ok(Self { dataset, transform, options, threads })
    }

    /// The images.
    pub fn dataset(&self) -> &Dataset {
        &self.dataset
    }

    /// Number of images of an epoch, of this replica.
    pub fn len(&self) -> usize {
        self.dataset.len() / self.options.replica.world_size
    }

    /// Images of this replica's part of a batch.
    fn batch_size(&self) -> usize {
        self.options.batch_size / self.options.replica.world_size
    }

    /// Always false: a loader has at least one image.
    pub fn is_empty(&self) -> bool {
        self.dataset.is_empty()
    }

    /// Number of batches of an epoch, where no image is skipped.
    pub fn batches_per_epoch(&self) -> usize {
        self.len().div_ceil(self.batch_size())
    }

    /// Starts the workers on an epoch's batches. Dropping the iterator stops them.
    pub fn epoch(&self, epoch: u64) -> Epoch {
        self.epoch_from(epoch, 0)
    }

    /// The same without its first `batches` batches, which are not even decoded: what a
    /// training that was interrupted within an epoch goes on with.
    pub fn epoch_from(&self, epoch: u64, batches: usize) -> Epoch {
        Epoch::start(self, epoch, self.order(epoch, batches))
    }

    /// The batches of [`epoch_from`](Self::epoch_from) for images that are kept elsewhere:
    /// which images, and how each is to be varied. `size` gives an image's width and height;
    /// images that it has none of are left out, as broken ones are.
    pub fn draw_epoch_from(
        &self,
        epoch: u64,
        batches: usize,
        size: impl Fn(usize) -> Option<(u32, u32)>,
    ) -> impl Iterator<Item = DrawnBatch> {
        let order = self.order(epoch, batches);
        let batches: Vec<_> = order.chunks(self.batch_size()).map(<[_]>::to_vec).collect();
        batches.into_iter().map(move |whole| {
            let mut batch = DrawnBatch::default();
            for index in whole {
                let Some((width, height)) = size(index) else {
                    batch.left_out += 1;
                    continue;
                };
                let mut rng = stream(self.options.seed, "augment", &[epoch, index as u64]);
                batch.indices.push(index);
                batch.labels.push(self.dataset.labels()[index]);
                batch.params.push(self.transform.draw(width, height, &mut rng));
            }
            batch
        })
    }

    /// The images of an epoch in order, without those of its first `batches` batches.
    fn order(&self, epoch: u64, batches: usize) -> Vec<usize> {
        let mut order: Vec<_> = (0..self.dataset.len()).collect();
        if self.options.shuffle {
            order.shuffle(&mut stream(self.options.seed, "shuffle", &[epoch]));
        }
        let Replica { rank: index, world_size: count } = self.options.replica;
        if count > 1 {
            order.truncate(self.len() * count);
            let part = |batch: &[usize]| {
                let part = batch.len() / count;
                batch[index * part..][..part].to_vec()
            };
            order = order.chunks(self.options.batch_size).flat_map(part).collect();
        }
        order.drain(..order.len().min(batches.saturating_mul(self.batch_size())));
        order
    }
}
