//! The files of a tar.

use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use super::positioned::{Cursor, PositionedFile};
use super::{Builder, Location, entry_error, names, open_regular};
use crate::Error;

/// Bytes of a tar's header and of what contents are filled up to.
const BLOCK: usize = 512;

/// Adds all files of a tar to the tree, by offset and length.
pub(super) fn index(file: PositionedFile, tree: &mut Builder) -> Result<(), Error> {
    let file = Arc::new(file);
    Part { bytes: 0..file.len(), file, name: None }.index(tree)
}

/// A tar that is a whole file, or an entry of another tar.
struct Part {
    file: Arc<PositionedFile>,
    bytes: Range<u64>,
    /// Name of the entry, if it is one.
    name: Option<String>,
}

impl Part {
    /// Adds the files of the tar, and of others that were put behind its end.
    fn index(mut self, tree: &mut Builder) -> Result<(), Error> {
        while let Some(start) = self.index_one(tree)? {
            self.bytes.start = start;
        }
        Ok(())
    }

    /// Adds the files up to the end of the tar. Returns where another one begins behind it, if there is one.
    fn index_one(&self, tree: &mut Builder) -> Result<Option<u64>, Error> {
        let cursor = Cursor::new(&self.file);
        let window = Window { cursor, bytes: self.bytes.clone(), position: 0 };
        let reader = EndWatch { reader: BufReader::new(window), reached_end: false };
        let mut archive = tar::Archive::new(reader);
        let read = self.add_entries(&mut archive, tree);
        // A tar ends with a block of zeros. A reader that reached the end of the file did not find
        // it; the tar crate accepts either as the end.
        let mut reader = archive.into_inner();
        if reader.reached_end {
            return Err(self.truncated());
        }
        read?;
        let end = reader.stream_position().map_err(Error::io(self.file.path()))?;
        self.next_after(self.bytes.start + end)
    }

    /// Returns where the first block lies at or after `at` that is not all zeros.
    fn next_after(&self, at: u64) -> Result<Option<u64>, Error> {
        let mut cursor = Cursor::new(&self.file);
        cursor.seek(SeekFrom::Start(at)).map_err(Error::io(self.file.path()))?;
        let mut rest = BufReader::new(cursor).take(self.bytes.end.saturating_sub(at));
        let (mut block, mut at) = (Vec::with_capacity(BLOCK), at);
        loop {
            block.clear();
            let read = (&mut rest).take(BLOCK as u64).read_to_end(&mut block);
            match read.map_err(Error::io(self.file.path()))? {
                0 => return Ok(None),
                _ if block.iter().all(|&byte| byte == 0) => at += block.len() as u64,
                _ => return Ok(Some(at)),
            }
        }
    }

    fn truncated(&self) -> Error {
        match &self.name {
            Some(name) => entry_error(self.file.path(), name, "truncated; fetch the archive again"),
            None => self.file.truncated(),
        }
    }

    fn add_entries(
        &self,
        archive: &mut tar::Archive<EndWatch>,
        tree: &mut Builder,
    ) -> Result<(), Error> {
        let file = &self.file;
        let malformed = |e: io::Error| match &self.name {
            Some(name) => entry_error(file.path(), name, &format!("not a readable archive: {e}")),
            None => Error::Archive { archive: file.path().to_owned(), reason: e.to_string() },
        };
        for entry in archive.entries_with_seek().map_err(malformed)? {
            let entry = entry.map_err(malformed)?;
            let kind = entry.header().entry_type();
            if kind.is_pax_global_extensions() {
                continue;
            }
            let own_raw = entry.path_bytes().into_owned();
            let (own_name, _) = names::text(&own_raw);
            let (name, raw) = match &self.name {
                // As if unpacked into a folder of the inner archive's name. The name is checked
                // before the folder is put in front of it.
                Some(archive) => {
                    super::clean(&own_name)
                        .map_err(|reason| entry_error(file.path(), &own_name, reason))?;
                    let folder = archive.trim_end_matches(".tar");
                    let raw = [folder.as_bytes(), b"/", &own_raw].concat();
                    (format!("{folder}/{own_name}"), raw)
                }
                None => (own_name, own_raw),
            };
            let offset = self.bytes.start.saturating_add(entry.raw_file_position());
            let len = entry.size();
            if kind.is_dir() {
                tree.add_folder(file.path(), &name, &raw)?;
            } else if kind.is_file() || kind.is_contiguous() {
                // The tar crate seeks over contents, also beyond the end.
                let end = offset.checked_add(len).filter(|end| *end <= self.bytes.end);
                let end = end.ok_or_else(|| self.truncated())?;
                if self.name.is_none() && tree.is_nested(&name) {
                    let part =
                        Self { file: Arc::clone(file), bytes: offset..end, name: Some(name) };
                    part.index(tree)?;
                    continue;
                }
                let archive = Arc::clone(file);
                tree.add_entry(file.path(), &name, &raw, Location::Tar { archive, offset, len })?;
            } else {
                tree.skip_special(file.path(), &name)?;
            }
        }
        Ok(())
    }
}

