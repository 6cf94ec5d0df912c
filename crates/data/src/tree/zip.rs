use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use zip::result::ZipError;

use super::positioned::{Cursor, PositionedFile};
use super::{Builder, Stored, checked_len};
use crate::Error;

/// A zip whose entries many threads inflate at a time.
pub(crate) struct ZipFile {
    path: PathBuf,
    /// Cloned for each read: a clone shares the index and has a cursor of its own.
    archive: zip::ZipArchive<Cursor>,
}

/// Adds every file of a zip to the tree: its number, no content.
pub(super) fn index(path: &Path, tree: &mut Builder) -> Result<(), Error> {
    let file = Arc::new(PositionedFile::open(path)?);
    let archive = zip::ZipArchive::new(Cursor::new(&file)).map_err(|e| failure(path, e))?;
    if archive.has_duplicate_names() {
        return Err(Error::Archive {
            archive: path.to_owned(),
            reason: "two entries have the same name; pack it again".into(),
        });
    }
    let zip = Arc::new(ZipFile { path: path.to_owned(), archive });
    for number in 0..zip.archive.len() {
        let entry = zip.archive.by_index_data(number).map_err(|e| failure(path, e))?;
        let name = String::from_utf8_lossy(entry.name_raw());
        if entry.is_dir() {
            tree.add_directory(path, &name)?;
        } else if entry.is_symlink() {
            tree.refuse_special(path, &name)?;
        } else {
            let archive = Arc::clone(&zip);
            tree.add_entry(path, &name, Stored::Zip { archive, number })?;
        }
    }
    Ok(())
}

impl ZipFile {
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes of entry `number`, as the archive declares them.
    pub(super) fn len(&self, number: usize) -> u64 {
        self.archive.clone().by_index_data(number).map_or(0, |entry| entry.size())
    }

    /// The content of entry `number`, at most 256 MiB.
    pub(super) fn read(&self, number: usize) -> Result<Vec<u8>, Error> {
        let mut archive = self.archive.clone();
        let entry = archive.by_index(number).map_err(|e| failure(&self.path, e))?;
        let name = String::from_utf8_lossy(entry.name_raw()).into_owned();
        let name = format!("{}!{name}", self.path.display());
        let declared = entry.size();
        checked_len(declared, || name.clone())?;
        let broken = |reason: String| Error::image(&name, reason);
        // The declared size is the archive's word: nothing is reserved on it, and content
        // that runs beyond it is not read.
        let mut bytes = Vec::new();
        match entry.take(declared + 1).read_to_end(&mut bytes) {
            Ok(_) if bytes.len() as u64 == declared => Ok(bytes),
            Ok(_) => Err(broken("its size is not the declared one".into())),
            Err(e) if is_content_fault(&e) => Err(broken(e.to_string())),
            Err(e) => Err(Error::io(&self.path)(e)),
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
