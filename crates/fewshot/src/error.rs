//! Errors of this crate.

use std::path::{Path, PathBuf};

use thiserror::Error;

/// What can go wrong.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// Photos that cannot be learned from, or are not there.
    #[error("{}: {reason}", path.display())]
    Photos {
        /// The folder, archive or list.
        path: PathBuf,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// A file that is no album, a damaged one, or one of another network.
    #[error("{}: {reason}", path.display())]
    Album {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// A photo that cannot be read.
    #[error("{name}: {reason}")]
    Broken {
        /// The photo.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A network that cannot be read, or failed.
    #[error(transparent)]
    Network(#[from] fewshot_experiment::Error),
    /// A figure that cannot be drawn.
    #[error(transparent)]
    Figure(#[from] fewshot_figures::Error),
    /// A head that failed.
    #[error(transparent)]
    Head(#[from] fewshot_episodes::Error),
}

impl Error {
    pub(crate) fn photos(path: &Path, reason: impl Into<String>) -> Self {
        Self::Photos { path: path.to_owned(), reason: reason.into() }
    }

    pub(crate) fn album(path: &Path, reason: impl ToString) -> Self {
        Self::Album { path: path.to_owned(), reason: reason.to_string() }
    }
}
