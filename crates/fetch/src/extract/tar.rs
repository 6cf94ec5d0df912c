use std::cell::Cell;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;
use std::rc::Rc;

use flate2::bufread::MultiGzDecoder;

use super::sink::Sink;
use super::unreadable;
use crate::{Error, Event, Listener};

/// Bytes between the contents of two files: headers, and names that are longer than those.
/// The tar crate keeps these names in memory, however long they are.
const MOST_BETWEEN: u64 = 1 << 20;

pub(super) fn unpack(
    path: &Path,
    sink: &mut Sink<'_>,
    listener: Listener<'_>,
) -> Result<(), Error> {
    let file = File::open(path).map_err(Error::io("open", path))?;
    let total = file.metadata().map_err(Error::io("read", path))?.len();
    let (read, allowance) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(MOST_BETWEEN)));
    let compressed = Counting { reader: file, count: Rc::clone(&read) };
    let inflated = Bounded {
        reader: MultiGzDecoder::new(BufReader::with_capacity(64 << 10, compressed)),
        allowance: Rc::clone(&allowance),
    };
    let mut archive = tar::Archive::new(inflated);
    let fault = |e| unreadable(path, e);
    for entry in archive.entries().map_err(fault)? {
        let entry = entry.map_err(fault)?;
        let name = entry.path_bytes().into_owned();
        let (kind, size) = (entry.header().entry_type(), entry.size());
        if kind.is_pax_global_extensions() {
            continue;
        } else if kind.is_dir() {
            sink.folder(&name)?;
        } else if kind.is_file() || kind.is_contiguous() {
            allowance.set(size.saturating_add(MOST_BETWEEN));
            sink.file(&name, size, entry)?;
        } else {
            let reason = "a link, a device or the like is refused";
            return Err(sink.refusal(&name, reason));
        }
        allowance.set(MOST_BETWEEN);
        listener(Event::Unpacking { done: read.get(), total });
    }
    // To the end, for only there gzip's checksum stands, and where it is missing the
    // archive is cut off.
    allowance.set(MOST_BETWEEN);
    io::copy(&mut archive.into_inner(), &mut io::sink()).map_err(fault)?;
    listener(Event::Unpacking { done: total, total });
    Ok(())
}

/// Counts what is read.
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

/// Gives no more than is allowed.
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
