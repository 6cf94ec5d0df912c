//! Errors of this crate.

use thiserror::Error;

use crate::ClassifierKind;

/// What can go wrong with a classifier.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// No classifier has this name.
    #[error("unknown classifier `{got}`: expected {}", ClassifierKind::names())]
    UnknownKind {
        /// The name that was asked for.
        got: String,
    },
    /// Scale or margin is out of range.
    #[error("{what} is {got}: expected {expected}")]
    Parameter {
        /// `scale` or `margin`.
        what: &'static str,
        /// The value.
        got: f64,
        /// The range of values that are taken.
        expected: &'static str,
    },
    /// Images that are to be turned are not square.
    #[error("images are {height}×{width}: only square ones can be turned")]
    NotSquare {
        /// Their height in pixels.
        height: usize,
        /// Their width in pixels.
        width: usize,
    },
    /// A tensor operation failed, as for shapes that do not fit.
    #[cfg(feature = "candle")]
    #[error(transparent)]
    Tensor(#[from] candle_core::Error),
}
