//! A virtual file tree: a folder with the archives that lie in it laid over it, or one
//! archive. Nothing is ever unpacked.

mod folder;
mod mapped;
mod positioned;
mod tar;
mod zip;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use self::positioned::PositionedFile;
use self::zip::ZipFile;
use crate::Error;

const MAX_ENTRIES: usize = 10_000_000;
const MAX_ENTRY_BYTES: u64 = 256 << 20;

/// Every file below a root, by its path: `/` between components, none of them hidden, `.`
/// or `..`, in the order of the paths.
pub(crate) struct Tree {
    files: BTreeMap<String, Stored>,
}

/// Where the bytes of a file are.
#[derive(Clone)]
pub(crate) enum Stored {
    Disk(PathBuf),
    Tar { archive: Arc<PositionedFile>, offset: u64, len: u64 },
    Zip { archive: Arc<ZipFile>, number: usize },
}

impl Tree {
    pub(crate) fn open(root: &Path) -> Result<Self, Error> {
        Self::build(root, Builder::default())
    }

    /// As [`Self::open`], but a tar in a tar is laid over it, too, in a folder of its name, and
    /// no folder and no archive is looked into whose name without ending is not `wanted`.
    pub(crate) fn open_where(root: &Path, wanted: fn(&str) -> bool) -> Result<Self, Error> {
        Self::build(root, Builder { wanted: Some(wanted), ..Builder::default() })
    }

    fn build(root: &Path, mut builder: Builder) -> Result<Self, Error> {
        let found = match std::fs::metadata(root) {
            Ok(meta) if meta.is_dir() => {
                folder::index(root, &mut builder)?;
                return Ok(builder.finish());
            }
            Ok(_) => {
                if builder.add_archive(root)? {
                    return Ok(builder.finish());
                }
                "a file of another kind"
            }
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => "nothing there",
            Err(e) => return Err(Error::io(root)(e)),
        };
        Err(Error::Root {
            path: root.to_owned(),
            found,
            expected: "a folder or a .tar, .tar.gz, .tgz or .zip archive",
        })
    }

    pub(crate) fn get(&self, path: &str) -> Option<&Stored> {
        self.files.get(path)
    }

    /// Every file, sorted by path.
    pub(crate) fn files(&self) -> impl Iterator<Item = (&str, &Stored)> {
        self.files.iter().map(|(path, stored)| (path.as_str(), stored))
    }

    /// Every file that is named as an image, sorted by path.
    pub(crate) fn images(&self) -> impl Iterator<Item = (&str, &Stored)> {
        self.files().filter(|(path, _)| is_image_name(path))
    }

    /// The least nested file of this name, and of those the first.
    pub(crate) fn shallowest(&self, name: &str) -> Option<(&str, &Stored)> {
        self.files()
            .filter(|(path, _)| path.rsplit('/').next() == Some(name))
            .min_by_key(|(path, _)| path.matches('/').count())
    }
}

impl Stored {
    /// The whole content, at most 256 MiB.
    pub(crate) fn read(&self) -> Result<Vec<u8>, Error> {
        match self {
            Self::Disk(path) => read_file(path),
            Self::Tar { archive, offset, len } => {
                let what = || archive.path().display().to_string();
                archive.read_exact_at(*offset, checked_len(*len, what)?)
            }
            Self::Zip { archive, number } => archive.read(*number),
        }
    }

    /// Bytes of the content, as far as the file system or the archive knows.
    pub(crate) fn len(&self) -> u64 {
        match self {
            Self::Disk(path) => path.metadata().map_or(0, |meta| meta.len()),
            Self::Tar { len, .. } => *len,
            Self::Zip { archive, number } => archive.len(*number),
        }
    }

    /// A name by which a person finds the file: its own path, or `ARCHIVE!path` inside one.
    pub(crate) fn full_name(&self, path: &str) -> String {
        match self.file() {
            (file, true) => format!("{}!{path}", file.display()),
            (file, false) => file.display().to_string(),
        }
    }

    /// As [`Self::full_name`], from the root on.
    pub(crate) fn short_name(&self, path: &str) -> String {
        match self.file() {
            (file, true) => {
                let archive = file.file_name().unwrap_or_default();
                format!("{}!{path}", archive.to_string_lossy())
            }
            (_, false) => path.to_owned(),
        }
    }

    /// The file on disk, and whether it is an archive.
    fn file(&self) -> (&Path, bool) {
        match self {
            Self::Disk(path) => (path, false),
            Self::Tar { archive, .. } => (archive.path(), true),
            Self::Zip { archive, .. } => (archive.path(), true),
        }
    }
}

/// The content of a file on disk, at most 256 MiB.
fn read_file(path: &Path) -> Result<Vec<u8>, Error> {
    let file = File::open(path).map_err(Error::io(path))?;
    let meta = file.metadata().map_err(Error::io(path))?;
    let what = || path.display().to_string();
    if !meta.is_file() {
        return Err(Error::image(what(), "not a regular file"));
    }
    let len = checked_len(meta.len(), what)?;
    let mut bytes = Vec::with_capacity(len);
    file.take(MAX_ENTRY_BYTES).read_to_end(&mut bytes).map_err(Error::io(path))?;
    Ok(bytes)
}

