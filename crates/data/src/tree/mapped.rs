//! Memory-mapped files.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use memmap2::Mmap;

use crate::Error;

/// A memory-mapped file, of the length that it had when it was opened.
#[derive(Clone)]
pub(super) struct Mapped(Arc<Mmap>);

impl Mapped {
    pub(super) fn open(path: &Path) -> Result<Self, Error> {
        let file = File::open(path).map_err(Error::io(path))?;
        // SAFETY: nothing here writes to the map, and every read is bounded by its length. Another
        // process that overwrites the file changes bytes that are untrusted and checked anyhow,
        // and copied out once, so that nothing relies on two reads being the same. If it shortens
        // the file, the system ends this process, as the documentation of packs says.
        let map = unsafe { Mmap::map(&file) }.map_err(Error::io(path))?;
        Ok(Self(Arc::new(map)))
    }
}

impl AsRef<[u8]> for Mapped {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}
