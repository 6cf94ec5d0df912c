//! Errors.

use thiserror::Error;

/// An error in sampling, adaptation or evaluation of episodes.
#[derive(Clone, Debug, PartialEq, Error)]
#[non_exhaustive]
pub enum Error {
    /// The lengths of two inputs do not fit each other.
    #[error("{what}: expected {expected} values, got {got}")]
    Length {
        /// The input of the wrong length.
        what: &'static str,
        /// Number of values that it should hold.
        expected: usize,
        /// Number of values that it holds.
        got: usize,
    },
    /// A feature holds NaN or an infinity.
    #[error("feature row {row} holds a value that is not finite")]
    NotFinite {
        /// Index of the row.
        row: usize,
    },
    /// A setting is out of range.
    #[error("{what} is {got}: expected {expected}")]
    Parameter {
        /// The setting.
        what: &'static str,
        /// Its value.
        got: f64,
        /// The range of valid values.
        expected: &'static str,
    },
    /// The data hold fewer classes than an episode needs.
    #[error("a {way}-way episode needs {way} classes, but the data hold {classes}")]
    TooFewClasses {
        /// Classes per episode.
        way: usize,
        /// Classes in the data.
        classes: usize,
    },
    /// A class holds fewer images than an episode needs.
    #[error(
        "an episode of {shot} shots and {query} queries needs {} images of each class, but class {class} has {images}",
        shot.saturating_add(*query)
    )]
    TooFewImages {
        /// The smallest class.
        class: u32,
        /// Its number of images.
        images: usize,
        /// Support images per class in an episode.
        shot: usize,
        /// Query images per class in an episode.
        query: usize,
    },
    /// A label or an index is too large.
    #[error("{what} {got} is out of range: expected less than {limit}")]
    OutOfRange {
        /// Name of the index.
        what: &'static str,
        /// Its value.
        got: usize,
        /// The smallest value that is too large.
        limit: usize,
    },
    /// A class has no support image.
    #[error("class {class} has no support row")]
    EmptyClass {
        /// Index of the class.
        class: usize,
    },
    /// The sampler was made for other labels than those of the bank.
    #[error("the sampler was made for other labels than those of the feature bank")]
    OtherLabels,
    /// Fine-tuning produced weights that are not finite.
    #[error("fine-tuning diverged: its learning rate or weight decay is too large")]
    Diverged,
    /// A GPU is missing, out of memory, or broken.
    #[cfg(feature = "cuda")]
    #[error("on the GPU: {0}")]
    Gpu(String),
}

#[cfg(feature = "cuda")]
impl From<candle_core::Error> for Error {
    fn from(error: candle_core::Error) -> Self {
        Self::Gpu(error.to_string())
    }
}
