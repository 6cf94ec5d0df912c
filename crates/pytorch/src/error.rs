//! Errors of reading checkpoints.

use std::io;
use std::path::PathBuf;

/// Why a checkpoint, or a value in it, could not be read.
///
/// Offsets are in bytes from the start of the file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An operation of the operating system failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// A file could not be read; the source has the reason.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: Box<Error>,
    },
    /// The content was not written by `torch.save`.
    #[error(
        "not a PyTorch checkpoint: {found}; expected a file of `torch.save`, either a zip \
         archive (PyTorch 1.6 and later) or a legacy sequence of pickles"
    )]
    NotACheckpoint {
        /// What was found instead.
        found: String,
    },
    /// The file ends before its content does.
    #[error("truncated: {needed} bytes expected at byte {offset}, {left} are left; fetch it again")]
    Truncated {
        /// Offset at which bytes were expected.
        offset: usize,
        /// Number of bytes expected.
        needed: u64,
        /// Number of bytes that the file has from there on.
        left: usize,
    },
    /// The pickle names a class or function that is not allowed.
    #[error(
        "refuses to construct `{name}` (byte {offset}): a checkpoint may hold tensors, arrays, \
         numbers, strings, lists, tuples and dicts only"
    )]
    RefusedGlobal {
        /// `module.name`.
        name: String,
        /// Offset of the opcode.
        offset: usize,
    },
    /// The pickle is malformed, or misuses what it is allowed to construct.
    #[error("malformed pickle at byte {offset}: {reason}")]
    Pickle {
        /// Offset of the opcode.
        offset: usize,
        /// What was found and what was expected.
        reason: String,
    },
    /// The zip archive is malformed.
    #[error("malformed archive: {reason}")]
    Archive {
        /// What was found and what was expected.
        reason: String,
    },
    /// The data of a storage, or the header beside it, is malformed.
    #[error("malformed storage: {reason}")]
    Storage {
        /// What was found and what was expected.
        reason: String,
    },
    /// A tensor or array is invalid, for example because it reaches outside its storage.
    #[error("tensor `{name}`: {reason}")]
    Tensor {
        /// Key of the tensor.
        name: String,
        /// What was found and what was expected.
        reason: String,
    },
    /// A dict has no such key.
    #[error("`{name}` has no entry `{key}`; it has {keys}")]
    NoEntry {
        /// Key of the dict itself.
        name: String,
        /// Key that was looked up.
        key: String,
        /// Keys that the dict has, the first few of them.
        keys: String,
    },
    /// A value has another type than the one asked for.
    #[error("`{name}` is {found}; expected {expected}")]
    Type {
        /// Key of the value.
        name: String,
        /// Its type.
        found: &'static str,
        /// The type asked for.
        expected: &'static str,
    },
}

impl Error {
    pub(crate) fn archive(reason: impl Into<String>) -> Self {
        Self::Archive { reason: reason.into() }
    }

    pub(crate) fn storage(reason: impl Into<String>) -> Self {
        Self::Storage { reason: reason.into() }
    }
}

/// Returns the start of a text for a message: at most 100 characters, control characters escaped.
pub(crate) fn excerpt(text: &str) -> String {
    const MAX_CHARS: usize = 100;
    let mut excerpt: String = text.chars().take(MAX_CHARS).flat_map(char::escape_debug).collect();
    if text.chars().nth(MAX_CHARS).is_some() {
        excerpt.push('…');
    }
    excerpt
}
