//! Files of `torch.save` and `pickle.dump`.

use std::fmt;
use std::path::Path;

use crate::torch::{self, Content};
use crate::{Error, PickleValue};

/// A file written by `torch.save` or `pickle.dump`, held in memory.
pub struct Checkpoint {
    bytes: Vec<u8>,
    content: Content,
}

impl Checkpoint {
    /// Reads a file of either format, whatever its name.
    ///
    /// # Errors
    /// [`Error::File`] with the path; its source has the reason, as of [`Self::from_bytes`].
    pub fn read(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        let read = || {
            // A pipe would wait for a writer, and a device may have no end.
            if !std::fs::metadata(path)?.is_file() {
                return Err(Error::NotACheckpoint { found: "a folder, a pipe or a device".into() });
            }
            Self::from_bytes(std::fs::read(path)?)
        };
        read().map_err(|e| Error::File { path: path.to_owned(), source: Box::new(e) })
    }

    /// Reads the content of a file.
    ///
    /// # Errors
    /// [`Error::NotACheckpoint`], [`Error::Truncated`], [`Error::RefusedGlobal`] for a class or
    /// function that is not allowed, [`Error::Pickle`], [`Error::Archive`] or [`Error::Storage`]
    /// for malformed content.
    pub fn from_bytes(bytes: impl Into<Vec<u8>>) -> Result<Self, Error> {
        let bytes = bytes.into();
        let content = torch::parse(&bytes)?;
        Ok(Self { bytes, content })
    }

    /// Reads the content of a file of `pickle.dump` that consists mostly of numpy arrays: besides
    /// strings of 4 KiB and more, which are not copied, it may have at most 16 MiB. Bytes of that
    /// length that Python 3 wrote in protocol 2 are accessible as elements of arrays only.
    ///
    /// # Errors
    /// [`Error::Truncated`], [`Error::RefusedGlobal`], [`Error::Pickle`]; [`Error::Storage`] if it
    /// has tensors.
    pub fn from_pickle(bytes: impl Into<Vec<u8>>) -> Result<Self, Error> {
        let bytes = bytes.into();
        let content = torch::parse_pickle(&bytes)?;
        Ok(Self { bytes, content })
    }

    /// Returns the object that was saved.
    pub fn root(&self) -> PickleValue<'_> {
        PickleValue::new(self, self.content.root, "the checkpoint")
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn content(&self) -> &Content {
        &self.content
    }
}

impl fmt::Debug for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Checkpoint").field("root", &self.root()).finish_non_exhaustive()
    }
}
