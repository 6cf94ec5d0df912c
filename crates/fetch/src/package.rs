use crate::{Format, Limits, Remote};

/// A folder, made of one or more published archives.
#[derive(Clone, Debug)]
pub struct Package {
    /// What the folder is called.
    pub folder: String,
    /// The archives, unpacked one over the other: a file may be in one of them only.
    pub archives: Vec<Archive>,
    /// Bytes that the unpacked folder takes on disk, roughly.
    pub on_disk: u64,
    /// The most that each archive may hold.
    pub limits: Limits,
    /// Paths below the folder that a complete one has.
    pub holds: Vec<String>,
}

/// An archive of a [`Package`].
#[derive(Clone, Debug)]
pub struct Archive {
    /// The file.
    pub remote: Remote,
    /// How it is packed.
    pub format: Format,
    /// The first component of its names that is left out.
    pub strip: Option<String>,
}
