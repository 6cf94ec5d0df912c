//! A file from the first mirror that gives it whole and unchanged.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::attempt::{Fault, attempt};
use crate::client::Client;
use crate::part::Part;
use crate::{Digest, Error, Event, Listener, Pace, Proxies, Remote, Roots, Token};

/// Downloads files; see the [crate's front page](crate).
#[derive(Clone, Debug, Default)]
pub struct Downloader {
    /// How often to try and how long to wait.
    pub pace: Pace,
    /// Which proxies to ask.
    pub proxies: Proxies,
    /// Whose certificates to trust.
    pub roots: Roots,
    /// Refuses to ask any server: only what is there already is taken.
    pub offline: bool,
    /// What one server wants to be shown.
    pub token: Option<Token>,
}

impl Downloader {
    /// As the environment says: `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY`, `NO_PROXY`,
    /// `SSL_CERT_FILE`, and `FEWSHOT_OFFLINE`, which is off where it is empty or `0`.
    ///
    /// # Errors
    /// [`Error::Proxy`], [`Error::Roots`].
    pub fn from_environment() -> Result<Self, Error> {
        let offline = std::env::var_os("FEWSHOT_OFFLINE");
        Ok(Self {
            pace: Pace::default(),
            proxies: Proxies::from_environment()?,
            roots: Roots::from_environment()?,
            offline: offline.is_some_and(|value| !value.is_empty() && value != "0"),
            token: None,
        })
    }

    /// Puts the file into the folder, and gives its path. A file that is there already is
    /// verified and taken. What a broken or killed call left in `NAME.part` is gone on from.
    ///
    /// # Errors
    /// [`Error::WrongDigest`] where another file lies in its place, [`Error::Offline`],
    /// [`Error::Busy`], [`Error::Unavailable`] where every mirror failed, [`Error::Io`].
    pub fn fetch(
        &self,
        remote: &Remote,
        folder: &Path,
        listener: Listener<'_>,
    ) -> Result<PathBuf, Error> {
        let target = folder.join(&remote.name);
        if target.exists() {
            return match digest(remote, &target, listener)? {
                got if got == remote.digest => Ok(target),
                got => Err(Error::WrongDigest { path: target, expected: remote.digest, got }),
            };
        }
        if self.offline {
            let url = remote.mirrors.first().cloned().unwrap_or_default();
            return Err(Error::Offline { name: remote.name.clone(), url });
        }
        let mut part = Part::open(&target)?;
        let client = Client::of(self);
        let mut tried = Vec::new();
        for url in &remote.mirrors {
            match self.ask_mirror(&client, remote, url, &mut part, listener) {
                Ok(()) => {
                    part.finish(&target)?;
                    return Ok(target);
                }
                Err(Fault::Fatal(error)) => {
                    part.close();
                    return Err(error);
                }
                Err(Fault::Mirror(why) | Fault::Again { why, .. }) => {
                    listener(Event::GivenUp { url, why: &why });
                    tried.push((url.clone(), why));
                }
            }
        }
        part.close();
        Err(Error::Unavailable { name: remote.name.clone(), tried })
    }

    /// Tries one mirror for as long as it gets on.
    fn ask_mirror(
        &self,
        client: &Client,
        remote: &Remote,
        url: &str,
        part: &mut Part,
        listener: Listener<'_>,
    ) -> Result<(), Fault> {
        let mut failures = 0;
        // Only what was never reached before counts as getting on: otherwise a server that
        // always breaks off at the same byte, or makes us start over, would be asked for ever.
        let step = (remote.size.limit() / 100).clamp(1, 1 << 20);
        let mut reached = part.len();
        let mut began_with_a_part = part.len() > 0;
        loop {
            let fault = match attempt(client, remote, url, part, listener) {
                Ok(()) => match digest(remote, part.path(), listener)? {
                    got if got == remote.digest => return Ok(()),
                    got => {
                        let expected = remote.digest;
                        part.discard()?;
                        let why = format!("its digest is {got}, expected is {expected}");
                        // The part may have been of another version: once more, from nothing.
                        if !std::mem::take(&mut began_with_a_part) {
                            return Err(Fault::Mirror(why));
                        }
                        Fault::Again { why, wait: None }
                    }
                },
                Err(fault) => fault,
            };
            let Fault::Again { why, wait } = fault else { return Err(fault) };
            if part.len() >= reached.saturating_add(step) {
                (reached, failures) = (part.len(), 0);
            }
            failures += 1;
            self.wait(failures, why, wait, listener)?;
        }
    }

    /// Asks for something small until it is there, or as often as the pace has it.
    pub(crate) fn retry<T>(
        &self,
        name: &str,
        url: &str,
        listener: Listener<'_>,
        mut ask: impl FnMut(Listener<'_>) -> Result<T, Fault>,
    ) -> Result<T, Error> {
        let mut failures = 0;
        loop {
            let fault = match ask(listener) {
                Ok(done) => return Ok(done),
                Err(Fault::Again { why, wait }) => {
                    failures += 1;
                    match self.wait(failures, why, wait, listener) {
                        Ok(()) => continue,
                        Err(fault) => fault,
                    }
                }
                Err(fault) => fault,
            };
            return Err(match fault {
                Fault::Fatal(error) => error,
                Fault::Mirror(why) | Fault::Again { why, .. } => {
                    let (name, tried) = (name.to_owned(), vec![(url.to_owned(), why)]);
                    Error::Unavailable { name, tried }
                }
            });
        }
    }

    /// Waits for the next try after so many failures, if there is to be one.
    fn wait(
        &self,
        failures: u32,
        why: String,
        wait: Option<Duration>,
        listener: Listener<'_>,
    ) -> Result<(), Fault> {
        if failures >= self.pace.tries {
            let why = format!("{why} (after {failures} tries that brought nothing new)");
            return Err(Fault::Mirror(why));
        }
        let wait = wait.unwrap_or_else(|| self.pace.wait(failures));
        if wait > self.pace.longest_wait {
            let why = format!("{why} and asks for a wait of {} s", wait.as_secs());
            return Err(Fault::Mirror(why));
        }
        listener(Event::Waiting { wait, why: &why });
        self.pace.sleep(wait);
        Ok(())
    }
}

/// The digest of a file, of the kind that was published.
pub(crate) fn digest(
    remote: &Remote,
    path: &Path,
    listener: Listener<'_>,
) -> Result<Digest, Error> {
    let total = path.metadata().map_err(Error::io("read", path))?.len();
    let mut verifying = |done| listener(Event::Verifying { done, total });
    remote.digest.same_kind_of_file(path, &mut verifying)
}
