//! Folders that are whole or not there.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

use crate::Error;

/// A folder that vanishes unless it becomes the one that it is to be.
#[derive(Debug)]
pub struct Staging {
    path: PathBuf,
}

impl Staging {
    /// Makes it, empty: what lies there is deleted. Whoever calls holds a [`Lock`], so that
    /// it is what a killed process left.
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

    /// Where it is for now.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Gives it the name that it is to have.
    ///
    /// # Errors
    /// [`Error::Io`], in particular where something of this name is there.
    pub fn become_folder(self, target: &Path) -> Result<(), Error> {
        std::fs::rename(&self.path, target).map_err(Error::io("write", target))
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // Gone already where it became the folder; otherwise the next call deletes it.
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

/// Keeps a second process from making the same, as long as it lives.
#[derive(Debug)]
pub struct Lock {
    path: PathBuf,
    _file: File,
}

impl Lock {
    /// Locks a file, which is made for it and deleted afterwards.
    ///
    /// # Errors
    /// [`Error::Busy`] where another process has the lock, [`Error::Io`].
    pub fn on(path: PathBuf) -> Result<Self, Error> {
        let file = File::create(&path).map_err(Error::io("write", &path))?;
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => Err(Error::Busy { path }),
            // Some network disks have no locks: going on is better than never.
            _ => Ok(Self { path, _file: file }),
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // An empty hidden file: nothing is lost if it stays.
        let _ = std::fs::remove_file(&self.path);
    }
}
