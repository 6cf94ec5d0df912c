use std::io;
use std::path::PathBuf;

use crate::{SourceKind, Split};

/// Why a dataset, an image or a batch could not be had. Each message names the file, the
/// value that was found and, where there is one, the remedy.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused.
    #[error("{}: {source}", path.display())]
    Io {
        /// What was being opened or read.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The root of a source is of a kind that cannot be read.
    #[error("{}: {found}; expected {expected}", path.display())]
    Root {
        /// The root.
        path: PathBuf,
        /// What lies there.
        found: &'static str,
        /// What may lie there.
        expected: &'static str,
    },
    /// The source has no such split, complete or not.
    #[error("{}: no `{split}` split in this {kind} source; {remedy}", root.display())]
    NoSplit {
        /// The root of the source.
        root: PathBuf,
        /// The kind of source.
        kind: SourceKind,
        /// The split asked for.
        split: Split,
        /// What would supply it.
        remedy: String,
    },
    /// The split is known, but not one of its images is there.
    #[error("{}: the `{split}` split of this {kind} source has no image at all; add its images", root.display())]
    EmptySplit {
        /// The root of the source.
        root: PathBuf,
        /// The kind of source.
        kind: SourceKind,
        /// The split asked for.
        split: Split,
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
        /// How many are absent.
        missing: usize,
        /// How many the list names.
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
        /// Classes without an image.
        missing_classes: usize,
        /// Published number of classes.
        classes: usize,
        /// Images that are not there.
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
        /// Its images.
        images: usize,
        /// How many are to be held out of every base class.
        hold_out: usize,
    },
    /// A pack was made of a partial dataset, or images were left out of it.
    #[error("{pack}: a partial pack: {lacks}; pack the whole or allow a partial dataset")]
    PartialPack {
        /// The pack's manifest.
        pack: String,
        /// What it says that it lacks.
        lacks: String,
    },
    /// Two files claim the same place.
    #[error("`{name}` is there twice: {first} and {second}; remove one")]
    Duplicate {
        /// The contested path or image.
        name: String,
        /// Where it was first.
        first: String,
        /// Where it was again.
        second: String,
    },
    /// An archive's entry is of a kind that is refused.
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
        /// Where it ends, in bytes of the file itself.
        offset: u64,
    },
    /// An archive cannot be understood.
    #[error("{}: not a readable archive: {reason}", archive.display())]
    Archive {
        /// The archive.
        archive: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Something is larger than is ever sensible.
    #[error("{what}: {value} is more than the limit of {limit}")]
    Limit {
        /// What was measured, with its file.
        what: String,
        /// What it measures.
        value: u64,
        /// The most that is accepted.
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
    #[error("{name} is {value}; expected {expected}")]
    Parameter {
        /// The parameter.
        name: &'static str,
        /// What was given.
        value: String,
        /// What is accepted.
        expected: &'static str,
    },
    /// A worker thread could not be started.
    #[error("cannot start a loader thread: {0}; lower the number of threads")]
    Thread(io::Error),
    /// A worker thread panicked. This is a defect of the program, not of the data.
    #[error("a loader thread panicked; its message stands above")]
    WorkerPanicked,
}

impl Error {
    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source }
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
        expected: &'static str,
    ) -> Self {
        Self::Parameter { name, value: format!("{value:?}"), expected }
    }
}
