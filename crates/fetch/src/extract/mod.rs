//! Archives to folders, such that nothing gets out of the folder.

mod name;
mod sink;
mod tar;
mod zip;

use std::path::Path;

use self::sink::Sink;
use crate::{Error, Listener};

/// How an archive is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A tar, compressed by gzip.
    TarGz,
    /// A zip, stored or deflated.
    Zip,
    /// Not packed: the file itself, for a [`Make`](crate::Make) that reads it.
    Plain,
}

/// The most that an archive may hold: more is an attack on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of all its files together.
    pub bytes: u64,
    /// Files and folders.
    pub entries: u64,
}

/// What was unpacked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unpacked {
    /// Files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Unpacks an archive into a folder, which exists. A name that begins with the component
/// `strip` loses it.
///
/// Taken are files and folders whose names lead below the folder on any system. Refused are
/// absolute paths, `..`, links of either kind, devices, names that are there twice, that
/// are not UTF-8 or too long, and whatever exceeds the limits. What was unpacked before the
/// refusal stays: give an empty folder, and delete it then.
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
    let mut sink = Sink::new(archive, folder, strip, limits);
    match format {
        Format::TarGz => tar::unpack(archive, &mut sink, listener)?,
        Format::Zip => zip::unpack(archive, &mut sink, listener)?,
        Format::Plain => return plain(archive, folder),
    }
    Ok(sink.unpacked())
}

/// Gives the file a second name in the folder, or copies it where the disk has no such names.
fn plain(file: &Path, folder: &Path) -> Result<Unpacked, Error> {
    let name = folder.join(file.file_name().unwrap_or_default());
    // The path itself may be a link, of which a second name would be another link.
    let whole = file.canonicalize().map_err(Error::io("open", file))?;
    let linked = std::fs::hard_link(&whole, &name);
    linked
        .or_else(|_| std::fs::copy(&whole, &name).map(drop))
        .map_err(Error::io("write", &name))?;
    let bytes = name.metadata().map_err(Error::io("read", &name))?.len();
    Ok(Unpacked { files: 1, bytes })
}

/// A fault of the archive's content, as opposed to one of the disk.
fn is_content_fault(e: &std::io::Error) -> bool {
    use std::io::ErrorKind::{InvalidData, InvalidInput, Other, UnexpectedEof};
    matches!(e.kind(), InvalidData | InvalidInput | Other | UnexpectedEof)
}

fn unreadable(archive: &Path, e: std::io::Error) -> Error {
    if is_content_fault(&e) {
        Error::Archive { archive: archive.to_owned(), reason: e.to_string() }
    } else {
        Error::io("read", archive)(e)
    }
}
