//! The files of a zip.

use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use zip::read::{ArchiveOffset, Config};
use zip::result::ZipError;

use super::mapped::Mapped;
use super::positioned::{Cursor, PositionedFile};
use super::{Builder, Location, checked_len, clean, entry_error, names};
use crate::Error;
use crate::pack::is_manifest;

/// A zip whose entries many threads inflate at the same time.
pub(crate) struct ZipFile {
    path: PathBuf,
    /// Cloned for each read: a clone shares the index and has its own cursor.
    archive: zip::ZipArchive<Content>,
}

/// A reader of a zip with its position.
#[derive(Clone)]
enum Content {
    File(Cursor),
    /// The content of a pack.
    Mapped(io::Cursor<Mapped>),
}

/// Adds all files of a zip to the tree, by their number.
pub(super) fn index(path: &Path, tree: &mut Builder) -> Result<(), Error> {
    let file = Arc::new(PositionedFile::open(path)?);
    let mut archive = open(path, Content::File(Cursor::new(&file)))?;
    if archive.file_names_raw().any(is_manifest) {
        archive = open(path, Content::Mapped(io::Cursor::new(Mapped::open(path)?)))?;
    }
    if archive.has_duplicate_names() {
        return Err(Error::Archive {
            archive: path.to_owned(),
            reason: "two entries have the same name; pack it again".into(),
        });
    }
    check_overlaps(path, &archive)?;
    let is_cp437 = has_cp437_names(path, &archive)?;
    let zip = Arc::new(ZipFile { path: path.to_owned(), archive });
    for number in 0..zip.archive.len() {
        let entry = zip.archive.by_index_data(number).map_err(|e| failure(path, e))?;
        let raw = entry.name_raw();
        let as_stored = if is_cp437 && !is_marked_utf8(entry.flags().as_u16()) {
            names::cp437(raw)
        } else {
            names::text(raw).0
        };
        clean(&as_stored).map_err(|reason| entry_error(path, &as_stored, reason))?;
        // Some programs write the separator of Windows.
        let name = as_stored.replace('\\', "/");
        let raw = if is_cp437 { name.clone().into_bytes() } else { raw.to_owned() };
        let raw: Vec<_> = raw.into_iter().map(|b| if b == b'\\' { b'/' } else { b }).collect();
        if entry.is_dir() || name.ends_with('/') {
            tree.add_folder(path, &name, &raw)?;
        } else if entry.is_symlink() {
            tree.skip_special(path, &name)?;
        } else {
            let archive = Arc::clone(&zip);
            tree.add_entry(path, &name, &raw, Location::Zip { archive, number })?;
        }
    }
    Ok(())
}

/// Whether the zip says that this name is UTF-8.
fn is_marked_utf8(flags: u16) -> bool {
    flags & 1 << 11 != 0
}

/// Whether names that are not marked as UTF-8 are code page 437, as the format has it: not if all of them
/// are UTF-8 anyway, as macOS writes them.
fn has_cp437_names(path: &Path, archive: &zip::ZipArchive<Content>) -> Result<bool, Error> {
    for number in 0..archive.len() {
        let entry = archive.by_index_data(number).map_err(|e| failure(path, e))?;
        if !is_marked_utf8(entry.flags().as_u16()) && str::from_utf8(entry.name_raw()).is_err() {
            return Ok(true);
        }
    }
    Ok(false)
}

fn open(path: &Path, content: Content) -> Result<zip::ZipArchive<Content>, Error> {
    // Left to search for the start, the zip crate (9.8) takes the second entry of some
    // archives for the first.
    let config = Config { archive_offset: ArchiveOffset::Known(0) };
    zip::ZipArchive::with_config(config, content).map_err(|e| failure(path, e))
}

/// Refuses entries that overlap each other or the central directory: no tool writes such entries,
/// and a small file could appear to hold any number of large images.
fn check_overlaps(path: &Path, archive: &zip::ZipArchive<Content>) -> Result<(), Error> {
    const LOCAL_HEADER: u64 = 30;
    let mut ranges = Vec::with_capacity(archive.len());
    for number in 0..archive.len() {
        let entry = archive.by_index_data(number).map_err(|e| failure(path, e))?;
        let header = LOCAL_HEADER + entry.name_raw().len() as u64;
        let end = entry.header_start().checked_add(header);
        let end = end.and_then(|content| content.checked_add(entry.compressed_size()));
        ranges.push((entry.header_start(), end.unwrap_or(u64::MAX), number));
    }
    ranges.sort_unstable();
    let starts = ranges.iter().skip(1).map(|&(start, ..)| start);
    let bounds = starts.chain([archive.central_directory_start()]);
    match ranges.iter().zip(bounds).find(|((_, end, _), bound)| end > bound) {
        None => Ok(()),
        Some((&(_, _, number), _)) => {
            let entry = archive.by_index_data(number).map_err(|e| failure(path, e))?;
            let name = String::from_utf8_lossy(entry.name_raw());
            let reason = "it reaches into what follows it; the archive is damaged";
            Err(entry_error(path, &name, reason))
        }
    }
}

impl ZipFile {
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the size of entry `number` in bytes, as the archive declares it.
    pub(super) fn len(&self, number: usize) -> u64 {
        self.archive.clone().by_index_data(number).map_or(0, |entry| entry.size())
    }

    /// Reads entry `number`, of at most 256 MiB.
    pub(super) fn read(&self, number: usize) -> Result<Vec<u8>, Error> {
        let mut archive = self.archive.clone();
        let entry = archive.by_index(number).map_err(|e| failure(&self.path, e))?;
        let name = String::from_utf8_lossy(entry.name_raw()).into_owned();
        let name = format!("{}!{name}", self.path.display());
        let declared = entry.size();
        checked_len(declared, || name.clone())?;
        let broken = |reason: String| Error::image(&name, reason);
        // The declared size is untrusted: no memory is reserved for it, and content beyond it is
        // not read.
        let mut bytes = Vec::new();
        match entry.take(declared + 1).read_to_end(&mut bytes) {
            Ok(_) if bytes.len() as u64 == declared => Ok(bytes),
            Ok(_) => Err(broken("its size is not the declared one".into())),
            Err(e) if is_content_fault(&e) => Err(broken(e.to_string())),
            Err(e) => Err(Error::io(&self.path)(e)),
        }
    }
}

impl Read for Content {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::File(file) => file.read(buffer),
            Self::Mapped(bytes) => bytes.read(buffer),
        }
    }
}

impl Seek for Content {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        match self {
            Self::File(file) => file.seek(to),
            Self::Mapped(bytes) => bytes.seek(to),
        }
    }
}

fn is_content_fault(e: &io::Error) -> bool {
    use io::ErrorKind::{InvalidData, InvalidInput, Other, UnexpectedEof};
    matches!(e.kind(), InvalidData | InvalidInput | Other | UnexpectedEof)
}

fn failure(path: &Path, e: ZipError) -> Error {
    match e {
        ZipError::Io(e) if !is_content_fault(&e) => Error::io(path)(e),
        e => {
            Error::Archive { archive: path.to_owned(), reason: format!("{e}; it may be truncated") }
        }
    }
}
