//! The way to a run folder: locked before anything is read or changed.

use std::fs;
use std::path::{Path, PathBuf};

use super::lock::{FolderLock, LOCK_FILE};
use super::write::is_unfinished;
use super::{BEST, LAST, METRICS, OPTIMIZER, RunFolder, SETTINGS};
use crate::Error;

/// A path that a run is about to start or go on at. If there is a folder, this process alone may
/// use it from now on; nothing in it has been changed yet.
#[derive(Debug)]
pub struct RunClaim {
    path: PathBuf,
    /// Nothing if there is no folder yet.
    lock: Option<FolderLock>,
}

impl RunClaim {
    /// Claims a folder, or a path where there is none yet.
    ///
    /// # Errors
    /// [`Error::RunInUse`] if another trainer is at work there; [`Error::NotARun`] if it holds
    /// files, but no run; [`Error::Io`] if it is no folder or cannot be written to.
    pub fn new(path: &Path) -> Result<Self, Error> {
        match lock_existing(path) {
            Ok((path, lock)) => Ok(Self { path, lock: Some(lock) }),
            // Without the slash that may end it.
            Err(e) if e.is_not_found() => {
                Ok(Self { path: path.components().collect(), lock: None })
            }
            Err(e) => Err(e),
        }
    }

    /// Whether a checkpoint lies in this folder, however its path is written.
    pub fn contains(&self, checkpoint: &Path) -> bool {
        let checkpoint = checkpoint.canonicalize();
        self.lock.is_some() && checkpoint.is_ok_and(|file| file.parent() == Some(&self.path))
    }

    /// Where [`start`](Self::start) moves the run that lies in the folder, if one does.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn moves_to(&self) -> Result<Option<PathBuf>, Error> {
        if self.lock.is_none() {
            return Ok(None);
        }
        free_name(&self.path)
    }

    /// Goes on with the run in the folder.
    ///
    /// # Errors
    /// Those of [`new`](Self::new).
    pub fn resume(self) -> Result<RunFolder, Error> {
        let (path, lock) = self.into_locked()?;
        RunFolder::prepare(path, lock)
    }

    /// Makes an empty folder for a new run. An earlier run that lies there is moved to the same
    /// name with a number appended, but its best checkpoint stays until the new run has one.
    ///
    /// # Errors
    /// [`Error::RunInUse`] if another trainer came first; [`Error::Io`] if the folder cannot be
    /// created, moved or written to.
    pub fn start(self) -> Result<RunFolder, Error> {
        let (path, mut lock) = self.into_locked()?;
        if let Some(aside) = free_name(&path)? {
            // The lock goes along. That of the new folder tells whether another trainer was faster.
            fs::rename(&path, &aside).map_err(Error::io("move aside", &path))?;
            fs::create_dir_all(&path).map_err(Error::io("create", &path))?;
            lock = lock_existing(&path)?.1;
            keep_best(&aside, &path)?;
        }
        RunFolder::prepare(path, lock)
    }

    /// The folder with its lock. Where it was not there when it was claimed, another run may have
    /// begun, or even ended there.
    fn into_locked(self) -> Result<(PathBuf, FolderLock), Error> {
        if let Some(lock) = self.lock {
            return Ok((self.path, lock));
        }
        loop {
            fs::create_dir_all(&self.path).map_err(Error::io("create", &self.path))?;
            match lock_existing(&self.path) {
                // Another trainer moves a run aside at this moment.
                Err(e) if e.is_not_found() => {}
                locked => return locked,
            }
        }
    }
}

/// Locks a folder that holds a run or nothing; returns its canonical path, too.
fn lock_existing(path: &Path) -> Result<(PathBuf, FolderLock), Error> {
    let path = path.canonicalize().map_err(Error::io("open", path))?;
    if let Content::Other(name) = Content::of(&path)? {
        return Err(Error::NotARun { path, name: fewshot_progress::printable(&name) });
    }
    let lock = FolderLock::acquire(&path)?;
    Ok((path, lock))
}

/// A free name for the run that lies in a folder; nothing if none does.
fn free_name(folder: &Path) -> Result<Option<PathBuf>, Error> {
    if Content::of(folder)? != Content::Run {
        return Ok(None);
    }
    let aside = |n: usize| {
        let mut name = folder.as_os_str().to_owned();
        name.push(format!(".{n}"));
        PathBuf::from(name)
    };
    Ok((1..).map(aside).find(|path| path.symlink_metadata().is_err()))
}

/// Leaves the best checkpoint of a run that was moved aside in the folder that it came from. Files are
/// replaced by renaming, so that one file may have both names.
fn keep_best(aside: &Path, folder: &Path) -> Result<(), Error> {
    let (from, to) = (aside.join(BEST), folder.join(BEST));
    if !from.exists() {
        return Ok(());
    }
    let kept = fs::hard_link(&from, &to).or_else(|_| fs::copy(&from, &to).map(drop));
    kept.map_err(Error::io("write", &to))
}

/// What a folder holds.
#[derive(Debug, PartialEq)]
enum Content {
    /// Nothing, or what a run leaves that is killed at its very start.
    Nothing,
    /// A run.
    Run,
    /// Something else, such as the file of this name.
    Other(String),
}

