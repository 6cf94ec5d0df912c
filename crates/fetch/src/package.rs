//! What to install: a folder and its archives.

use crate::{Format, Limits, Remote};

/// A folder that is made from one or more published archives.
#[derive(Clone, Debug)]
pub struct Package {
    /// Name of the folder.
    pub folder: String,
    /// Archives, unpacked into the same folder: no two of them may have the same file.
    pub archives: Vec<Archive>,
    /// Approximate size of the unpacked folder on disk, in bytes.
    pub on_disk: u64,
    /// Limits on the contents of each archive.
    pub limits: Limits,
    /// Paths relative to the folder that a complete one has.
    pub required_paths: Vec<String>,
}

/// An archive of a [`Package`].
#[derive(Clone, Debug)]
pub struct Archive {
    /// Published file.
    pub remote: Remote,
    /// Archive format.
    pub format: Format,
    /// First path component that is removed from the names of its entries.
    pub strip: Option<String>,
}
