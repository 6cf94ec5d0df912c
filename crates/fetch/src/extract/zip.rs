//! Entries of zip archives.

use std::fs::File;
use std::io::BufReader;

use ::zip::ZipArchive;
use ::zip::read::{ArchiveOffset, Config};
use ::zip::result::ZipError;

use super::writer::{EntryKind, EntryWriter};
use crate::Error;

/// Bits of a Unix mode that hold the file type.
const TYPE_MASK: u32 = 0o170_000;
const DIRECTORY: u32 = 0o040_000;
const REGULAR_FILE: u32 = 0o100_000;

/// Writes every entry; `progress` receives the number of compressed bytes read.
pub(super) fn unpack(
    file: File,
    writer: &mut EntryWriter<'_>,
    progress: &mut dyn FnMut(u64),
) -> Result<(), Error> {
    // When it has to search for the start, the zip crate (9.8) takes the second entry of some
    // archives for the first.
    let config = Config { archive_offset: ArchiveOffset::Known(0) };
    let archive = ZipArchive::with_config(config, BufReader::new(file));
    let mut archive = archive.map_err(|e| malformed(writer, e))?;
    // The crate's index keeps only the last of them.
    if archive.has_duplicate_names() {
        return Err(writer.malformed("two entries have the same name"));
    }
    let mut read = 0u64;
    for number in 0..archive.len() {
        let entry = archive.by_index(number).map_err(|e| malformed(writer, e))?;
        let name = entry.name_raw().to_vec();
        let (size, compressed) = (entry.size(), entry.compressed_size());
        let file_type = entry.unix_mode().map_or(0, |mode| mode & TYPE_MASK);
        let kind = match (file_type, entry.is_dir()) {
            (0 | DIRECTORY, true) => EntryKind::Folder,
            (0 | REGULAR_FILE, false) => EntryKind::File { size },
            _ => EntryKind::Other,
        };
        writer.write(&name, kind, entry)?;
        read = read.saturating_add(compressed);
        progress(read);
    }
    Ok(())
}

fn malformed(writer: &EntryWriter<'_>, e: ZipError) -> Error {
    match e {
        ZipError::Io(e) => writer.unreadable(e),
        e => writer.malformed(&e.to_string()),
    }
}