/// Bytes of an archive that are inflated at a time.
const COPIED: usize = 1 << 16;

/// Returns the largest inflated size of a compressed tar: images hardly compress, so that more than
/// this is an attack on the disk.
fn inflated_limit(compressed: u64) -> u64 {
    compressed.saturating_mul(100).saturating_add(16 << 20)
}

/// Inflates a `.tar.gz` into a temporary file without a name, which is deleted when it is closed.
pub(super) fn inflate(path: &Path) -> Result<PositionedFile, Error> {
    let compressed = open_regular(path)?;
    let len = compressed.metadata().map_err(Error::io(path))?.len();
    let limit = inflated_limit(len);
    let no_room =
        |source| Error::NoRoom { folder: std::env::temp_dir(), archive: path.to_owned(), source };
    let mut inflated = tempfile::tempfile().map_err(no_room)?;
    let content = flate2::bufread::MultiGzDecoder::new(BufReader::new(compressed));
    let mut content = BufReader::with_capacity(COPIED, content.take(limit.saturating_add(1)));
    let mut size = 0;
    // Not `io::copy`, which does not tell whether reading failed or writing.
    loop {
        let part = match content.fill_buf() {
            Ok([]) => break,
            Ok(part) => part,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(broken(path, len, e)),
        };
        inflated.write_all(part).map_err(no_room)?;
        let count = part.len();
        size += count as u64;
        content.consume(count);
    }
    if size > limit {
        let what = format!("{}: inflated size in bytes", path.display());
        return Err(Error::Limit { what, value: size, limit });
    }
    PositionedFile::new(inflated, path)
}

/// Says why a compressed tar of `len` bytes cannot be inflated.
fn broken(path: &Path, len: u64, e: io::Error) -> Error {
    match e.kind() {
        io::ErrorKind::UnexpectedEof => Error::Truncated { archive: path.to_owned(), offset: len },
        io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => {
            Error::Archive { archive: path.to_owned(), reason: e.to_string() }
        }
        _ => Error::io(path)(e),
    }
}

/// A reader of a part of a file.
struct Window {
    cursor: Cursor,
    bytes: Range<u64>,
    /// Relative to the start of the part.
    position: u64,
}

impl Read for Window {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let start = self.bytes.start.saturating_add(self.position);
        self.cursor.seek(SeekFrom::Start(start))?;
        let left = self.bytes.end.saturating_sub(start);
        let count = (&mut self.cursor).take(left).read(buffer)?;
        self.position += count as u64;
        Ok(count)
    }
}

impl Seek for Window {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let len = self.bytes.end - self.bytes.start;
        let position = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::Current(delta) => self.position.checked_add_signed(delta),
            SeekFrom::End(delta) => len.checked_add_signed(delta),
        };
        self.position = position.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}

/// A reader that records whether its end was reached.
struct EndWatch {
    reader: BufReader<Window>,
    reached_end: bool,
}

impl Read for EndWatch {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        self.reached_end |= count == 0 && !buffer.is_empty();
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
