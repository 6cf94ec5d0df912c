//! Partial downloads: `NAME.part` beside the final file.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use crate::Error;

/// The bytes that have arrived so far. The file outlives a process that is killed, and the next
/// one resumes from it. It is locked, so that two processes do not write to it at once.
pub(crate) struct Part {
    file: File,
    path: PathBuf,
    len: u64,
    /// Where the bytes came from.
    origin: Option<Origin>,
}

/// The server that sent a part, and its `ETag` or `Last-Modified`.
struct Origin {
    url: String,
    validator: String,
}

impl Part {
    /// Opens and locks the part of a file, or creates it.
    ///
    /// # Errors
    /// [`Error::Busy`] if another process holds the lock, [`Error::Io`].
    pub(crate) fn open(target: &Path) -> Result<Self, Error> {
        let path = with_suffix(target, ".part");
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let mut file = options.open(&path).map_err(Error::io("write", &path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(Error::Busy { path }),
            // Some network file systems have no locks: better to go on than to refuse.
            Err(TryLockError::Error(_)) => {}
        }
        let len = file.seek(SeekFrom::End(0)).map_err(Error::io("read", &path))?;
        let saved = std::fs::read_to_string(with_suffix(&path, ".from")).unwrap_or_default();
        let origin = saved.split_once('\n').map(|(url, validator)| Origin {
            url: url.to_owned(),
            validator: validator.trim_end_matches('\n').to_owned(),
        });
        Ok(Self { file, path, len, origin })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// Returns the validator for `If-Range`, if this mirror sent the part. Another mirror may
    /// identify the same version differently; there the digest decides.
    pub(crate) fn validator_for(&self, url: &str) -> Option<&str> {
        let origin = self.origin.as_ref().filter(|origin| origin.url == url)?;
        // The file may have been tampered with: only visible ASCII becomes a header.
        let is_valid = origin.validator.bytes().all(|byte| (b' '..=b'~').contains(&byte));
        (is_valid && !origin.validator.is_empty()).then_some(&*origin.validator)
    }

    /// Empties the part and records where the bytes that follow come from.
    pub(crate) fn restart(&mut self, url: &str, validator: Option<&str>) -> Result<(), Error> {
        self.truncate()?;
        let (url, validator) = (url.to_owned(), validator.unwrap_or_default().to_owned());
        let path = with_suffix(&self.path, ".from");
        std::fs::write(&path, format!("{url}\n{validator}\n"))
            .map_err(Error::io("write", &path))?;
        self.origin = Some(Origin { url, validator });
        Ok(())
    }

    pub(crate) fn append(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.file.write_all(bytes).map_err(Error::io("write", &self.path))?;
        self.len += bytes.len() as u64;
        Ok(())
    }

    /// Empties the part, so that the next request is for the whole file.
    pub(crate) fn discard(&mut self) -> Result<(), Error> {
        self.truncate()?;
        self.origin = None;
        remove(&with_suffix(&self.path, ".from"))
    }

    fn truncate(&mut self) -> Result<(), Error> {
        self.file.set_len(0).map_err(Error::io("empty", &self.path))?;
        self.file.rewind().map_err(Error::io("empty", &self.path))?;
        self.len = 0;
        Ok(())
    }

    /// Renames the complete part to its final path.
    pub(crate) fn finish(self, target: &Path) -> Result<(), Error> {
        self.file.sync_all().map_err(Error::io("write", &self.path))?;
        remove(&with_suffix(&self.path, ".from"))?;
        std::fs::rename(&self.path, target).map_err(Error::io("write", target))
    }

    /// Deletes the part if it is empty.
    pub(crate) fn close(self) {
        if self.len == 0 {
            // If this fails, an empty file stays: nothing is lost.
            let _ = remove(&self.path).and_then(|()| remove(&with_suffix(&self.path, ".from")));
        }
    }
}

/// Appends a suffix to a path.
fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Deletes a file, which may be absent.
fn remove(path: &Path) -> Result<(), Error> {
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::io("delete", path)(e)),
        _ => Ok(()),
    }
}
