//! Errors of downloads and installations.

use std::io;
use std::path::{Path, PathBuf};

use crate::{Digest, format_bytes};

/// Why a file or folder could not be provided. Each message names the file or address, the value
/// that was found, and a remedy. Programs add how their options help.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An operation of the file system failed.
    #[error("cannot {operation} {}: {source}", path.display())]
    Io {
        /// The operation, as a verb.
        operation: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A file is not on disk, and downloads are turned off.
    #[error(
        "{name} would have to be downloaded from {url}, but downloads are turned off (by \
         FEWSHOT_OFFLINE, HF_HUB_OFFLINE or the program)"
    )]
    Offline {
        /// The file.
        name: String,
        /// Address of its first mirror.
        url: String,
    },
    /// Another process holds the lock.
    #[error("{}: another process is at work on it; wait for it or end it", path.display())]
    Busy {
        /// The locked file.
        path: PathBuf,
    },
    /// Every mirror failed.
    #[error(
        "{name} could not be downloaded:{}\ntry again later: what has arrived is kept",
        failures.iter().map(|(url, why)| format!("\n  {url}: {why}")).collect::<String>()
    )]
    Unavailable {
        /// The file.
        name: String,
        /// Addresses in the order in which they were tried, each with the reason of its failure.
        failures: Vec<(String, String)>,
    },
    /// A file on disk is not the published one.
    #[error(
        "{}: its digest is {got}, but the published file has {expected}: it is damaged, or \
         another version; delete it and fetch it again", path.display()
    )]
    WrongDigest {
        /// The file.
        path: PathBuf,
        /// Digest as published.
        expected: Digest,
        /// Digest of the file on disk.
        got: Digest,
    },
    /// A local archive is none of those of the package.
    #[error(
        "{}: its digest is {got}; expected is {}: give the published file, unchanged",
        path.display(),
        expected.iter().map(|(name, digest)| format!("{name} with {digest}")).collect::<Vec<_>>()
            .join(" or ")
    )]
    UnknownArchive {
        /// The file.
        path: PathBuf,
        /// Its digest.
        got: Digest,
        /// Names and digests of the package's archives.
        expected: Vec<(String, Digest)>,
    },
    /// Too little space is free on the disk.
    #[error(
        "{}: {} are needed, {} are free: make room",
        path.display(), format_bytes(*needed), format_bytes(*free)
    )]
    Space {
        /// The folder.
        path: PathBuf,
        /// Bytes needed, for what is still to be downloaded and everything that is unpacked.
        needed: u64,
        /// Bytes free.
        free: u64,
    },
    /// An archive has an entry that is refused.
    #[error("{}: entry `{entry}`: {reason}; nothing was kept of it", archive.display())]
    Entry {
        /// The archive.
        archive: PathBuf,
        /// Name of the entry.
        entry: String,
        /// Why it is refused.
        reason: String,
    },
    /// An archive is malformed.
    #[error("{}: not a readable archive: {reason}; fetch it again", archive.display())]
    Archive {
        /// The archive.
        archive: PathBuf,
        /// What is malformed.
        reason: String,
    },
    /// An archive exceeds its limits.
    #[error("{}: it holds more than {limit} {unit}: not the published archive", archive.display())]
    Limit {
        /// The archive.
        archive: PathBuf,
        /// The limit.
        limit: u64,
        /// What is counted: `bytes` or `entries`.
        unit: &'static str,
    },
    /// A folder has the name of a package, but lacks one of its paths.
    #[error(
        "{}: it has no {missing}, so it is not {package}: move it away and install it again",
        path.display()
    )]
    Incomplete {
        /// The folder.
        path: PathBuf,
        /// Folder name of the package.
        package: String,
        /// First path that is missing.
        missing: String,
    },
    /// The archives of a package lack one of its paths.
    #[error("{package}: it has no {missing}: the archives are not the expected ones")]
    MissingContent {
        /// Folder name of the package.
        package: String,
        /// First path that is missing.
        missing: String,
    },
    /// The unpacked files could not be converted.
    #[error("{}: it cannot be made of its archives: {reason}", path.display())]
    Conversion {
        /// The folder.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A proxy's address is invalid.
    #[error(
        "{variable} is no address of a proxy ({reason}): set it to http://HOST:PORT, or unset it"
    )]
    Proxy {
        /// The environment variable.
        variable: String,
        /// What is wrong. The address is not shown: it may hold a password.
        reason: String,
    },
    /// A file of root certificates cannot be used.
    #[error(
        "{}: {reason}; set SSL_CERT_FILE to a PEM file of certificates, or unset it",
        path.display()
    )]
    RootCertificates {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A text is not a digest.
    #[error(
        "`{text}` is no digest: expected 32 (MD5), 40 (git) or 64 (SHA-256) hexadecimal digits"
    )]
    InvalidDigest {
        /// The text.
        text: String,
    },
    /// An `hf://` address is invalid.
    #[error("{address}: {reason}; expected is hf://OWNER/REPOSITORY/FILE or …/FILE@REVISION")]
    HubAddress {
        /// The address as it was given.
        address: String,
        /// What is wrong with it.
        reason: String,
    },
    /// An environment variable that configures access to the hub is invalid.
    #[error("{variable}: {reason}")]
    HubSetting {
        /// The environment variable.
        variable: &'static str,
        /// What is wrong, and what to do. A token is not shown.
        reason: String,
    },
    /// The hub or its cache does not have a file or repository, or denies access to it.
    #[error("{subject}: {reason}")]
    Hub {
        /// The repository or file.
        subject: String,
        /// What the hub answers, and what to do.
        reason: String,
    },
}

impl Error {
    /// Returns a function that makes an error of an operation on a path, for `map_err`.
    pub(crate) fn io(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { operation, path: path.to_owned(), source }
    }
}
