//! The part of a file that has arrived, in `NAME.part` beside the file's place.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use crate::Error;

/// What has arrived so far. It outlives a process that is killed: the next one goes on from
/// it. Locked, so that two processes do not write into each other.
pub(crate) struct Part {
    file: File,
    path: PathBuf,
    len: u64,
    /// Who sent the part, and which version of the file.
    origin: Option<Origin>,
}

struct Origin {
    url: String,
    version: String,
}

impl Part {
    pub(crate) fn open(target: &Path) -> Result<Self, Error> {
        let path = beside(target, ".part");
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let mut file = options.open(&path).map_err(Error::io("write", &path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(Error::Busy { path }),
            // Some network disks have no locks: going on is better than never.
            Err(TryLockError::Error(_)) => {}
        }
        let len = file.seek(SeekFrom::End(0)).map_err(Error::io("read", &path))?;
        let noted = std::fs::read_to_string(beside(&path, ".from")).unwrap_or_default();
        let origin = noted.split_once('\n').map(|(url, version)| Origin {
            url: url.to_owned(),
            version: version.trim_end_matches('\n').to_owned(),
        });
        Ok(Self { file, path, len, origin })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// Which version of the file this mirror sent the part of. Another mirror's word for
    /// the same version may differ; there the digest has to tell.
    pub(crate) fn version_of(&self, url: &str) -> Option<&str> {
        let origin = self.origin.as_ref().filter(|origin| origin.url == url)?;
        // What stands in a file becomes a header: only if it can be one.
        let fits = origin.version.bytes().all(|byte| (b' '..=b'~').contains(&byte));
        (fits && !origin.version.is_empty()).then_some(&*origin.version)
    }

    /// Forgets what has arrived; what follows is from `url`.
    pub(crate) fn restart(&mut self, url: &str, version: Option<&str>) -> Result<(), Error> {
        self.file.set_len(0).map_err(Error::io("empty", &self.path))?;
        self.file.rewind().map_err(Error::io("empty", &self.path))?;
        self.len = 0;
        let (url, version) = (url.to_owned(), version.unwrap_or_default().to_owned());
        let note = beside(&self.path, ".from");
        std::fs::write(&note, format!("{url}\n{version}\n")).map_err(Error::io("write", &note))?;
        self.origin = Some(Origin { url, version });
        Ok(())
    }

    pub(crate) fn append(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.file.write_all(bytes).map_err(Error::io("write", &self.path))?;
        self.len += bytes.len() as u64;
        Ok(())
    }

    /// Deletes the part. What arrives afterwards begins a new one.
    pub(crate) fn discard(&mut self) -> Result<(), Error> {
        self.file.set_len(0).map_err(Error::io("empty", &self.path))?;
        self.file.rewind().map_err(Error::io("empty", &self.path))?;
        (self.len, self.origin) = (0, None);
        remove(&beside(&self.path, ".from"))
    }

    /// Puts the file, which is whole, in its place.
    pub(crate) fn finish(self, target: &Path) -> Result<(), Error> {
        self.file.sync_all().map_err(Error::io("write", &self.path))?;
        remove(&beside(&self.path, ".from"))?;
        std::fs::rename(&self.path, target).map_err(Error::io("write", target))
    }

    /// Leaves nothing behind of a part in which nothing is.
    pub(crate) fn close(self) {
        if self.len == 0 {
            // It is empty: nothing is lost if it stays.
            let _ = remove(&self.path).and_then(|()| remove(&beside(&self.path, ".from")));
        }
    }
}

/// A path with something behind its name.
pub(crate) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn remove(path: &Path) -> Result<(), Error> {
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::io("delete", path)(e)),
        _ => Ok(()),
    }
}
