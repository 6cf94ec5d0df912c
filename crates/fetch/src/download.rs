//! Downloads from the first mirror that delivers a file complete and unchanged.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::attempt::{Fault, attempt};
use crate::client::Client;
use crate::part::Part;
use crate::{
    Digest, Error, Event, Listener, Proxies, Remote, RetryPolicy, RootCertificates, Token,
};

/// Downloads files; see the [crate's front page](crate).
#[derive(Clone, Debug, Default)]
pub struct Downloader {
    /// How often to retry, and how long to wait.
    pub retry_policy: RetryPolicy,
    /// Proxies.
    pub proxies: Proxies,
    /// Trusted root certificates.
    pub roots: RootCertificates,
    /// Sends no requests: only files that are on disk are accepted.
    pub offline: bool,
    /// Access token for one server.
    pub token: Option<Token>,
}

impl Downloader {
    /// Reads the environment: `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY`, `NO_PROXY`,
    /// `SSL_CERT_FILE`, and `FEWSHOT_OFFLINE`, which is off if it is empty or `0`.
    ///
    /// # Errors
    /// [`Error::Proxy`], [`Error::RootCertificates`].
    pub fn from_environment() -> Result<Self, Error> {
        let offline = std::env::var_os("FEWSHOT_OFFLINE");
        Ok(Self {
            retry_policy: RetryPolicy::default(),
            proxies: Proxies::from_environment()?,
            roots: RootCertificates::from_environment()?,
            offline: offline.is_some_and(|value| !value.is_empty() && value != "0"),
            token: None,
        })
    }

    /// Downloads a file into a folder and returns its path. A file that is there already is
    /// verified and kept. Resumes from the `NAME.part` of an earlier call.
    ///
    /// # Errors
    /// [`Error::WrongDigest`] if another file has its name, [`Error::Offline`], [`Error::Busy`],
    /// [`Error::Unavailable`] if every mirror failed, [`Error::Io`].
    pub fn fetch(
        &self,
        remote: &Remote,
        folder: &Path,
        listener: Listener<'_>,
    ) -> Result<PathBuf, Error> {
        let target = folder.join(&remote.name);
        if target.exists() {
            return match digest_file(remote, &target, listener)? {
                got if got == remote.digest => Ok(target),
                got => Err(Error::WrongDigest { path: target, expected: remote.digest, got }),
            };
        }
        if self.offline {
            let url = remote.mirrors.first().cloned().unwrap_or_default();
            return Err(Error::Offline { name: remote.name.clone(), url });
        }
        let mut part = Part::open(&target)?;
        let client = Client::new(self);
        let mut failures = Vec::new();
        for (index, url) in remote.mirrors.iter().enumerate() {
            let is_last = index + 1 == remote.mirrors.len();
            match self.try_mirror(&client, remote, (url, is_last), &mut part, listener) {
                Ok(()) => {
                    part.finish(&target)?;
                    return Ok(target);
                }
                Err(Fault::Fatal(error)) => {
                    part.close();
                    return Err(error);
                }
                Err(Fault::NextMirror(why) | Fault::Slow(why) | Fault::Retry { why, .. }) => {
                    listener(Event::GivenUp { url, why: &why });
                    failures.push((url.clone(), why));
                }
            }
        }
        part.close();
        Err(Error::Unavailable { name: remote.name.clone(), failures })
    }

    /// Tries one mirror as long as it makes progress. One that is slow is tried again only if it is the
    /// last.
    fn try_mirror(
        &self,
        client: &Client,
        remote: &Remote,
        (url, is_last): (&str, bool),
        part: &mut Part,
        listener: Listener<'_>,
    ) -> Result<(), Fault> {
        let mut failures = 0;
        // Only bytes beyond the farthest one so far count as progress: otherwise a server that
        // always breaks off at the same byte, or makes us start over, would be tried for ever.
        let step = (remote.size.limit() / 100).clamp(1, 1 << 20);
        let mut farthest = part.len();
        let mut started_from_part = part.len() > 0;
        loop {
            let fault = match attempt(client, remote, url, part, listener) {
                Ok(()) => match digest_file(remote, part.path(), listener)? {
                    got if got == remote.digest => return Ok(()),
                    got => {
                        let expected = remote.digest;
                        part.discard()?;
                        let why = format!("its digest is {got}, expected is {expected}");
                        // The part may have been of another version: once more, from byte 0.
                        if !std::mem::take(&mut started_from_part) {
                            return Err(Fault::NextMirror(why));
                        }
                        Fault::Retry { why, wait: None }
                    }
                },
                Err(fault) => fault,
            };
            let (why, wait, is_slow) = match fault {
                Fault::Retry { why, wait } => (why, wait, false),
                Fault::Slow(why) if is_last => (why, None, true),
                fault => return Err(fault),
            };
            if !is_slow && part.len() >= farthest.saturating_add(step) {
                (farthest, failures) = (part.len(), 0);
            }
            failures += 1;
            self.wait(failures, why, wait, listener)?;
        }
    }

    /// Repeats a small request until it succeeds or the attempts of the policy are used up.
    pub(crate) fn with_retries<T>(
        &self,
        name: &str,
        url: &str,
        listener: Listener<'_>,
        mut request: impl FnMut(Listener<'_>) -> Result<T, Fault>,
    ) -> Result<T, Error> {
        let mut failures = 0;
        loop {
            let fault = match request(listener) {
                Ok(value) => return Ok(value),
                Err(Fault::Retry { why, wait }) => {
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
                Fault::NextMirror(why) | Fault::Slow(why) | Fault::Retry { why, .. } => {
                    Error::Unavailable { name: name.into(), failures: vec![(url.into(), why)] }
                }
            });
        }
    }

    /// Waits before the next attempt, unless there have been too many failures in a row or the
    /// server asks for too long a wait.
    fn wait(
        &self,
        failures: u32,
        why: String,
        wait: Option<Duration>,
        listener: Listener<'_>,
    ) -> Result<(), Fault> {
        let policy = &self.retry_policy;
        if failures >= policy.max_attempts {
            let why = format!("{why} (after {failures} tries that brought nothing new)");
            return Err(Fault::NextMirror(why));
        }
        let wait = wait.unwrap_or_else(|| policy.backoff(failures));
        if wait > policy.max_wait {
            let why = format!("{why} and asks for a wait of {} s", wait.as_secs());
            return Err(Fault::NextMirror(why));
        }
        listener(Event::Waiting { wait, why: &why });
        policy.sleep(wait);
        Ok(())
    }
}

/// Computes the digest of a file by the algorithm of the published one.
pub(crate) fn digest_file(
    remote: &Remote,
    path: &Path,
    listener: Listener<'_>,
) -> Result<Digest, Error> {
    let total = path.metadata().map_err(Error::io("read", path))?.len();
    let mut progress = |done| listener(Event::Verifying { done, total });
    remote.digest.algorithm().digest_file(path, &mut progress)
}
