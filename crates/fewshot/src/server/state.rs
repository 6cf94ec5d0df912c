//! What all requests share.

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use tokio::sync::Semaphore;

use crate::{Album, Error, Network};

/// Changes that can be undone.
const UNDO: usize = 50;
/// Photos that are decoded at the same time: each may take half a gigabyte.
const AT_ONCE: usize = 4;

/// The album that is served.
pub struct Shared {
    pub network: Network,
    pub path: PathBuf,
    /// Requests that decode wait here.
    pub decoding: Semaphore,
    state: Mutex<State>,
}

/// The album, with what it was before.
pub struct State {
    pub album: Album,
    before: Vec<Album>,
    /// Number of changes so far, by which pages notice those of others.
    pub version: u64,
    /// The version that is in the file.
    saved: u64,
    /// When the file was written, by this server or before it began.
    written: Option<SystemTime>,
}

impl Shared {
    pub fn new(path: PathBuf, album: Album, network: Network) -> Self {
        let written = modified(&path);
        let state = State { album, before: Vec::new(), version: 0, saved: 0, written };
        Self { network, path, decoding: Semaphore::new(AT_ONCE), state: Mutex::new(state) }
    }

    pub fn lock(&self) -> MutexGuard<'_, State> {
        // A change that panicked has changed nothing: albums are replaced whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes changes that are not in the file into another one beside it, which is returned.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn keep(&self) -> Result<Option<PathBuf>, Error> {
        let state = self.lock();
        if !state.is_changed() {
            return Ok(None);
        }
        let beside = |number: usize| self.path.with_extension(format!("unsaved-{number}.fewshot"));
        let path = (1..).map(beside).find(|path| !path.exists()).unwrap_or_else(|| beside(1));
        state.album.save(&path)?;
        Ok(Some(path))
    }

    /// Writes the album.
    ///
    /// # Errors
    /// A full disk; a file that another program has written meanwhile.
    pub fn save(&self) -> Result<u64, Error> {
        let mut state = self.lock();
        if modified(&self.path) != state.written {
            let reason = "another program has written it since it was read here: save under another name, or \
                          start anew";
            return Err(Error::album(&self.path, reason));
        }
        state.album.save(&self.path)?;
        state.written = modified(&self.path);
        state.saved = state.version;
        Ok(state.version)
    }
}

fn modified(path: &std::path::Path) -> Option<SystemTime> {
    path.metadata().and_then(|meta| meta.modified()).ok()
}

impl State {
    pub fn is_changed(&self) -> bool {
        self.version != self.saved
    }

    /// Changes the album; what it was can be had again.
    ///
    /// # Errors
    /// Those of `change`, after which the album is as it was.
    pub fn change<T>(
        &mut self,
        change: impl FnOnce(&mut Album) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let before = self.album.clone();
        let done = change(&mut self.album)?;
        if self.album != before {
            self.before.push(before);
            if self.before.len() > UNDO {
                self.before.remove(0);
            }
            self.version += 1;
        }
        Ok(done)
    }

    /// Takes the last change back; returns whether there was one.
    pub fn undo(&mut self) -> bool {
        let Some(before) = self.before.pop() else { return false };
        self.album = before;
        self.version += 1;
        true
    }

    pub fn can_undo(&self) -> bool {
        !self.before.is_empty()
    }
}
