//! The zip format: `NAME/data.pkl` has the object, and `NAME/data/KEY` the elements of a storage.

use std::io::{self, Cursor};
use std::ops::Range;

use ::zip::read::{ArchiveOffset, Config};
use ::zip::result::ZipError;
use ::zip::{CompressionMethod, ZipArchive};

use super::Content;
use super::builder::Builder;
use super::storage::Storage;
use crate::Error;
use crate::error::excerpt;
use crate::pickle::{self, Arena, Reader};

pub(super) fn parse(bytes: &[u8]) -> Result<Content, Error> {
    let mut archive = Archive::open(bytes)?;
    let prefix = archive.prefix()?;
    if let Some(order) = archive.find(&format!("{prefix}byteorder"))?
        && bytes[order.clone()] != *b"little"
    {
        let found = excerpt(&String::from_utf8_lossy(&bytes[order]));
        return Err(Error::storage(format!("byte order `{found}`; expected `little`")));
    }

    let pickle = archive.get(&format!("{prefix}data.pkl"))?;
    let mut arena = Arena::new();
    let mut builder = Builder::default();
    let mut reader = Reader::new(&bytes[..pickle.end], pickle.start);
    let root = pickle::load(&mut reader, &mut arena, &mut builder)?;

    let declarations = &builder.declarations;
    let mut storages: Vec<Option<Storage>> = declarations.list.iter().map(|_| None).collect();
    for (key, &index) in &declarations.index_by_key {
        let declared = &declarations.list[index as usize];
        let data = archive.get(&format!("{prefix}data/{key}"))?;
        if data.len() as u64 != declared.bytes()? {
            return Err(Error::storage(format!(
                "`{}` has {} bytes, where {} elements of {} are declared",
                excerpt(key),
                data.len(),
                declared.len,
                declared.element.size()
            )));
        }
        storages[index as usize] = Some(Storage { element: declared.element, data });
    }
    // Every index has its key, so none is missing.
    Ok(Content { arena, root, storages: storages.into_iter().flatten().collect() })
}

struct Archive<'a> {
    zip: ZipArchive<Cursor<&'a [u8]>>,
    len: usize,
    /// Bytes that may still be read: the entries of a sound archive do not overlap.
    unread: u64,
}

impl<'a> Archive<'a> {
    fn open(bytes: &'a [u8]) -> Result<Self, Error> {
        super::zip_end::check(bytes)?;
        // When it has to search for the start, the zip crate (9.8) takes the second entry for the
        // first if PyTorch's file name has 21 characters: then there is an entry exactly where the
        // list would start if nothing were between it and the end record.
        let config = Config { archive_offset: ArchiveOffset::Known(0) };
        let zip = ZipArchive::with_config(config, Cursor::new(bytes)).map_err(malformed)?;
        if zip.has_duplicate_names() {
            return Err(Error::archive("two entries have the same name"));
        }
        Ok(Self { zip, len: bytes.len(), unread: bytes.len() as u64 })
    }

    /// Returns the name of the only folder that has an object, with a slash.
    fn prefix(&self) -> Result<String, Error> {
        let mut prefixes = self.zip.file_names_raw().filter_map(|name| {
            let prefix = std::str::from_utf8(name).ok()?.strip_suffix("data.pkl")?;
            (prefix.find('/') == prefix.len().checked_sub(1)).then(|| prefix.to_owned())
        });
        match (prefixes.next(), prefixes.next()) {
            (Some(prefix), None) => Ok(prefix),
            (Some(_), Some(_)) => Err(Error::archive("more than one `data.pkl`; expected one")),
            (None, _) => Err(Error::NotACheckpoint {
                found: "a zip archive without `data.pkl` in a folder".into(),
            }),
        }
    }

    /// Like [`Self::find`], but the entry has to exist.
    fn get(&mut self, name: &str) -> Result<Range<usize>, Error> {
        let found = self.find(name)?;
        found.ok_or_else(|| Error::archive(format!("no entry `{}`", excerpt(name))))
    }

    /// Returns the range of an entry's content, after verifying its checksum; `None` if there is
    /// no such entry.
    fn find(&mut self, name: &str) -> Result<Option<Range<usize>>, Error> {
        let Some(number) = self.zip.index_for_name(name) else { return Ok(None) };
        let wrong = |reason: String| Error::archive(format!("entry `{}`: {reason}", excerpt(name)));
        let entry = self.zip.by_index_data(number).map_err(|e| wrong(e.to_string()))?;
        let size = entry.size();
        if entry.compression() != CompressionMethod::Stored || entry.compressed_size() != size {
            return Err(wrong("compressed; PyTorch stores its entries as they are".into()));
        }
        self.unread = self
            .unread
            .checked_sub(size)
            .ok_or_else(|| wrong(format!("{size} bytes are more than the file has left")))?;

        let mut content = self.zip.by_index(number).map_err(|e| wrong(e.to_string()))?;
        io::copy(&mut content, &mut io::sink()).map_err(|e| wrong(e.to_string()))?;
        let range = content.data_start().and_then(|start| {
            let end = start.checked_add(size)?;
            Some(usize::try_from(start).ok()?..usize::try_from(end).ok()?)
        });
        match range {
            Some(range) if range.end <= self.len => Ok(Some(range)),
            _ => Err(wrong(format!("its {size} bytes reach beyond the file"))),
        }
    }
}

fn malformed(error: ZipError) -> Error {
    Error::archive(error.to_string())
}
