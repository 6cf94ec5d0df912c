//! Extraction of archives that cannot write outside their folder.

mod name;
mod tar;
mod writer;
mod zip;

use std::fs::File;
use std::path::Path;

use self::writer::EntryWriter;
use crate::{Error, Event, Listener};

/// Format of an archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A tar archive, compressed by gzip.
    TarGz,
    /// A zip archive, its entries stored or deflated.
    Zip,
    /// A single file that is not packed, for a [`Convert`](crate::Convert) to read.
    Plain,
}

/// Limits on the content of an archive, so that none fills the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of all its files together.
    pub bytes: u64,
    /// Number of files and folders.
    pub entries: u64,
}

/// Totals of an extraction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unpacked {
    /// Number of files.
    pub files: u64,
    /// Bytes of all files together.
    pub bytes: u64,
}

/// Unpacks an archive into an existing folder. The first component of an entry's name is
/// removed if it is `strip`.
///
/// Accepts files and folders whose names stay below the folder on any operating system. Refuses
/// absolute paths, `..`, symbolic and hard links, devices, names that occur twice, that are not
/// UTF-8 or too long, and whatever exceeds the limits. What was unpacked before the refusal
/// stays: give an empty folder, and delete it on an error.
///
/// # Errors
/// [`Error::Entry`], [`Error::Limit`], [`Error::Archive`], [`Error::Io`].
pub fn unpack(
    archive: &Path,
    format: Format,
    folder: &Path,
    strip: Option<&str>,
    limits: Limits,
    listener: Listener<'_>,
) -> Result<Unpacked, Error> {
    if format == Format::Plain {
        return link_or_copy(archive, folder);
    }
    let file = File::open(archive).map_err(Error::io("open", archive))?;
    let total = file.metadata().map_err(Error::io("read", archive))?.len();
    let mut writer = EntryWriter::new(archive, folder, strip, limits);
    let mut progress = |done: u64| listener(Event::Unpacking { done: done.min(total), total });
    match format {
        Format::Zip => zip::unpack(file, &mut writer, &mut progress)?,
        _ => tar::unpack(file, &mut writer, &mut progress)?,
    }
    progress(total);
    Ok(writer.unpacked())
}

/// Links the file into the folder, or copies it where the file system has no hard links.
fn link_or_copy(file: &Path, folder: &Path) -> Result<Unpacked, Error> {
    let name = folder.join(file.file_name().unwrap_or_default());
    // The path may be a symbolic link, and a hard link to that would be another symbolic link.
    let original = file.canonicalize().map_err(Error::io("open", file))?;
    std::fs::hard_link(&original, &name)
        .or_else(|_| std::fs::copy(&original, &name).map(drop))
        .map_err(Error::io("write", &name))?;
    let bytes = name.metadata().map_err(Error::io("read", &name))?.len();
    Ok(Unpacked { files: 1, bytes })
}
