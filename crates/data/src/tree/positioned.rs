//! A file that many threads read.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::Error;

/// A file that many threads read, each at its own offset.
pub(crate) struct PositionedFile {
    #[cfg(unix)]
    file: File,
    #[cfg(not(unix))]
    file: std::sync::Mutex<File>,
    /// Path for errors; for an inflated archive, of the compressed original.
    path: PathBuf,
    len: u64,
}

impl PositionedFile {
    pub(super) fn open(path: &Path) -> Result<Self, Error> {
        Self::new(super::open_regular(path)?, path)
    }

    pub(super) fn new(file: File, path: &Path) -> Result<Self, Error> {
        let len = file.metadata().map_err(Error::io(path))?.len();
        #[cfg(not(unix))]
        let file = std::sync::Mutex::new(file);
        Ok(Self { file, path: path.to_owned(), len })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn len(&self) -> u64 {
        self.len
    }

    pub(super) fn truncated(&self) -> Error {
        Error::Truncated { archive: self.path.clone(), offset: self.len }
    }

    #[cfg(unix)]
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        std::os::unix::fs::FileExt::read_at(&self.file, buffer, offset)
    }

    #[cfg(not(unix))]
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut file = self.file.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        file.seek(SeekFrom::Start(offset))?;
        file.read(buffer)
    }

    /// Reads the `len` bytes at `offset`.
    pub(super) fn read_exact_at(
        self: &Arc<Self>,
        offset: u64,
        len: usize,
    ) -> Result<Vec<u8>, Error> {
        let mut bytes = vec![0; len];
        let mut cursor = Cursor::new(self);
        cursor.position = offset;
        match cursor.read_exact(&mut bytes) {
            Ok(()) => Ok(bytes),
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Err(self.truncated()),
            Err(e) => Err(Error::io(&self.path)(e)),
        }
    }
}

/// A reader of a [`PositionedFile`] with its position.
#[derive(Clone)]
pub(super) struct Cursor {
    file: Arc<PositionedFile>,
    position: u64,
}

impl Cursor {
    pub(super) fn new(file: &Arc<PositionedFile>) -> Self {
        Self { file: Arc::clone(file), position: 0 }
    }
}

impl Read for Cursor {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read_at(buffer, self.position)?;
        self.position += count as u64;
        Ok(count)
    }
}

impl Seek for Cursor {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            SeekFrom::Start(offset) => Some(offset),
            SeekFrom::Current(delta) => self.position.checked_add_signed(delta),
            SeekFrom::End(delta) => self.file.len.checked_add_signed(delta),
        };
        self.position = position.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}
