use std::fmt;
use std::path::Path;

use crate::torch::{self, Content};
use crate::{Error, PickleValue};

/// A file of `torch.save` or of `pickle.dump`, whole in memory.
pub struct Checkpoint {
    bytes: Vec<u8>,
    content: Content,
}

impl Checkpoint {
    /// Reads a file of either format; its name does not count.
    ///
    /// # Errors
    /// [`Error::File`] with the path, of which the source says what is wrong.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        let read = std::fs::read(path).map_err(Error::Io).and_then(Self::from_bytes);
        read.map_err(|e| Error::File { path: path.to_owned(), source: Box::new(e) })
    }

    /// Takes the content of a file.
    ///
    /// # Errors
    /// Bytes that are not a checkpoint, end too early or name what may not be constructed.
    pub fn from_bytes(bytes: impl Into<Vec<u8>>) -> Result<Self, Error> {
        let bytes = bytes.into();
        let content = torch::parse(&bytes)?;
        Ok(Self { bytes, content })
    }

    /// Takes the content of a file of `pickle.dump`, of which numpy's arrays are the bulk: it
    /// may have at most 16 MiB beside strings of 4 KiB and more, which stay where they are in
    /// the file. Bytes that long that Python 3 wrote in protocol 2 are had in arrays only.
    ///
    /// # Errors
    /// Bytes that are not a pickle, end too early or name what may not be constructed.
    pub fn from_pickle(bytes: impl Into<Vec<u8>>) -> Result<Self, Error> {
        let bytes = bytes.into();
        let content = torch::parse_pickle(&bytes)?;
        Ok(Self { bytes, content })
    }

    /// The object that was saved.
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
