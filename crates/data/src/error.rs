//! The errors of this crate.

use std::io;
use std::path::PathBuf;

use fewshot_images::{DecodeError, ParameterError};

use crate::Split;

/// Why a dataset, an image or a batch cannot be read. Each message names the file, the value
/// found and, where there is one, the remedy.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system reported an error.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The root of a source is of a kind that cannot be read.
    #[error("{}: {found}; expected {expected}", path.display())]
    Root {
        /// The root.
        path: PathBuf,
        /// What it is.
        found: &'static str,
        /// What it may be.
        expected: &'static str,
    },
    /// The source has no such split, complete or not.
    #[error("{origin}: no `{split}` split; {remedy}")]
    NoSplit {
        /// Root and kind of the source, or the name of a user's own source.
        origin: String,
        /// The split asked for.
        split: Split,
        /// What to supply for it.
        remedy: String,
    },
    /// The source has such a split, but none of its images is present.
    #[error("{origin}: the `{split}` split has no image at all{found}; add its images")]
    EmptySplit {
        /// Root and kind of the source, or the name of a user's own source.
        origin: String,
        /// The split asked for.
        split: Split,
        /// What was found instead, after a colon; or nothing.
        found: String,
    },
    /// A folder of a class has no image.
    #[error(
        "{folder}: a class without an image ({found}); add its images, remove the folder, or allow \
         a partial dataset"
    )]
    EmptyClass {
        /// The folder.
        folder: String,
        /// What is in it.
        found: String,
    },
    /// An image on disk is a link that leads nowhere, or no file.
    #[error(
        "{}: a link that leads nowhere, a pipe or a device ({count} of them in all); replace or \
         remove it, or allow a partial dataset", path.display()
    )]
    Unreadable {
        /// The first of them.
        path: PathBuf,
        /// Their number.
        count: usize,
    },
    /// A compressed archive cannot be unpacked to the folder for temporary files.
    #[error(
        "{}: {source}, where {} is unpacked to while it is read; make room there, name another \
         folder by TMPDIR, or unpack the archive", folder.display(), archive.display()
    )]
    NoRoom {
        /// The folder for temporary files.
        folder: PathBuf,
        /// The archive.
        archive: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// A list names images that are absent.
    #[error(
        "{list}: {missing} of its {listed} images are absent, the first is `{first}`; \
         add them or allow a partial dataset"
    )]
    MissingImages {
        /// The list.
        list: String,
        /// The first absent image, as the list names it.
        first: String,
        /// Number of absent images.
        missing: usize,
        /// Number of images that the list names.
        listed: usize,
    },
    /// A published dataset lacks classes or images.
    #[error(
        "{}: an incomplete copy: {missing_classes} of {classes} classes and {missing_images} of \
         {images} images are missing; complete it or allow a partial dataset", root.display()
    )]
    Incomplete {
        /// The root of the source.
        root: PathBuf,
        /// Number of classes without an image.
        missing_classes: usize,
        /// Published number of classes.
        classes: usize,
        /// Number of absent images.
        missing_images: usize,
        /// Published number of images.
        images: usize,
    },
    /// Holding out images would leave a base class without any to train on.
    #[error(
        "{}: base class `{class}` has {images} images, so that {hold_out} cannot be held out of it; \
         hold out fewer than {images}", root.display()
    )]
    HoldOut {
        /// The root of the source.
        root: PathBuf,
        /// The class.
        class: String,
        /// Number of its images.
        images: usize,
        /// Number of images to hold out of every base class.
        hold_out: usize,
    },
    /// A pack was made of a partial dataset, or without some of its images.
    #[error("{pack}: a partial pack: {lacks}; pack the whole or allow a partial dataset")]
    PartialPack {
        /// The pack's manifest.
        pack: String,
        /// What is missing from it, as the manifest says.
        lacks: String,
    },
    /// Two files have the same path or name.
    #[error("`{name}` is there twice: {first} and {second}; remove one")]
    Duplicate {
        /// The contested path or image.
        name: String,
        /// Where it was found first.
        first: String,
        /// Where it was found again.
        second: String,
    },
    /// An entry of an archive is refused.
    #[error("{}: entry `{entry}`: {reason}", archive.display())]
    Entry {
        /// The archive.
        archive: PathBuf,
        /// The entry's name.
        entry: String,
        /// Why it is refused, and what to do.
        reason: String,
    },
    /// An archive ends too early.
    #[error("{}: truncated, it ends at byte {offset}; fetch it again", archive.display())]
    Truncated {
        /// The archive.
        archive: PathBuf,
        /// Length of the file, in bytes.
        offset: u64,
    },
    /// An archive cannot be read.
    #[error("{}: not a readable archive: {reason}", archive.display())]
    Archive {
        /// The archive.
        archive: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A size is beyond its limit.
    #[error("{what}: {value} is more than the limit of {limit}")]
    Limit {
        /// The file and the size measured.
        what: String,
        /// The size found.
        value: u64,
        /// The largest size accepted.
        limit: u64,
    },
    /// An index file (CSV, JSON or text) is malformed.
    #[error("{file}: {reason}")]
    Index {
        /// The index file.
        file: String,
        /// What is wrong, and where.
        reason: String,
    },
    /// An image cannot be decoded.
    #[error("{image}: broken image: {reason}")]
    Image {
        /// The image.
        image: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A parameter is outside its range.
    #[error(transparent)]
    Parameter(#[from] ParameterError),
    /// A user's own source failed.
    #[error("{origin}: {source}")]
    Source {
        /// The source or image.
        origin: String,
        /// The source's error.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A worker thread could not be started.
    #[error("cannot start a loader thread: {0}; lower the number of threads")]
    Thread(io::Error),
    /// A worker thread panicked. This is a defect of the program, not of the data.
    #[error("a loader thread panicked; its message is above")]
    WorkerPanicked,
}

impl Error {
    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source }
    }

    pub(crate) fn decode(image: impl Into<String>, error: DecodeError) -> Self {
        Self::Image { image: image.into(), reason: error.reason }
    }

    pub(crate) fn image(image: impl Into<String>, reason: impl ToString) -> Self {
        Self::Image { image: image.into(), reason: reason.to_string() }
    }

    pub(crate) fn index(file: impl Into<String>, reason: impl ToString) -> Self {
        Self::Index { file: file.into(), reason: reason.to_string() }
    }

    pub(crate) fn parameter(
        name: &'static str,
        value: impl std::fmt::Debug,
        expected: impl Into<String>,
    ) -> Self {
        Self::Parameter(ParameterError::new(name, value, expected))
    }
}
