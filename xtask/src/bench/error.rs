//! What can go wrong with a bench.

use std::path::Path;

/// Every message names what failed, and what to do about it where something can be done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Our own side failed.
    #[error(transparent)]
    Experiment(fewshot_experiment::Error),
    /// A file or a process.
    #[error("cannot {action}: {source}")]
    Io { action: String, source: std::io::Error },
    /// An interpreter without PyTorch, or a script that gave up.
    #[error("{0}")]
    Python(String),
    /// A process of ours that does not do what is measured.
    #[error("{0}")]
    Process(String),
}

impl Error {
    /// For `map_err`; `action` reads as in "cannot ACTION: reason".
    pub fn io(action: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let action = action.into();
        move |source| Self::Io { action, source }
    }

    /// The same for an operation on a file or a program.
    pub fn at(action: &str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        Self::io(format!("{action} {}", path.display()))
    }
}

/// Whatever an experiment may fail of.
impl<E> From<E> for Error
where
    fewshot_experiment::Error: From<E>,
{
    fn from(error: E) -> Self {
        Self::Experiment(error.into())
    }
}
