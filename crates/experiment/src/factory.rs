//! Device, datasets, loaders and samplers, built by a configuration.

use std::collections::BTreeSet;
use std::io::Write;
use std::sync::{Mutex, PoisonError};

use candle_core::{DType, Device};
use fewshot_data::{
    Dataset, Loader, LoaderOptions, Replica, SourceSpec, TrainTransform, Transform,
};
use fewshot_episodes::{EpisodeShape, Sampler};

use crate::{Config, Crops, DeviceKind, Error, Precision, SplitConfig};

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
    let dataset = source.open(split.split)?;
    dataset.notes().iter().for_each(|note| self::note(note));
    Ok(dataset)
}

/// Tells the user something on standard error, unless it has been told before: several splits of a
/// source have the same notes.
pub fn note(note: &str) {
    static SAID: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    let mut said = SAID.lock().unwrap_or_else(PoisonError::into_inner);
    if said.insert(note.to_owned()) {
        // Without standard error there is nobody to tell.
        let _ = writeln!(std::io::stderr(), "note: {note}");
    }
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
        Transform::eval_for(size, config.method.preprocessing)
    };
    let batch_size = if is_training { config.train.batch_size } else { config.test.batch_size };
    let options = LoaderOptions {
        batch_size,
        replica,
        shuffle: is_training,
        seed: config.seed,
        views: 1,
        preprocessing: config.method.preprocessing,
        on_broken: config.loader.on_broken,
        prefetch_bytes: config.loader.prefetch_bytes,
        threads: config.loader.threads,
    };
    Ok(Loader::new(dataset, transform, options)?)
}

/// Makes a loader of random crops of each image, for features that are averaged over them: a batch has
/// that many views of an image.
///
/// # Errors
/// A dataset without images.
pub fn open_crop_loader(config: &Config, dataset: Dataset, crops: Crops) -> Result<Loader, Error> {
    let transform = Transform::train(TrainTransform {
        area: (crops.min_area, 1.0),
        jitter: 0.0,
        flip: config.augment.flip,
        ..TrainTransform::new(config.method.image_size)
    });
    let options = LoaderOptions {
        // As many images at once for the network as whole ones.
        batch_size: (config.test.batch_size / crops.count).max(1),
        seed: config.test.seed,
        views: crops.count,
        preprocessing: config.method.preprocessing,
        on_broken: config.loader.on_broken,
        prefetch_bytes: config.loader.prefetch_bytes,
        threads: config.loader.threads,
        ..LoaderOptions::default()
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

/// Checks that episodes of [`sampler`] can be drawn of a dataset.
///
/// # Errors
/// As [`sampler`], naming the split, the class, and the settings that need less.
pub fn check_episodes(config: &Config, dataset: &Dataset, shot: usize) -> Result<(), Error> {
    let error = match sampler(config, dataset.labels(), shot) {
        Ok(_) => return Ok(()),
        Err(Error::Episodes(error)) => error,
        Err(error) => return Err(error),
    };
    let reason = match error {
        fewshot_episodes::Error::TooFewImages { class, images, shot, query } => {
            let first = dataset.labels().iter().position(|label| *label == class);
            let first = dataset.image_name(first.unwrap_or_default());
            format!(
                "class `{}` ({}) has {images} images, but an episode of {shot} shots and {query} queries \
                 needs {} of each class; add images, or lower test.query (--query) or test.shots \
                 (--shots)",
                dataset.class_names()[class as usize],
                first.rsplit_once('/').map_or(&*first, |(folder, _)| folder),
                shot.saturating_add(query)
            )
        }
        fewshot_episodes::Error::TooFewClasses { way, classes } => format!(
            "a {way}-way episode needs {way} classes, but this split has {classes}; add classes, or lower \
             test.way (--way {classes})"
        ),
        other => return Err(other.into()),
    };
    let notes: String = dataset.notes().iter().map(|note| format!("\nnote: {note}")).collect();
    Err(Error::TooFew { split: dataset.name().to_owned(), reason: reason + &notes })
}