fn checked_len(len: u64, what: impl FnOnce() -> String) -> Result<usize, Error> {
    if len > MAX_ENTRY_BYTES {
        return Err(Error::Limit {
            what: format!("{}: size of a file in bytes", what()),
            value: len,
            limit: MAX_ENTRY_BYTES,
        });
    }
    Ok(len as usize)
}

/// Whether the name ends in `.jpg`, `.jpeg` or `.png`, in any case.
fn is_image_name(path: &str) -> bool {
    path.rsplit_once('.').is_some_and(|(_, extension)| {
        ["jpg", "jpeg", "png"].iter().any(|known| extension.eq_ignore_ascii_case(known))
    })
}

/// Collects the files of a [`Tree`] under its rules.
#[derive(Default)]
struct Builder {
    files: BTreeMap<String, Stored>,
    entries: usize,
    wanted: Option<fn(&str) -> bool>,
}

impl Builder {
    /// Whether a folder or an archive of this name is passed over.
    fn skips(&self, name: &str) -> bool {
        let stem = name.split('.').next().unwrap_or(name);
        self.wanted.is_some_and(|wanted| !wanted(stem))
    }

    /// Whether an entry of a tar is looked into as a tar.
    fn opens(&self, entry: &str) -> bool {
        let name = entry.rsplit('/').next().unwrap_or(entry);
        self.wanted.is_some() && name.ends_with(".tar") && !self.skips(name)
    }

    /// Adds the archive's files; false where the name is not that of an archive.
    fn add_archive(&mut self, path: &Path) -> Result<bool, Error> {
        let name = path.to_string_lossy().to_ascii_lowercase();
        if self.skips(path.file_name().unwrap_or_default().to_string_lossy().as_ref()) {
            return Ok(false);
        }
        if name.ends_with(".tar") {
            tar::index(PositionedFile::open(path)?, self)?;
        } else if name.ends_with(".tar.gz") || name.ends_with(".tgz") {
            tar::index(tar::inflate(path)?, self)?;
        } else if name.ends_with(".zip") {
            zip::index(path, self)?;
        } else {
            return Ok(false);
        }
        Ok(true)
    }

    /// Adds a file of an archive.
    fn add_entry(&mut self, archive: &Path, name: &str, stored: Stored) -> Result<(), Error> {
        self.count(archive)?;
        match clean(name).map_err(|reason| entry_error(archive, name, reason))? {
            Some(path) => self.insert(path, stored),
            None => Ok(()),
        }
    }

    fn add_directory(&mut self, archive: &Path, name: &str) -> Result<(), Error> {
        self.count(archive)?;
        clean(name).map_err(|reason| entry_error(archive, name, reason))?;
        Ok(())
    }

    /// Passes over a link or a device, unless an image would go missing by it.
    fn refuse_special(&mut self, archive: &Path, name: &str) -> Result<(), Error> {
        self.add_directory(archive, name)?;
        if is_image_name(name) {
            let reason = "a link or a device, which is not followed; store the image itself";
            return Err(entry_error(archive, name, reason));
        }
        Ok(())
    }

    fn insert(&mut self, path: String, stored: Stored) -> Result<(), Error> {
        if let Some(first) = self.files.get(&path) {
            return Err(Error::Duplicate {
                first: first.full_name(&path),
                second: stored.full_name(&path),
                name: path,
            });
        }
        self.files.insert(path, stored);
        Ok(())
    }

    fn count(&mut self, place: &Path) -> Result<(), Error> {
        self.entries += 1;
        if self.entries > MAX_ENTRIES {
            return Err(Error::Limit {
                what: format!("{}: number of files", place.display()),
                value: self.entries as u64,
                limit: MAX_ENTRIES as u64,
            });
        }
        Ok(())
    }

    fn finish(self) -> Tree {
        Tree { files: self.files }
    }
}

fn entry_error(archive: &Path, entry: &str, reason: &str) -> Error {
    Error::Entry { archive: archive.to_owned(), entry: entry.to_owned(), reason: reason.to_owned() }
}

/// An entry's name as a path of the tree; nothing for a hidden file or what macOS adds.
fn clean(name: &str) -> Result<Option<String>, &'static str> {
    let drive = matches!(name.as_bytes(), [letter, b':', ..] if letter.is_ascii_alphabetic());
    if name.starts_with(['/', '\\']) || drive {
        return Err("an absolute path, which is refused; pack it again with relative paths");
    }
    if name.split(['/', '\\']).any(|part| part == "..") {
        return Err("a path with `..`, which is refused; pack it again without");
    }
    let parts: Vec<_> = name.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    let hidden = parts.iter().any(|part| is_hidden(part));
    Ok((!hidden && !parts.is_empty()).then(|| parts.join("/")))
}

fn is_hidden(part: &str) -> bool {
    part.starts_with('.') || part == "__MACOSX"
}
