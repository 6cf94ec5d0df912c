//! The lock of a run folder: one trainer at a time.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::Error;

/// Name of the lock's file in a run folder.
pub(super) const LOCK_FILE: &str = ".lock";

/// The lock of a folder. The operating system releases it when the process ends, however it ends,
/// so that a killed run never blocks the next.
#[derive(Debug)]
pub(super) struct FolderLock {
    file: File,
}

/// Who holds a lock, as its file tells.
#[derive(Debug, Deserialize, PartialEq, Serialize)]
struct Holder {
    process: u32,
    host: String,
}

impl FolderLock {
    /// Locks an existing folder.
    ///
    /// # Errors
    /// [`Error::RunInUse`] if another trainer is at work there, [`Error::Io`].
    pub(super) fn acquire(folder: &Path) -> Result<Self, Error> {
        let path = folder.join(LOCK_FILE);
        loop {
            let mut options = OpenOptions::new();
            options.read(true).write(true).create(true).truncate(false);
            let mut file = options.open(&path).map_err(Error::io("write", &path))?;
            let holder = Holder::read(&mut file);
            match file.try_lock() {
                // The folder was moved aside in the meantime: the path is that of another file.
                Ok(()) if !is_at(&file, &path) => continue,
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Err(in_use(folder, holder, "")),
                // Some network file systems have no locks: there the file's content has to do.
                Err(TryLockError::Error(_)) => {
                    if holder.as_ref().is_some_and(Holder::may_be_running) {
                        let remedy = format!(", or delete {} if it is gone", path.display());
                        return Err(in_use(folder, holder, &remedy));
                    }
                }
            }
            Holder::this().write(&mut file).map_err(Error::io("write", &path))?;
            return Ok(Self { file });
        }
    }
}

impl Drop for FolderLock {
    fn drop(&mut self) {
        // An empty file is nobody's. If this fails, the operating system's lock still tells.
        let _ = self.file.set_len(0);
        // A process that is about to be started may have the file open for a moment longer.
        let _ = self.file.unlock();
    }
}

impl Holder {
    /// This process.
    fn this() -> Self {
        Self { process: std::process::id(), host: host() }
    }

    fn read(file: &mut File) -> Option<Self> {
        let mut text = String::new();
        file.take(4096).read_to_string(&mut text).ok()?;
        serde_json::from_str(&text).ok()
    }

    fn write(&self, file: &mut File) -> std::io::Result<()> {
        file.set_len(0)?;
        file.rewind()?;
        file.write_all(serde_json::to_string(self)?.as_bytes())
    }

    /// Whether the process may still run: of another machine's processes nothing is known.
    fn may_be_running(&self) -> bool {
        self.host != host() || is_running(self.process)
    }
}

fn in_use(folder: &Path, holder: Option<Holder>, remedy: &str) -> Error {
    let holder = holder.map_or_else(String::new, |Holder { process, host }| {
        format!(" (process {process} on {})", fewshot_progress::printable(&host))
    });
    Error::RunInUse { path: folder.to_owned(), holder, remedy: remedy.to_owned() }
}

/// Whether an open file is the one that has this path now.
#[cfg(unix)]
fn is_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    match (file.metadata(), path.metadata()) {
        (Ok(file), Ok(path)) => (file.dev(), file.ino()) == (path.dev(), path.ino()),
        _ => false,
    }
}

#[cfg(not(unix))]
fn is_at(_: &File, path: &Path) -> bool {
    path.exists()
}

#[cfg(unix)]
fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

#[cfg(not(unix))]
fn host() -> String {
    std::env::var("COMPUTERNAME").unwrap_or_default()
}

#[cfg(unix)]
fn is_running(process: u32) -> bool {
    use rustix::process::{Pid, test_kill_process};
    let pid = i32::try_from(process).ok().and_then(Pid::from_raw);
    // A process of another user answers with an error of its own.
    pid.is_some_and(|pid| test_kill_process(pid) != Err(rustix::io::Errno::SRCH))
}

#[cfg(not(unix))]
fn is_running(_: u32) -> bool {
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_lock_names_the_holder_of_the_first() {
        let folder = tempfile::tempdir().unwrap();
        let first = FolderLock::acquire(folder.path()).unwrap();
        let refused = FolderLock::acquire(folder.path()).unwrap_err().to_string();
        let process = format!("process {} on {}", std::process::id(), host());
        assert!(refused.contains(&process), "{refused}");
        assert!(refused.contains(&folder.path().display().to_string()), "{refused}");
        drop(first);
        assert_eq!(std::fs::read(folder.path().join(LOCK_FILE)).unwrap(), b"");
        FolderLock::acquire(folder.path()).unwrap();
    }

    /// As a killed process leaves it: its file, but no lock of the operating system.
    #[test]
    fn a_stale_lock_is_taken_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(LOCK_FILE);
        for stale in ["{\"process\":1,\"host\":\"elsewhere\"}", "not JSON", ""] {
            std::fs::write(&path, stale).unwrap();
            let lock = FolderLock::acquire(folder.path()).unwrap();
            let holder = Holder::read(&mut File::open(&path).unwrap());
            assert_eq!(holder, Some(Holder::this()));
            drop(lock);
        }
    }

    /// Where a file system has no locks, what the file says is all that is known.
    #[test]
    fn without_locks_a_dead_process_of_this_machine_is_known_to_be_gone() {
        assert!(Holder::this().may_be_running());
        let mut child = std::process::Command::new("true").spawn().unwrap();
        child.wait().unwrap();
        let gone = Holder { process: child.id(), host: host() };
        assert!(!gone.may_be_running());
        assert!(Holder { host: "elsewhere".to_owned(), ..gone }.may_be_running());
    }
}
