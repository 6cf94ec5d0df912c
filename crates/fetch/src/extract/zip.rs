use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use ::zip::ZipArchive;
use ::zip::read::{ArchiveOffset, Config};
use ::zip::result::ZipError;

use super::sink::Sink;
use super::unreadable;
use crate::{Error, Event, Listener};

/// The bits of a Unix mode that tell the kind of a file.
const KIND: u32 = 0o170_000;
const FOLDER: u32 = 0o040_000;
const FILE: u32 = 0o100_000;

pub(super) fn unpack(
    path: &Path,
    sink: &mut Sink<'_>,
    listener: Listener<'_>,
) -> Result<(), Error> {
    let file = File::open(path).map_err(Error::io("open", path))?;
    let total = file.metadata().map_err(Error::io("read", path))?.len();
    // Left to search for the start, the zip crate (9.8) takes the second entry of some archives
    // for the first.
    let config = Config { archive_offset: ArchiveOffset::Known(0) };
    let archive = ZipArchive::with_config(config, BufReader::new(file));
    let mut archive = archive.map_err(|e| fault(path, e))?;
    // The index keeps only the last of several.
    if archive.has_duplicate_names() {
        let reason = "two entries have the same name".into();
        return Err(Error::Archive { archive: path.to_owned(), reason });
    }
    let mut done = 0;
    for number in 0..archive.len() {
        let entry = archive.by_index(number).map_err(|e| fault(path, e))?;
        let name = entry.name_raw().to_vec();
        let (size, compressed) = (entry.size(), entry.compressed_size());
        let kind = entry.unix_mode().map_or(0, |mode| mode & KIND);
        match (kind, entry.is_dir()) {
            (0 | FOLDER, true) => sink.folder(&name)?,
            (0 | FILE, false) => sink.file(&name, size, entry)?,
            _ => return Err(sink.refusal(&name, "a link, a device or the like is refused")),
        }
        done = (done + compressed).min(total);
        listener(Event::Unpacking { done, total });
    }
    listener(Event::Unpacking { done: total, total });
    Ok(())
}

fn fault(path: &Path, e: ZipError) -> Error {
    match e {
        ZipError::Io(e) => unreadable(path, e),
        e => Error::Archive { archive: path.to_owned(), reason: e.to_string() },
    }
}
