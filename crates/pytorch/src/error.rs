use std::io;
use std::path::PathBuf;

/// Why a checkpoint, or something in it, could not be had.
///
/// Offsets are in bytes from the start of the file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// A file could not be read; the source says why.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: Box<Error>,
    },
    /// The content is not of `torch.save`.
    #[error(
        "not a PyTorch checkpoint: {found}; expected a file of `torch.save`, either a zip \
         archive (PyTorch 1.6 and later) or a legacy sequence of pickles"
    )]
    NotACheckpoint {
        /// What it is instead.
        found: String,
    },
    /// The file ends too early.
    #[error("truncated: {needed} bytes expected at byte {offset}, {left} are left; fetch it again")]
    Truncated {
        /// Where the bytes should be.
        offset: usize,
        /// How many should be there.
        needed: u64,
        /// How many are.
        left: usize,
    },
    /// The pickle names a class or function that is not on the list.
    #[error(
        "refuses to construct `{name}` (byte {offset}): a checkpoint may hold tensors, arrays, \
         numbers, strings, lists, tuples and dicts only"
    )]
    RefusedGlobal {
        /// `module.name`.
        name: String,
        /// Where the opcode is.
        offset: usize,
    },
    /// The pickle is malformed, or misuses what it may construct.
    #[error("malformed pickle at byte {offset}: {reason}")]
    Pickle {
        /// Where the opcode is.
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
    /// A tensor reaches outside its storage, or is otherwise impossible.
    #[error("tensor `{name}`: {reason}")]
    Tensor {
        /// Its key.
        name: String,
        /// What was found and what was expected.
        reason: String,
    },
    /// A dict has no such key.
    #[error("`{name}` has no entry `{key}`; it has {keys}")]
    NoEntry {
        /// The key of the dict itself.
        name: String,
        /// The key asked for.
        key: String,
        /// The keys that are there.
        keys: String,
    },
    /// A value is of another type.
    #[error("`{name}` is {found}; expected {expected}")]
    Type {
        /// Its key.
        name: String,
        /// What it is.
        found: &'static str,
        /// What was asked for.
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

/// Text of a file, made fit for a message: no control characters, and not long.
pub(crate) fn quote(text: &str) -> String {
    const LONGEST: usize = 100;
    let mut quoted: String = text.chars().take(LONGEST).flat_map(char::escape_debug).collect();
    if text.chars().nth(LONGEST).is_some() {
        quoted.push('…');
    }
    quoted
}
