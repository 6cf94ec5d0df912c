//! The loader: images decoded and transformed on worker threads, in batches in a fixed order.

mod epoch;
mod pipeline;

use std::thread;

use fewshot_seed::stream;
use rand::seq::SliceRandom;

pub use self::epoch::{Batch, Epoch};
use crate::{AugmentParams, Dataset, Error, Preprocessing, Transform};

/// What to do about an image that cannot be decoded.
///
/// Parsed from its name in configurations: `error` or `skip`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, strum::EnumString, strum::VariantNames)]
#[strum(serialize_all = "lowercase")]
pub enum OnBroken {
    /// End the epoch with the error, which names the image.
    #[default]
    Error,
    /// Omit it from its batch and count it.
    Skip,
}

/// Options of a [`Loader`].
#[derive(Clone, Debug)]
pub struct LoaderOptions {
    /// Number of images of a batch, of all replicas together; the last of an epoch may have fewer.
    pub batch_size: usize,
    /// Which part of each batch this loader gives.
    pub replica: Replica,
    /// Whether each epoch is shuffled, rather than in the dataset's order.
    pub shuffle: bool,
    /// Seed of the order and of the random transforms.
    pub seed: u64,
    /// Number of times that each image is transformed, at least 1; it is decoded once.
    pub views: usize,
    /// What images are normalized by. How they are resized is up to the transform.
    pub preprocessing: Preprocessing,
    /// What to do about an image that cannot be decoded.
    pub on_broken: OnBroken,
    /// How far to work ahead: most bytes of batches that are in progress or waiting. One batch is
    /// always allowed.
    pub prefetch_bytes: usize,
    /// Number of worker threads; by default, the number of cores.
    pub threads: Option<usize>,
}

impl Default for LoaderOptions {
    fn default() -> Self {
        Self {
            batch_size: 256,
            replica: Replica::default(),
            shuffle: false,
            seed: 0,
            views: 1,
            preprocessing: Preprocessing::Published,
            on_broken: OnBroken::Error,
            prefetch_bytes: 256 << 20,
            threads: None,
        }
    }
}

/// One of several equal parts of each batch, for one of several processes of a training.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replica {
    /// Number of the part, from 0.
    pub rank: usize,
    /// Number of parts, which has to divide the batch size. The last few images of an epoch are
    /// omitted if it does not divide their number, so that all parts have as many batches.
    pub world_size: usize,
}

impl Default for Replica {
    fn default() -> Self {
        Self { rank: 0, world_size: 1 }
    }
}

/// The plan of a batch whose images are decoded already, in a GPU's memory, say: which images it
/// has, and how each is augmented.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BatchPlan {
    /// The index of each image in the dataset, `[len]`.
    pub indices: Vec<usize>,
    /// The class of each image, `[len]`.
    pub labels: Vec<u32>,
    /// Parameters of each image's transform, `[len]`.
    pub params: Vec<AugmentParams>,
    /// Number of images of the batch that were skipped as broken.
    pub skipped: usize,
}

/// Gives the batches of any epoch of a dataset.
///
/// They depend on the dataset, the transform, the seed and the epoch alone: the order is
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
    /// Makes a loader after checking its options.
    ///
    /// # Errors
    /// [`Error::Parameter`] where there is no image, no thread, an empty or too large batch, a
    /// replica that does not exist, or where [`Transform::check`] fails.
    pub fn new(
        dataset: Dataset,
        transform: Transform,
        options: LoaderOptions,
    ) -> Result<Self, Error> {
        transform.check()?;
        if dataset.is_empty() {
            return Err(Error::parameter("number of images", 0, "at least 1"));
        }
        if options.views == 0 {
            return Err(Error::parameter("views", 0, "at least 1"));
        }
        let image_samples = (3 * transform.size().pow(2)).saturating_mul(options.views);
        let batch_bytes = image_samples
            .checked_mul(size_of::<f32>())
            .and_then(|bytes| bytes.checked_mul(options.batch_size.min(dataset.len())));
        if options.batch_size == 0 || batch_bytes.is_none_or(|bytes| bytes > isize::MAX as usize) {
            let expected = "at least 1 and no more than fits into memory";
            return Err(Error::parameter("batch size", options.batch_size, expected));
        }
        let Replica { rank, world_size } = options.replica;
        if rank >= world_size
            || !options.batch_size.is_multiple_of(world_size)
            || dataset.len() < world_size
        {
            let got = format!("{rank} of {world_size}");
            let expected = "a rank below a world size that divides the batch size and is at most \
                            the number of images";
            return Err(Error::parameter("replica", got, expected));
        }
        let threads = match options.threads {
            None => thread::available_parallelism().map_or(1, usize::from),
            Some(threads @ 1..=1024) => threads,
            Some(threads) => return Err(Error::parameter("loader threads", threads, "1 to 1024")),
        };
        Ok(Self { dataset, transform, options, threads })
    }

    /// Returns the images.
    pub fn dataset(&self) -> &Dataset {
        &self.dataset
    }

    /// Returns the number of images of an epoch, of this replica.
    pub fn len(&self) -> usize {
        self.dataset.len() / self.options.replica.world_size
    }

    /// Returns the number of images of this replica's part of a batch.
    fn batch_size(&self) -> usize {
        self.options.batch_size / self.options.replica.world_size
    }

    /// Always false: a loader has at least one image.
    pub fn is_empty(&self) -> bool {
        self.dataset.is_empty()
    }

    /// Returns the number of batches of an epoch if no image is skipped.
    pub fn batches_per_epoch(&self) -> usize {
        self.len().div_ceil(self.batch_size())
    }

    /// Starts worker threads on an epoch's batches. Dropping the iterator stops them.
    pub fn epoch(&self, epoch: u64) -> Epoch {
        self.epoch_from(epoch, 0)
    }

    /// As [`epoch`](Self::epoch), without the first `batches` batches, which are not decoded: where
    /// a training that was interrupted within an epoch goes on.
    pub fn epoch_from(&self, epoch: u64, batches: usize) -> Epoch {
        Epoch::start(self, epoch, self.order(epoch, batches))
    }

    /// Plans the batches of [`epoch_from`](Self::epoch_from) for images that are decoded already:
    /// the same images with the same transforms. `size` gives an image's width and height; images
    /// for which it gives none are skipped, as broken ones are.
    pub fn plan_epoch_from(
        &self,
        epoch: u64,
        batches: usize,
        size: impl Fn(usize) -> Option<(u32, u32)>,
    ) -> impl Iterator<Item = BatchPlan> {
        let order = self.order(epoch, batches);
        let batches: Vec<_> = order.chunks(self.batch_size()).map(<[_]>::to_vec).collect();
        batches.into_iter().map(move |whole| {
            let mut batch = BatchPlan::default();
            for index in whole {
                let Some((width, height)) = size(index) else {
                    batch.skipped += 1;
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

    /// Returns the images of an epoch in order, without those of its first `batches` batches.
    fn order(&self, epoch: u64, batches: usize) -> Vec<usize> {
        let mut order: Vec<_> = (0..self.dataset.len()).collect();
        if self.options.shuffle {
            order.shuffle(&mut stream(self.options.seed, "shuffle", &[epoch]));
        }
        let Replica { rank, world_size } = self.options.replica;
        if world_size > 1 {
            order.truncate(self.len() * world_size);
            let part = |batch: &[usize]| {
                let len = batch.len() / world_size;
                batch[rank * len..][..len].to_vec()
            };
            order = order.chunks(self.options.batch_size).flat_map(part).collect();
        }
        order.drain(..order.len().min(batches.saturating_mul(self.batch_size())));
        order
    }
}
