//! Device, datasets, loaders and samplers, built by a configuration.

use candle_core::{DType, Device};
use fewshot_data::{
    Dataset, Loader, LoaderOptions, Replica, SourceSpec, TrainTransform, Transform,
};
use fewshot_episodes::{EpisodeShape, Sampler};

use crate::{Config, DeviceKind, Error, Precision, SplitConfig};

/// Opens the device that the configuration names.
///
/// # Errors
/// A device that this build does not support; a GPU that is absent or does not answer.
pub fn device(config: &Config) -> Result<Device, Error> {
    match config.device {
        DeviceKind::Cpu => Ok(Device::Cpu),
        #[cfg(feature = "cuda")]
        DeviceKind::Cuda(ordinal) => {
            fewshot_ops::cuda::allow_tf32(config.precision == Precision::Tf32);
            Ok(fewshot_ops::cuda::open(ordinal)?)
        }
        #[cfg(not(feature = "cuda"))]
        DeviceKind::Cuda(_) => Err(Error::Value {
            key: "device".to_owned(),
            got: config.device.to_string(),
            expected: "cpu (this build has no feature `cuda`: build with --features cuda)"
                .to_owned(),
        }),
    }
}

/// Returns the number type in which the network takes its images.
pub fn image_dtype(config: &Config) -> DType {
    if config.precision == Precision::Bf16 { DType::BF16 } else { DType::F32 }
}

/// Opens the images of one split.
///
/// # Errors
/// [`Error::NoDataset`], or whatever is wrong with the data.
pub fn open_split(split: &SplitConfig) -> Result<Dataset, Error> {
    let source = SourceSpec { root: split.resolve_root()?, ..split.source.clone() };
    Ok(source.open(split.split)?)
}

/// Opens the images of one split; returns none if the source has no such split.
///
/// # Errors
/// Those of [`open_split`], except that the split may be absent.
pub fn open_optional(split: &SplitConfig) -> Result<Option<Dataset>, Error> {
    match open_split(split) {
        Ok(dataset) => Ok(Some(dataset)),
        Err(Error::Data(
            fewshot_data::Error::NoSplit { .. } | fewshot_data::Error::EmptySplit { .. },
        )) => Ok(None),
        Err(e) => Err(e),
    }
}

/// Makes a loader of training batches (`is_training`: shuffled and augmented) or of evaluation
/// batches.
///
/// # Errors
/// A dataset without images.
pub fn open_loader(config: &Config, dataset: Dataset, is_training: bool) -> Result<Loader, Error> {
    open_replica_loader(config, dataset, is_training, Replica::default())
}

/// Makes a loader like [`open_loader`]'s of the part of each batch that one of several processes
/// trains on.
///
/// # Errors
/// A dataset without images; a batch size that is no multiple of the number of processes.
pub fn open_replica_loader(
    config: &Config,
    dataset: Dataset,
    is_training: bool,
    replica: Replica,
) -> Result<Loader, Error> {
    let size = config.method.image_size;
    let transform = if is_training {
        let augment = config.augment;
        Transform::train(TrainTransform {
            area: (augment.min_area, 1.0),
            jitter: augment.jitter,
            flip: augment.flip,
            ..TrainTransform::new(size)
        })
    } else {
        Transform::eval(size)
    };
    let batch_size = if is_training { config.train.batch_size } else { config.test.batch_size };
    let options = LoaderOptions {
        batch_size,
        replica,
        shuffle: is_training,
        seed: config.seed,
        on_broken: config.loader.on_broken,
        prefetch_bytes: config.loader.prefetch_bytes,
        threads: config.loader.threads,
    };
    Ok(Loader::new(dataset, transform, options)?)
}

/// Makes the sampler of a split's episodes, of [`test.seed`](crate::Test::seed).
///
/// # Errors
/// Too few classes or images for `way`, `shot` and `query`.
pub fn sampler(config: &Config, labels: &[u32], shot: usize) -> Result<Sampler, Error> {
    let shape = EpisodeShape { way: config.test.way, shot, query: config.test.query };
    Ok(Sampler::new(labels, shape, config.test.seed)?)
}