impl Content {
    fn of(folder: &Path) -> Result<Self, Error> {
        let entries = fs::read_dir(folder).map_err(Error::io("open", folder))?;
        let name = |entry: std::io::Result<fs::DirEntry>| {
            Ok(entry.map_err(Error::io("open", folder))?.file_name().to_string_lossy().into_owned())
        };
        let mut names = entries.map(name).collect::<Result<Vec<_>, Error>>()?;
        names.sort();
        let has = |wanted: &[&str]| names.iter().any(|name| wanted.contains(&&**name));
        if has(&[SETTINGS, LAST]) && has(&[OPTIMIZER, METRICS]) {
            return Ok(Self::Run);
        }
        let is_left =
            |name: &str| [LOCK_FILE, OPTIMIZER, BEST].contains(&name) || is_unfinished(name);
        let is_locked = has(&[LOCK_FILE]);
        Ok(match names.into_iter().find(|name| !(is_locked && is_left(name))) {
            Some(name) => Self::Other(name),
            None => Self::Nothing,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(folder: &Path, names: &[&str]) {
        fs::create_dir_all(folder.join(OPTIMIZER)).unwrap();
        names.iter().for_each(|name| fs::write(folder.join(name), name).unwrap());
    }

    #[test]
    fn only_runs_are_moved_aside() {
        let places = tempfile::tempdir().unwrap();
        let folder = places.path().join("mine");
        fs::create_dir(&folder).unwrap();
        for name in ["thesis.tex", SETTINGS, BEST, OPTIMIZER] {
            fs::write(folder.join(name), name).unwrap();
            let refused = RunClaim::new(&folder).unwrap_err().to_string();
            assert!(refused.contains(name) && refused.contains("mine"), "{refused}");
            let names: Vec<_> = fs::read_dir(&folder).unwrap().collect();
            assert_eq!(names.len(), 1, "nothing was written beside {name}");
            fs::remove_file(folder.join(name)).unwrap();
        }
        RunClaim::new(&folder).unwrap().start().unwrap();
        assert!(!places.path().join("mine.1").exists(), "an empty folder is used as it is");
    }

    #[test]
    fn a_run_is_moved_aside_and_its_best_stays() {
        let places = tempfile::tempdir().unwrap();
        let folder = places.path().join("run");
        write(&folder, &[SETTINGS, LAST, BEST, METRICS]);
        // With a slash at its end it is the same folder.
        let claim = RunClaim::new(&places.path().join("run/")).unwrap();
        let [moved, second] =
            ["run.1", "run.2"].map(|name| places.path().canonicalize().unwrap().join(name));
        assert_eq!(claim.moves_to().unwrap(), Some(moved.clone()));
        let run = claim.start().unwrap();
        assert_eq!(fs::read(moved.join(LAST)).unwrap(), LAST.as_bytes());
        assert_eq!(fs::read(run.file(BEST)).unwrap(), BEST.as_bytes());
        assert!(!run.file(LAST).exists() && !run.file(METRICS).exists());
        assert!(RunClaim::new(&folder).is_err(), "it is in use");

        // Killed before it has written anything: its folder holds no run yet.
        drop(run);
        let again = RunClaim::new(&folder).unwrap();
        assert_eq!(again.moves_to().unwrap(), None);
        let again = again.start().unwrap();
        write(&folder, &[SETTINGS]);
        super::super::write_atomically(&again.file(BEST), b"new").unwrap();
        assert_eq!(
            fs::read(moved.join(BEST)).unwrap(),
            BEST.as_bytes(),
            "the old file is as it was"
        );
        drop(again);
        assert_eq!(RunClaim::new(&folder).unwrap().moves_to().unwrap(), Some(second));
    }

    #[test]
    fn a_checkpoint_is_known_in_any_spelling() {
        let places = tempfile::tempdir().unwrap();
        let folder = places.path().join("run");
        write(&folder, &[SETTINGS, LAST]);
        let claim = RunClaim::new(&folder).unwrap();
        for spelling in
            ["run/last.safetensors", "run/../run/./last.safetensors", "./run//last.safetensors"]
        {
            assert!(claim.contains(&places.path().join(spelling)), "{spelling}");
        }
        fs::write(places.path().join(LAST), "").unwrap();
        assert!(!claim.contains(&places.path().join(LAST)));
    }

    /// Two trainers that start at once, again and again: one of them gets the folder.
    #[test]
    fn of_two_that_start_at_once_one_is_refused() {
        let places = tempfile::tempdir().unwrap();
        let folder = places.path().join("run");
        for round in 0..200 {
            let started: Vec<_> = std::thread::scope(|scope| {
                let start = || RunClaim::new(&folder).and_then(RunClaim::start);
                let threads = [scope.spawn(start), scope.spawn(start), scope.spawn(start)];
                threads.map(|thread| thread.join().unwrap()).into_iter().collect()
            });
            let runs: Vec<_> = started.iter().filter_map(|run| run.as_ref().ok()).collect();
            assert_eq!(runs.len(), 1, "round {round}: {started:?}");
            for error in started.iter().filter_map(|run| run.as_ref().err()) {
                assert!(matches!(error, Error::RunInUse { .. }), "round {round}: {error}");
            }
            write(&folder, &[SETTINGS, LAST]);
        }
    }
}
