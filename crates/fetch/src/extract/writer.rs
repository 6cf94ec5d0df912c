//! Writes the entries of an archive: the only code that creates files and folders from one.

use std::collections::HashMap;
use std::fs::OpenOptions;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use super::name::components;
use super::{Limits, Unpacked};
use crate::Error;

/// What an archive says that an entry is.
pub(super) enum EntryKind {
    Folder,
    /// A regular file of `size` bytes.
    File {
        size: u64,
    },
    /// A link, a device or anything else.
    Other,
}

/// Writes entries below a folder.
pub(super) struct EntryWriter<'a> {
    archive: &'a Path,
    folder: &'a Path,
    strip: Option<&'a str>,
    limits: Limits,
    /// Everything written so far, by its path relative to the folder. No link is ever written,
    /// so no path leads out of the folder.
    written: HashMap<String, Written>,
    entries: u64,
    unpacked: Unpacked,
}

#[derive(Clone, Copy, PartialEq)]
enum Written {
    File,
    /// A folder that was created for a file in it, and has had no entry of its own.
    ImpliedFolder,
    Folder,
}

impl<'a> EntryWriter<'a> {
    pub(super) fn new(
        archive: &'a Path,
        folder: &'a Path,
        strip: Option<&'a str>,
        limits: Limits,
    ) -> Self {
        let (written, unpacked) = (HashMap::new(), Unpacked::default());
        Self { archive, folder, strip, limits, written, entries: 0, unpacked }
    }

    pub(super) fn unpacked(&self) -> Unpacked {
        self.unpacked
    }

    /// Writes an entry. The content of anything but a file is not read.
    ///
    /// # Errors
    /// [`Error::Entry`] if it is refused, [`Error::Limit`], [`Error::Archive`], [`Error::Io`].
    pub(super) fn write(
        &mut self,
        name: &[u8],
        kind: EntryKind,
        content: impl Read,
    ) -> Result<(), Error> {
        match kind {
            EntryKind::Folder => self.write_folder(name),
            EntryKind::File { size } => self.write_file(name, size, content),
            EntryKind::Other => Err(self.refusal(name, "a link, a device or the like is refused")),
        }
    }

    /// Makes the error of an archive that cannot be understood.
    pub(super) fn malformed(&self, reason: &str) -> Error {
        Error::Archive { archive: self.archive.to_owned(), reason: reason.to_owned() }
    }

    /// Makes the error of a failed read: a malformed archive, or a fault of the disk.
    pub(super) fn unreadable(&self, e: io::Error) -> Error {
        use io::ErrorKind::{InvalidData, InvalidInput, Other, UnexpectedEof};
        if matches!(e.kind(), InvalidData | InvalidInput | Other | UnexpectedEof) {
            self.malformed(&e.to_string())
        } else {
            Error::io("read", self.archive)(e)
        }
    }

    fn write_folder(&mut self, name: &[u8]) -> Result<(), Error> {
        let parts = self.check_name(name)?;
        if parts.is_empty() {
            return Ok(());
        }
        self.create_parents(name, &parts)?;
        match self.written.insert(parts.join("/"), Written::Folder) {
            None => self.create_folder(&parts),
            Some(Written::ImpliedFolder) => Ok(()),
            Some(_) => Err(self.refusal(name, "it is there twice")),
        }
    }

    fn write_file(&mut self, name: &[u8], size: u64, content: impl Read) -> Result<(), Error> {
        let parts = self.check_name(name)?;
        if parts.is_empty() {
            return Err(self.refusal(name, "a file in place of the folder is refused"));
        }
        // The declared size suffices to refuse the file; `copy` writes no more than that.
        if size > self.limits.bytes - self.unpacked.bytes {
            return Err(self.limit_exceeded(self.limits.bytes, "bytes"));
        }
        self.create_parents(name, &parts)?;
        if self.written.insert(parts.join("/"), Written::File).is_some() {
            return Err(self.refusal(name, "it is there twice"));
        }
        let path = self.path(&parts);
        let mut options = OpenOptions::new();
        // Never overwrites, not even on file systems that take two names for one.
        let mut file =
            options.write(true).create_new(true).open(&path).map_err(Error::io("write", &path))?;
        let written = self.copy(size, content, &mut file, &path)?;
        if written != size {
            return Err(self.refusal(name, "its size is not the declared one"));
        }
        self.unpacked.files += 1;
        self.unpacked.bytes += written;
        Ok(())
    }

    /// Copies at most one byte more than the declared size, enough to find out that it is wrong.
    fn copy(
        &self,
        size: u64,
        content: impl Read,
        file: &mut impl Write,
        path: &Path,
    ) -> Result<u64, Error> {
        let mut content = content.take(size.saturating_add(1));
        let mut buffer = [0; 32 << 10];
        let mut written = 0;
        loop {
            let count = match content.read(&mut buffer) {
                Ok(0) => return Ok(written),
                Ok(count) => count,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(self.unreadable(e)),
            };
            written += count as u64;
            file.write_all(&buffer[..count]).map_err(Error::io("write", path))?;
        }
    }

    /// Counts an entry and checks its name; returns its components, the stripped one removed.
    fn check_name<'n>(&mut self, name: &'n [u8]) -> Result<Vec<&'n str>, Error> {
        self.entries += 1;
        if self.entries > self.limits.entries {
            return Err(self.limit_exceeded(self.limits.entries, "entries"));
        }
        let mut parts = components(name).map_err(|reason| self.refusal(name, reason))?;
        if self.strip.is_some() && parts.first().copied() == self.strip {
            parts.remove(0);
        }
        Ok(parts)
    }

    /// Creates the folders above an entry.
    fn create_parents(&mut self, name: &[u8], parts: &[&str]) -> Result<(), Error> {
        for depth in 1..parts.len() {
            let parent = parts[..depth].join("/");
            match self.written.get(&parent) {
                Some(Written::File) => {
                    return Err(self.refusal(name, "it lies in a file, not in a folder"));
                }
                Some(_) => {}
                None => {
                    self.written.insert(parent, Written::ImpliedFolder);
                    self.create_folder(&parts[..depth])?;
                }
            }
        }
        Ok(())
    }

    fn create_folder(&self, parts: &[&str]) -> Result<(), Error> {
        let path = self.path(parts);
        match std::fs::create_dir(&path) {
            // From another archive that was unpacked into the same folder.
            Err(_) if path.symlink_metadata().is_ok_and(|meta| meta.is_dir()) => Ok(()),
            done => done.map_err(Error::io("create", &path)),
        }
    }

    fn path(&self, parts: &[&str]) -> PathBuf {
        parts.iter().fold(self.folder.to_owned(), |path, part| path.join(part))
    }

    fn refusal(&self, name: &[u8], reason: &str) -> Error {
        Error::Entry {
            archive: self.archive.to_owned(),
            entry: String::from_utf8_lossy(name).escape_debug().collect(),
            reason: reason.to_owned(),
        }
    }

    fn limit_exceeded(&self, limit: u64, unit: &'static str) -> Error {
        Error::Limit { archive: self.archive.to_owned(), limit, unit }
    }
}
