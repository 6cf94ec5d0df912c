use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::Arc;

use super::positioned::{Cursor, PositionedFile};
use super::{Builder, Stored};
use crate::Error;

/// Adds every file of a tar to the tree: its offset and length, no content.
pub(super) fn index(file: PositionedFile, tree: &mut Builder) -> Result<(), Error> {
    let file = Arc::new(file);
    let mut archive =
        tar::Archive::new(EndWatch { reader: BufReader::new(Cursor::new(&file)), met_end: false });
    let read = add_entries(&mut archive, &file, tree);
    // A tar ends with a block of zeros; whoever reads on to the end of the file has missed
    // it. The tar crate takes both for the end.
    if archive.into_inner().met_end {
        return Err(file.truncated());
    }
    read
}

fn add_entries(
    archive: &mut tar::Archive<EndWatch>,
    file: &Arc<PositionedFile>,
    tree: &mut Builder,
) -> Result<(), Error> {
    let malformed =
        |e: io::Error| Error::Archive { archive: file.path().to_owned(), reason: e.to_string() };
    for entry in archive.entries_with_seek().map_err(malformed)? {
        let entry = entry.map_err(malformed)?;
        let kind = entry.header().entry_type();
        if kind.is_pax_global_extensions() {
            continue;
        }
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let (offset, len) = (entry.raw_file_position(), entry.size());
        if kind.is_dir() {
            tree.add_directory(file.path(), &name)?;
        } else if kind.is_file() || kind.is_contiguous() {
            // The tar crate seeks over contents, also beyond the end.
            if offset.checked_add(len).is_none_or(|end| end > file.len()) {
                return Err(file.truncated());
            }
            let archive = Arc::clone(file);
            let stored = Stored::Tar { archive, offset, len };
            tree.add_entry(file.path(), &name, stored)?;
        } else {
            tree.refuse_special(file.path(), &name)?;
        }
    }
    Ok(())
}

/// The most that a compressed tar may grow: images hardly shrink, so that more than this
/// is an attack on the disk.
fn inflated_limit(compressed: u64) -> u64 {
    compressed.saturating_mul(100).saturating_add(16 << 20)
}

/// Inflates a `.tar.gz` into a file without a name, which vanishes with its handle.
pub(super) fn inflate(path: &Path) -> Result<PositionedFile, Error> {
    let compressed = File::open(path).map_err(Error::io(path))?;
    let len = compressed.metadata().map_err(Error::io(path))?.len();
    let limit = inflated_limit(len);
    let mut inflated = tempfile::tempfile().map_err(Error::io(std::env::temp_dir()))?;
    let content = flate2::bufread::MultiGzDecoder::new(BufReader::new(compressed));
    let copied = io::copy(&mut content.take(limit.saturating_add(1)), &mut inflated);
    match copied {
        Ok(size) if size <= limit => PositionedFile::new(inflated, path),
        Ok(value) => Err(Error::Limit {
            what: format!("{}: inflated size in bytes", path.display()),
            value,
            limit,
        }),
        Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => {
            Err(Error::Truncated { archive: path.to_owned(), offset: len })
        }
        Err(e) if matches!(e.kind(), io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput) => {
            Err(Error::Archive { archive: path.to_owned(), reason: e.to_string() })
        }
        Err(e) => Err(Error::io(path)(e)),
    }
}

/// A reader that remembers whether anybody read past its end.
struct EndWatch {
    reader: BufReader<Cursor>,
    met_end: bool,
}

impl Read for EndWatch {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        self.met_end |= count == 0 && !buffer.is_empty();
        Ok(count)
    }
}

impl Seek for EndWatch {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        match to {
            // Stays within the buffer where it can: most entries are small.
            SeekFrom::Current(delta) => {
                self.reader.seek_relative(delta)?;
                self.reader.stream_position()
            }
            _ => self.reader.seek(to),
        }
    }
}
