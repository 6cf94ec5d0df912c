//! What can be wrong with a figure.

/// A figure that cannot be drawn.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is nothing to draw, or a number is not finite.
    #[error("figure `{title}`: {reason}")]
    Data {
        /// Title of the figure.
        title: String,
        /// What is wrong with its data.
        reason: String,
    },
    /// The plotting library failed.
    #[error("figure `{title}` cannot be drawn: {reason}")]
    Drawing {
        /// Title of the figure.
        title: String,
        /// What the library said.
        reason: String,
    },
}
