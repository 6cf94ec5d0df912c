//! Where the entries of an archive end up: the one place that writes.

use std::collections::HashMap;
use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use super::name::components;
use super::{Limits, Unpacked, unreadable};
use crate::Error;

/// Writes entries below a folder.
pub(super) struct Sink<'a> {
    archive: &'a Path,
    folder: &'a Path,
    strip: Option<&'a str>,
    limits: Limits,
    /// What lies below the folder. Nothing else does: it was empty, and no link is ever
    /// written, so that no path leads out of it.
    seen: HashMap<String, Kind>,
    entries: u64,
    unpacked: Unpacked,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    File,
    /// A folder that only a file's path told of.
    Implied,
    Folder,
}

impl<'a> Sink<'a> {
    pub(super) fn new(
        archive: &'a Path,
        folder: &'a Path,
        strip: Option<&'a str>,
        limits: Limits,
    ) -> Self {
        let (seen, unpacked) = (HashMap::new(), Unpacked::default());
        Self { archive, folder, strip, limits, seen, entries: 0, unpacked }
    }

    pub(super) fn unpacked(&self) -> Unpacked {
        self.unpacked
    }

    pub(super) fn folder(&mut self, name: &[u8]) -> Result<(), Error> {
        let parts = self.parts(name)?;
        if parts.is_empty() {
            return Ok(());
        }
        self.parents(name, &parts)?;
        match self.seen.insert(parts.join("/"), Kind::Folder) {
            None => self.create_folder(&parts),
            Some(Kind::Implied) => Ok(()),
            Some(_) => Err(self.refusal(name, "it is there twice")),
        }
    }

    /// Writes a file, of which the archive says that it has `size` bytes.
    pub(super) fn file(&mut self, name: &[u8], size: u64, content: impl Read) -> Result<(), Error> {
        let parts = self.parts(name)?;
        if parts.is_empty() {
            return Err(self.refusal(name, "a file in place of the folder is refused"));
        }
        // The archive's word is enough to refuse, and not enough to write more.
        if size > self.limits.bytes - self.unpacked.bytes {
            return Err(self.exceeds(self.limits.bytes, "bytes"));
        }
        self.parents(name, &parts)?;
        if self.seen.insert(parts.join("/"), Kind::File).is_some() {
            return Err(self.refusal(name, "it is there twice"));
        }
        let path = self.path(&parts);
        let mut options = OpenOptions::new();
        // Never over anything: on systems that take two names for one, too.
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

    /// Refuses an entry that is neither file nor folder.
    pub(super) fn refusal(&self, name: &[u8], reason: &str) -> Error {
        Error::Entry {
            archive: self.archive.to_owned(),
            entry: String::from_utf8_lossy(name).escape_debug().collect(),
            reason: reason.to_owned(),
        }
    }

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
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(unreadable(self.archive, e)),
            };
            written += count as u64;
            file.write_all(&buffer[..count]).map_err(Error::io("write", path))?;
        }
    }

    /// Counts an entry and checks its name; gives it without what is stripped.
    fn parts<'n>(&mut self, name: &'n [u8]) -> Result<Vec<&'n str>, Error> {
        self.entries += 1;
        if self.entries > self.limits.entries {
            return Err(self.exceeds(self.limits.entries, "entries"));
        }
        let mut parts = components(name).map_err(|reason| self.refusal(name, reason))?;
        if self.strip.is_some() && parts.first().copied() == self.strip {
            parts.remove(0);
        }
        Ok(parts)
    }

    /// Makes the folders above an entry.
    fn parents(&mut self, name: &[u8], parts: &[&str]) -> Result<(), Error> {
        for depth in 1..parts.len() {
            let above = parts[..depth].join("/");
            match self.seen.get(&above) {
                Some(Kind::File) => {
                    return Err(self.refusal(name, "it lies in a file, not in a folder"));
                }
                Some(_) => {}
                None => {
                    self.seen.insert(above, Kind::Implied);
                    self.create_folder(&parts[..depth])?;
                }
            }
        }
        Ok(())
    }

    fn create_folder(&self, parts: &[&str]) -> Result<(), Error> {
        let path = self.path(parts);
        match std::fs::create_dir(&path) {
            // Of another archive that is unpacked into the same folder.
            Err(_) if path.symlink_metadata().is_ok_and(|meta| meta.is_dir()) => Ok(()),
            done => done.map_err(Error::io("create", &path)),
        }
    }

    fn path(&self, parts: &[&str]) -> PathBuf {
        parts.iter().fold(self.folder.to_owned(), |path, part| path.join(part))
    }

    fn exceeds(&self, limit: u64, unit: &'static str) -> Error {
        Error::Limit { archive: self.archive.to_owned(), limit, unit }
    }
}
