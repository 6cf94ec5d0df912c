//! Folders that appear under their names only when they are complete.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

use crate::Error;

/// A temporary folder, deleted on drop unless it was [persisted](Self::persist).
#[derive(Debug)]
pub struct Staging {
    path: PathBuf,
}

impl Staging {
    /// Creates the folder, empty. Whatever has this path is deleted: the caller holds a
    /// [`Lock`], so that it can only be what a killed process left behind.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn new(path: PathBuf) -> Result<Self, Error> {
        match std::fs::remove_dir_all(&path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                return Err(Error::io("delete", &path)(e));
            }
            _ => std::fs::create_dir(&path).map_err(Error::io("create", &path))?,
        }
        Ok(Self { path })
    }

    /// Returns its temporary path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Renames the folder to its final path, on the same file system.
    ///
    /// # Errors
    /// [`Error::Io`], in particular if a file or a folder with content has this path.
    pub fn persist(self, target: &Path) -> Result<(), Error> {
        std::fs::rename(&self.path, target).map_err(Error::io("write", target))
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // Does not exist if it was persisted; if this fails, the next call deletes it.
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

/// A lock file that keeps other processes from doing the same work, released on drop.
#[derive(Debug)]
pub struct Lock {
    path: PathBuf,
    _file: File,
}

impl Lock {
    /// Creates and locks a file, which is deleted on drop.
    ///
    /// # Errors
    /// [`Error::Busy`] if another process holds the lock, [`Error::Io`].
    pub fn acquire(path: PathBuf) -> Result<Self, Error> {
        let file = File::create(&path).map_err(Error::io("write", &path))?;
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => Err(Error::Busy { path }),
            // Some network file systems have no locks: better to go on than to refuse.
            _ => Ok(Self { path, _file: file }),
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // An empty hidden file: it does no harm if it stays.
        let _ = std::fs::remove_file(&self.path);
    }
}
