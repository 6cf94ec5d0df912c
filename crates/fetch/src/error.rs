use std::io;
use std::path::{Path, PathBuf};

use crate::{Digest, bytes};

/// Why a file could not be had. Each message names the file or address, the value that was
/// found and what to do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused.
    #[error("cannot {doing} {}: {source}", path.display())]
    Io {
        /// What was tried, as a verb.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A download is needed where none is allowed.
    #[error(
        "{name} would have to be downloaded, but --offline or FEWSHOT_OFFLINE is set: unset it, \
         or fetch {url} elsewhere and give the file by --from"
    )]
    Offline {
        /// The file.
        name: String,
        /// Where it can be had.
        url: String,
    },
    /// Another process works on the same file.
    #[error("{}: another process is at work on it; wait for it or end it", path.display())]
    Busy {
        /// The locked file.
        path: PathBuf,
    },
    /// No mirror gave the file.
    #[error(
        "{name} could not be downloaded:{}\ntry again later (what has arrived is kept), or fetch \
         it by other means and give the file by --from",
        tried.iter().map(|(url, why)| format!("\n  {url}: {why}")).collect::<String>()
    )]
    Unavailable {
        /// The file.
        name: String,
        /// The mirrors in the order of the tries, and what was wrong with each.
        tried: Vec<(String, String)>,
    },
    /// A file on disk is not the published one.
    #[error(
        "{}: its digest is {got}, but the published file has {expected}: it is damaged, or \
         another version; delete it and fetch it again", path.display()
    )]
    WrongDigest {
        /// The file.
        path: PathBuf,
        /// What was published.
        expected: Digest,
        /// What the file has.
        got: Digest,
    },
    /// A file on disk is none of those that are wanted.
    #[error(
        "{}: its digest is {got}; wanted is {wanted}: give the published file, unchanged",
        path.display()
    )]
    NotWanted {
        /// The file.
        path: PathBuf,
        /// Its digest.
        got: Digest,
        /// Names and digests of the files that are wanted.
        wanted: String,
    },
    /// The disk is too full.
    #[error(
        "{}: {} are needed, {} are free: make room, choose another folder by --data, or go on \
         regardless with --yes", path.display(), bytes(*needed), bytes(*free)
    )]
    Space {
        /// The folder.
        path: PathBuf,
        /// Bytes of what is still to be downloaded and of all that is unpacked.
        needed: u64,
        /// Bytes that are free.
        free: u64,
    },
    /// An archive's entry is of a kind that is refused.
    #[error("{}: entry `{entry}`: {reason}; nothing was kept of it", archive.display())]
    Entry {
        /// The archive.
        archive: PathBuf,
        /// The entry's name.
        entry: String,
        /// Why it is refused.
        reason: String,
    },
    /// An archive cannot be understood.
    #[error("{}: not a readable archive: {reason}; fetch it again", archive.display())]
    Archive {
        /// The archive.
        archive: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// An archive holds more than it should.
    #[error("{}: it holds more than {limit} {unit}: not the published archive", archive.display())]
    Limit {
        /// The archive.
        archive: PathBuf,
        /// The most that is accepted.
        limit: u64,
        /// Of what.
        unit: &'static str,
    },
    /// Something else lies where a dataset belongs, or an archive lacks something.
    #[error("{}: it has no {missing}, so that it is not {what}: {remedy}", path.display())]
    Incomplete {
        /// The folder.
        path: PathBuf,
        /// What it should be.
        what: String,
        /// The first thing that it lacks.
        missing: String,
        /// What to do.
        remedy: &'static str,
    },
    /// The wanted folder cannot be made of what was unpacked.
    #[error("{}: it cannot be made of its archives: {reason}", path.display())]
    Making {
        /// The folder.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A proxy's address makes no sense.
    #[error(
        "{variable} is no address of a proxy ({reason}): set it to http://HOST:PORT, or unset it"
    )]
    Proxy {
        /// The environment's variable.
        variable: String,
        /// What is wrong. The address is not shown: it may hold a password.
        reason: String,
    },
    /// A file of certificates cannot be used.
    #[error("{}: {reason}; set SSL_CERT_FILE to a PEM file of certificates, or unset it", path.display())]
    Roots {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A text is no digest.
    #[error(
        "`{text}` is no digest: expected 32 (MD5), 40 (git) or 64 (SHA-256) hexadecimal digits"
    )]
    NoDigest {
        /// The text.
        text: String,
    },
    /// An address of a hub's file makes no sense.
    #[error("{address}: {reason}; expected is hf://OWNER/REPOSITORY/FILE or …/FILE@REVISION")]
    HubAddress {
        /// The address as it was given.
        address: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A variable that says how to ask the hub makes no sense.
    #[error("{variable}: {reason}")]
    HubSetting {
        /// The environment's variable.
        variable: &'static str,
        /// What is wrong, and what to do. A token is not shown.
        reason: String,
    },
    /// The hub does not have or not give what is wanted.
    #[error("{what}: {reason}")]
    Hub {
        /// The repository or file.
        what: String,
        /// What the hub says, and what to do.
        reason: String,
    },
}

impl Error {
    pub(crate) fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { doing, path: path.to_owned(), source }
    }
}
