use thiserror::Error;

/// What can go wrong with an episode.
#[derive(Clone, Debug, PartialEq, Error)]
#[non_exhaustive]
pub enum Error {
    /// Two inputs do not fit each other.
    #[error("{what}: expected {expected} values, got {got}")]
    Length {
        /// The input that does not fit.
        what: &'static str,
        /// How many values it should hold.
        expected: usize,
        /// How many it holds.
        got: usize,
    },
    /// A feature holds NaN or an infinity.
    #[error("feature row {row} holds a value that is not finite")]
    NotFinite {
        /// The row, counted from 0.
        row: usize,
    },
    /// A setting is out of range.
    #[error("{what} is {got}: expected {expected}")]
    Parameter {
        /// The setting.
        what: &'static str,
        /// Its value.
        got: f64,
        /// The range of values that are taken.
        expected: &'static str,
    },
    /// The data hold fewer classes than an episode needs.
    #[error("a {way}-way episode needs {way} classes, but the data hold {classes}")]
    TooFewClasses {
        /// Classes in an episode.
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
        /// Support images of a class in an episode.
        shot: usize,
        /// Query images of a class in an episode.
        query: usize,
    },
    /// A label or an order points past the end of what it indexes.
    #[error("{what} {got} is out of range: expected less than {limit}")]
    OutOfRange {
        /// What points too far.
        what: &'static str,
        /// Where it points.
        got: usize,
        /// The number of things to point at.
        limit: usize,
    },
    /// A class has no example to learn from.
    #[error("class {class} has no support row")]
    EmptyClass {
        /// The class, counted from 0.
        class: usize,
    },
    /// The sampler was made for other labels than those of the bank.
    #[error("the sampler was made for other labels than those of the feature bank")]
    OtherLabels,
    /// Fine-tuning ended in weights that are not finite.
    #[error("fine-tuning diverged: its learning rate or weight decay is too large")]
    Diverged,
    /// A GPU that is missing, out of memory, or broken.
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
