//! Entries of `.tar.gz` archives.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::rc::Rc;

use flate2::bufread::MultiGzDecoder;

use super::writer::{EntryKind, EntryWriter};
use crate::Error;

/// Most bytes between the contents of two files: headers, and names that do not fit into them.
/// The tar crate keeps such names in memory, however long they are.
const MAX_BYTES_BETWEEN: u64 = 1 << 20;

/// Writes every entry; `progress` receives the number of compressed bytes read.
pub(super) fn unpack(
    file: File,
    writer: &mut EntryWriter<'_>,
    progress: &mut dyn FnMut(u64),
) -> Result<(), Error> {
    let (read, allowance) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(MAX_BYTES_BETWEEN)));
    let compressed = Counting { reader: file, count: Rc::clone(&read) };
    let inflated = Bounded {
        reader: MultiGzDecoder::new(BufReader::with_capacity(64 << 10, compressed)),
        allowance: Rc::clone(&allowance),
    };
    let mut archive = tar::Archive::new(inflated);
    for entry in archive.entries().map_err(|e| writer.unreadable(e))? {
        let entry = entry.map_err(|e| writer.unreadable(e))?;
        let name = entry.path_bytes().into_owned();
        let (kind, size) = (entry.header().entry_type(), entry.size());
        let kind = if kind.is_pax_global_extensions() {
            continue;
        } else if kind.is_dir() {
            EntryKind::Folder
        } else if kind.is_file() || kind.is_contiguous() {
            allowance.set(size.saturating_add(MAX_BYTES_BETWEEN));
            EntryKind::File { size }
        } else {
            EntryKind::Other
        };
        writer.write(&name, kind, entry)?;
        allowance.set(MAX_BYTES_BETWEEN);
        progress(read.get());
    }
    // Read to the end, where gzip has its checksum: without it the archive is truncated.
    allowance.set(MAX_BYTES_BETWEEN);
    io::copy(&mut archive.into_inner(), &mut io::sink()).map_err(|e| writer.unreadable(e))?;
    Ok(())
}

/// Counts the bytes read.
struct Counting {
    reader: File,
    count: Rc<Cell<u64>>,
}

impl Read for Counting {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        self.count.set(self.count.get() + count as u64);
        Ok(count)
    }
}

/// Fails once more bytes have been read than the allowance, which its owner may renew.
struct Bounded<R> {
    reader: R,
    allowance: Rc<Cell<u64>>,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        match self.allowance.get().checked_sub(count as u64) {
            Some(left) => self.allowance.set(left),
            None => {
                let reason = "more than a megabyte of names, or after the end";
                return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
            }
        }
        Ok(count)
    }
}
