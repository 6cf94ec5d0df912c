//! Published files, and the events of a download.

use std::time::Duration;

use crate::Digest;

/// A published file: its name on disk, where to download it from, and how to verify it.
#[derive(Clone, Debug)]
pub struct Remote {
    /// File name on disk: a single path component.
    pub name: String,
    /// Addresses (`http` or `https`), tried in this order.
    pub mirrors: Vec<String>,
    /// Expected size.
    pub size: Size,
    /// Expected digest.
    pub digest: Digest,
}

/// What is known of a file's size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// Exact number of bytes: a file of any other size is not the published one.
    Exactly(u64),
    /// Upper bound in bytes, which keeps a server from filling the disk.
    AtMost(u64),
}

impl Size {
    /// Returns the largest number of bytes that is accepted.
    pub fn limit(self) -> u64 {
        match self {
            Self::Exactly(bytes) | Self::AtMost(bytes) => bytes,
        }
    }

    /// Returns the exact size, where it is known.
    pub fn known(self) -> Option<u64> {
        match self {
            Self::Exactly(bytes) => Some(bytes),
            Self::AtMost(_) => None,
        }
    }

    /// Returns why a file of the announced size cannot be the published one.
    pub(crate) fn mismatch(self, announced: u64) -> Option<String> {
        match self {
            Self::Exactly(bytes) if announced != bytes => Some(format!(
                "the server has a file of {announced} bytes, the published one has {bytes}"
            )),
            Self::AtMost(bytes) if announced > bytes => Some(format!(
                "the server has a file of {announced} bytes, at most {bytes} are expected"
            )),
            _ => None,
        }
    }
}

/// Progress of a download or installation.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A request is sent to a mirror.
    Asking {
        /// Address of the mirror.
        url: &'a str,
        /// Offset of the first byte requested: earlier ones are on disk.
        from: u64,
    },
    /// Bytes have arrived.
    Arrived {
        /// Bytes on disk, those of earlier calls included.
        done: u64,
        /// Size of the file in bytes, where it is known.
        total: Option<u64>,
    },
    /// An attempt failed; the next one follows after a wait.
    Waiting {
        /// Time until the next attempt.
        wait: Duration,
        /// Why the attempt failed.
        why: &'a str,
    },
    /// A mirror was given up; the next one is tried.
    GivenUp {
        /// Address of the mirror.
        url: &'a str,
        /// Why it was given up.
        why: &'a str,
    },
    /// The digest is being computed.
    Verifying {
        /// Bytes read so far.
        done: u64,
        /// Size of the file in bytes.
        total: u64,
    },
    /// An archive is being unpacked.
    Unpacking {
        /// Bytes of the archive read so far.
        done: u64,
        /// Size of the archive in bytes.
        total: u64,
    },
    /// The unpacked files are being converted into the wanted folder.
    Converting {
        /// Files written so far.
        done: u64,
        /// Number of files to write.
        total: u64,
    },
}

/// Callback for the events of a download; `&mut |_| {}` ignores them.
pub type Listener<'a> = &'a mut dyn FnMut(Event<'_>);

/// Formats a number of bytes for people, with decimal prefixes: `1.15 GB`.
pub fn format_bytes(count: u64) -> String {
    match count {
        0..1_000 => format!("{count} bytes"),
        1_000..1_000_000 => format!("{:.1} kB", count as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", count as f64 / 1e6),
        _ => format!("{:.2} GB", count as f64 / 1e9),
    }
}
