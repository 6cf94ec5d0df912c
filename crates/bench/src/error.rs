//! Errors of a benchmark.

use std::path::Path;

/// Why a benchmark failed. Messages say what failed and, where there is a remedy, what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Our side failed.
    #[error(transparent)]
    Experiment(fewshot_experiment::Error),
    /// A file cannot be read or written, or a process cannot be started.
    #[error("cannot {action}: {source}")]
    Io {
        /// What was tried, as in "cannot ACTION".
        action: String,
        /// The system's error.
        source: std::io::Error,
    },
    /// PyTorch is missing, or its script failed.
    #[error("{0}")]
    Python(String),
    /// A process of our side failed, or this build cannot measure what was asked for.
    #[error("{0}")]
    Process(String),
}

impl Error {
    /// Returns a function for `map_err`; `action` reads as in "cannot ACTION: reason".
    pub(crate) fn io(action: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let action = action.into();
        move |source| Self::Io { action, source }
    }

    /// Returns the same for an action on a file or a program.
    pub(crate) fn at(action: &str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        Self::io(format!("{action} {}", path.display()))
    }
}

/// Wraps everything that an experiment's error wraps.
impl<E> From<E> for Error
where
    fewshot_experiment::Error: From<E>,
{
    fn from(error: E) -> Self {
        Self::Experiment(error.into())
    }
}
