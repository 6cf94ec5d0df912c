use crate::Digest;

/// A published file: what it is called, where it can be had, and how it is known.
#[derive(Clone, Debug)]
pub struct Remote {
    /// The name that it gets on disk. No path: it may not lead elsewhere.
    pub name: String,
    /// Addresses, asked in this order.
    pub mirrors: Vec<String>,
    /// How large it is.
    pub size: Size,
    /// What it must hash to.
    pub digest: Digest,
}

/// What is known of a file's size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// So many bytes: anything else is another file.
    Exactly(u64),
    /// No more than so many bytes: the disk is not filled by whatever a server sends.
    AtMost(u64),
}

impl Size {
    /// The most bytes that there may be.
    pub fn limit(self) -> u64 {
        match self {
            Self::Exactly(bytes) | Self::AtMost(bytes) => bytes,
        }
    }

    /// The size, where it is known.
    pub fn known(self) -> Option<u64> {
        match self {
            Self::Exactly(bytes) => Some(bytes),
            Self::AtMost(_) => None,
        }
    }

    /// Why a file of so many bytes is not the one that is wanted.
    pub(crate) fn objection(self, announced: u64) -> Option<String> {
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

/// What a download is doing, for whoever shows it.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A mirror is asked, from a byte on.
    Asking {
        /// Its address.
        url: &'a str,
        /// Bytes that are there already.
        from: u64,
    },
    /// So many bytes have arrived.
    Arrived {
        /// Bytes on disk, those of earlier calls included.
        done: u64,
        /// Bytes in all, where the size is known.
        total: Option<u64>,
    },
    /// A try failed; the next one follows after a wait.
    Waiting {
        /// The wait.
        wait: std::time::Duration,
        /// What happened.
        why: &'a str,
    },
    /// A mirror was given up; the next one is asked.
    GivenUp {
        /// Its address.
        url: &'a str,
        /// What happened.
        why: &'a str,
    },
    /// The digest is computed.
    Verifying {
        /// Bytes read.
        done: u64,
        /// Bytes in all.
        total: u64,
    },
    /// An archive is unpacked.
    Unpacking {
        /// Bytes of the archive that were read.
        done: u64,
        /// Bytes of the archive.
        total: u64,
    },
    /// The folder is made of what was unpacked.
    Making {
        /// Files made.
        done: u64,
        /// Files in all.
        total: u64,
    },
}

/// Who hears what a download is doing. `&mut |_| {}` for nobody.
pub type Listener<'a> = &'a mut dyn FnMut(Event<'_>);

/// A number of bytes for people: `1.15 GB`.
pub fn bytes(count: u64) -> String {
    match count {
        0..1_000 => format!("{count} bytes"),
        1_000..1_000_000 => format!("{:.1} kB", count as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", count as f64 / 1e6),
        _ => format!("{:.2} GB", count as f64 / 1e9),
    }
}
