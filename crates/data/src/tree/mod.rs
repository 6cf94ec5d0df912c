//! A tree of files: a folder together with the contents of the archives in it, or one archive.
//! Nothing is ever unpacked.

mod folder;
mod mapped;
mod names;
mod positioned;
mod tar;
mod zip;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use unicode_normalization::UnicodeNormalization;

use self::names::Escaped;
use self::positioned::PositionedFile;
use self::zip::ZipFile;
use crate::Error;

/// Most files and folders of a tree.
const MAX_ENTRIES: usize = 10_000_000;
/// Most bytes of a file that is read.
const MAX_ENTRY_BYTES: u64 = 256 << 20;

/// All files below a root, sorted by their path from the root on.
///
/// The root is a folder or one archive (`.tar`, `.tar.gz`, `.tgz`, `.zip`; which of them it is, its
/// first bytes tell). Archives directly in a root folder are read as if they were unpacked there.
/// Paths have `/` between components, none of which is hidden, `.` or `..`.
///
/// Names that are not UTF-8 have their other bytes written as `%E4`. In a zip, names that are not
/// marked as UTF-8 are code page 437, unless all of them are UTF-8 anyway; `\` divides folders.
/// Tars that were put one behind the other are all read.
///
/// Archives are read in place. Only a compressed tar is inflated first, to a temporary file without
/// a name, and to no more than a hundred times its size. Links inside an archive are not followed.
/// A tree may have 10 million files, each of up to 256 MiB.
#[derive(Default)]
pub struct FileTree {
    files: BTreeMap<String, StoredFile>,
    folders: BTreeSet<String>,
    unreadable: Vec<PathBuf>,
}

/// A file on disk or in an archive, read when asked for.
#[derive(Clone)]
pub struct StoredFile(Location);

#[derive(Clone)]
enum Location {
    Disk(PathBuf),
    Tar { archive: Arc<PositionedFile>, offset: u64, len: u64 },
    Zip { archive: Arc<ZipFile>, number: usize },
}

impl FileTree {
    /// Lists the files below `root`. Reads no file but the indices of archives.
    ///
    /// # Errors
    /// [`Error::Root`] where the root is neither a folder nor an archive, [`Error::Duplicate`] where
    /// two files have the same path; otherwise whatever is wrong with the folder or an archive.
    pub fn open(root: &Path) -> Result<Self, Error> {
        Self::build(root, Builder::default())
    }

    /// As [`Self::open`], except that a tar in a tar is read, too, as a folder of its name, and that
    /// folders and archives are skipped whose name without ending is not `wanted`.
    pub(crate) fn open_nested(root: &Path, wanted: fn(&str) -> bool) -> Result<Self, Error> {
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

    /// Returns the file at a path.
    pub fn get(&self, path: &str) -> Option<&StoredFile> {
        self.files.get(path)
    }

    /// Returns the file at a path, or at the same path in the other normal form of Unicode: macOS writes
    /// `é` as two characters where lists have one.
    pub(crate) fn find(&self, path: &str) -> Option<&StoredFile> {
        let normal = |path: String| (!path.is_ascii()).then(|| self.get(&path)).flatten();
        self.get(path)
            .or_else(|| normal(path.nfc().collect()))
            .or_else(|| normal(path.nfd().collect()))
    }

    /// Returns the folders, those without a file included.
    pub(crate) fn folders(&self) -> impl Iterator<Item = &str> {
        self.folders.iter().map(String::as_str)
    }

    /// Returns links on disk that lead nowhere and files that are none, such as pipes, unless their
    /// ending is that of something other than an image.
    pub(crate) fn unreadable(&self) -> &[PathBuf] {
        &self.unreadable
    }

    /// Returns all files with their paths, sorted by path.
    pub fn files(&self) -> impl Iterator<Item = (&str, &StoredFile)> {
        self.files.iter().map(|(path, file)| (path.as_str(), file))
    }

    /// Returns the files whose name ends as that of an image (`.jpg`, `.jpeg`, `.jpe`, `.jfif`, `.png`,
    /// `.webp`, `.bmp`, `.gif`, `.tif`, `.tiff`), in any case, sorted by path.
    pub fn images(&self) -> impl Iterator<Item = (&str, &StoredFile)> {
        self.files().filter(|(path, _)| is_image_name(path))
    }

    /// Returns the file of this name in the fewest folders, and of several the first.
    pub(crate) fn shallowest(&self, name: &str) -> Option<(&str, &StoredFile)> {
        self.files()
            .filter(|(path, _)| path.rsplit('/').next() == Some(name))
            .min_by_key(|(path, _)| path.matches('/').count())
    }
}

impl StoredFile {
    /// A file on disk.
    pub(crate) fn on_disk(path: impl Into<PathBuf>) -> Self {
        Self(Location::Disk(path.into()))
    }

    /// Reads the whole content.
    ///
    /// # Errors
    /// [`Error::Limit`] beyond 256 MiB; otherwise whatever is wrong with the file or its archive.
    pub fn read(&self) -> Result<Vec<u8>, Error> {
        match &self.0 {
            Location::Disk(path) => read_file(path),
            Location::Tar { archive, offset, len } => {
                let what = || archive.path().display().to_string();
                archive.read_exact_at(*offset, checked_len(*len, what)?)
            }
            Location::Zip { archive, number } => archive.read(*number),
        }
    }

    /// Returns the size in bytes, as the file system or the archive declares it.
    pub fn size(&self) -> u64 {
        match &self.0 {
            Location::Disk(path) => path.metadata().map_or(0, |meta| meta.len()),
            Location::Tar { len, .. } => *len,
            Location::Zip { archive, number } => archive.len(*number),
        }
    }

    /// Returns a name by which a person finds the file: its own path on disk, or
    /// `ARCHIVE!path` in an archive, where `path` is its path in the tree.
    pub fn full_name(&self, path: &str) -> String {
        match self.file() {
            (file, true) => format!("{}!{path}", file.display()),
            (file, false) => file.display().to_string(),
        }
    }

    /// Returns a name that two paths to the same file share.
    pub(crate) fn identity(&self, path: &str) -> String {
        match &self.0 {
            Location::Disk(file) => {
                file.canonicalize().unwrap_or(file.clone()).display().to_string()
            }
            Location::Tar { archive, offset, .. } => {
                format!("{}!{offset}", archive.path().display())
            }
            Location::Zip { .. } => self.full_name(path.trim_start_matches("./")),
        }
    }

    /// As [`Self::full_name`], without the folders above the root.
    pub(crate) fn short_name(&self, path: &str) -> String {
        match self.file() {
            (file, true) => {
                let archive = file.file_name().unwrap_or_default();
                format!("{}!{path}", archive.to_string_lossy())
            }
            (_, false) => path.to_owned(),
        }
    }

    /// Returns the file on disk, and whether it is an archive.
    fn file(&self) -> (&Path, bool) {
        match &self.0 {
            Location::Disk(path) => (path, false),
            Location::Tar { archive, .. } => (archive.path(), true),
            Location::Zip { archive, .. } => (archive.path(), true),
        }
    }

    /// Returns the folder that the file is in, if it is on disk.
    pub(crate) fn folder(&self) -> Option<&Path> {
        match &self.0 {
            Location::Disk(path) => path.parent(),
            _ => None,
        }
    }
}

/// Reads a file on disk, of at most 256 MiB.
fn read_file(path: &Path) -> Result<Vec<u8>, Error> {
    let file = open_regular(path)?;
    let len = file.metadata().map_err(Error::io(path))?.len();
    let len = checked_len(len, || path.display().to_string())?;
    let mut bytes = Vec::with_capacity(len);
    file.take(MAX_ENTRY_BYTES).read_to_end(&mut bytes).map_err(Error::io(path))?;
    Ok(bytes)
}

/// Opens a file, but no pipe, which would wait for a writer, and no device, which may have no end.
fn open_regular(path: &Path) -> Result<File, Error> {
    if !std::fs::metadata(path).map_err(Error::io(path))?.is_file() {
        return Err(Error::Root {
            path: path.to_owned(),
            found: "a pipe, a device or a folder",
            expected: "a file",
        });
    }
    File::open(path).map_err(Error::io(path))
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

/// Endings of the names of images.
const IMAGE_ENDINGS: [&str; 10] =
    ["jpg", "jpeg", "jpe", "jfif", "png", "webp", "bmp", "gif", "tif", "tiff"];

/// Whether the name ends as that of an image, in any case.
pub(crate) fn is_image_name(path: &str) -> bool {
    path.rsplit_once('.').is_some_and(|(_, extension)| {
        IMAGE_ENDINGS.iter().any(|known| extension.eq_ignore_ascii_case(known))
    })
}

/// Collects the files of a [`FileTree`] and checks their paths.
#[derive(Default)]
struct Builder {
    files: BTreeMap<String, StoredFile>,
    folders: BTreeSet<String>,
    unreadable: Vec<PathBuf>,
    escaped: Escaped,
    /// Number of files and folders so far, hidden ones included.
    entries: usize,
    /// Which folders and archives to look into, for [`FileTree::open_nested`].
    wanted: Option<fn(&str) -> bool>,
}

impl Builder {
    /// Whether a folder or an archive of this name is skipped.
    fn skips(&self, name: &str) -> bool {
        let stem = name.split('.').next().unwrap_or(name);
        self.wanted.is_some_and(|wanted| !wanted(stem))
    }

    /// Whether an entry of a tar is read as a tar itself.
    fn is_nested(&self, entry: &str) -> bool {
        let name = entry.rsplit('/').next().unwrap_or(entry);
        self.wanted.is_some() && name.ends_with(".tar") && !self.skips(name)
    }

    /// Adds the files of an archive; returns false if the name is not that of an archive.
    fn add_archive(&mut self, path: &Path) -> Result<bool, Error> {
        let name = path.to_string_lossy().to_ascii_lowercase();
        let ending =
            [".tar", ".tar.gz", ".tgz", ".zip"].into_iter().find(|end| name.ends_with(end));
        let Some(ending) = ending else { return Ok(false) };
        if self.skips(path.file_name().unwrap_or_default().to_string_lossy().as_ref()) {
            return Ok(false);
        }
        let mut start = [0; 4];
        let count = open_regular(path)?.read(&mut start).map_err(Error::io(path))?;
        match (&start[..count], ending) {
            ([0x1f, 0x8b, ..], _) => tar::index(tar::inflate(path)?, self)?,
            (b"PK\x03\x04" | b"PK\x05\x06", _) | (_, ".zip") => zip::index(path, self)?,
            (_, ".tar") => tar::index(PositionedFile::open(path)?, self)?,
            _ => tar::index(tar::inflate(path)?, self)?,
        }
        Ok(true)
    }

    /// Adds a file of an archive. `raw` is its name before it was made text.
    fn add_entry(
        &mut self,
        archive: &Path,
        name: &str,
        raw: &[u8],
        file: Location,
    ) -> Result<(), Error> {
        match self.entry_path(archive, name)? {
            Some(path) => {
                self.escaped.add_all(&path, raw)?;
                self.insert(path, StoredFile(file))
            }
            None => Ok(()),
        }
    }

    /// Adds a folder of an archive.
    fn add_folder(&mut self, archive: &Path, name: &str, raw: &[u8]) -> Result<(), Error> {
        if let Some(path) = self.entry_path(archive, name)? {
            self.escaped.add_all(&path, raw)?;
            self.folders.insert(path);
        }
        Ok(())
    }

    /// Counts an entry of an archive and checks its path.
    fn entry_path(&mut self, archive: &Path, name: &str) -> Result<Option<String>, Error> {
        self.count(archive)?;
        clean(name).map_err(|reason| entry_error(archive, name, reason))
    }

    /// Skips a link or a device, unless an image would be missing then.
    fn skip_special(&mut self, archive: &Path, name: &str) -> Result<(), Error> {
        self.entry_path(archive, name)?;
        if is_image_name(name) {
            let reason = "a link or a device, which is not followed; store the image itself";
            return Err(entry_error(archive, name, reason));
        }
        Ok(())
    }

    fn insert(&mut self, path: String, file: StoredFile) -> Result<(), Error> {
        if let Some(first) = self.files.get(&path) {
            return Err(Error::Duplicate {
                first: first.full_name(&path),
                second: file.full_name(&path),
                name: path,
            });
        }
        self.files.insert(path, file);
        Ok(())
    }

    /// Counts a file or folder below `parent` against the limit.
    fn count(&mut self, parent: &Path) -> Result<(), Error> {
        self.entries += 1;
        if self.entries > MAX_ENTRIES {
            return Err(Error::Limit {
                what: format!("{}: number of files", parent.display()),
                value: self.entries as u64,
                limit: MAX_ENTRIES as u64,
            });
        }
        Ok(())
    }

    fn finish(self) -> FileTree {
        FileTree { files: self.files, folders: self.folders, unreadable: self.unreadable }
    }
}

fn entry_error(archive: &Path, entry: &str, reason: &str) -> Error {
    Error::Entry { archive: archive.to_owned(), entry: entry.to_owned(), reason: reason.to_owned() }
}

/// Returns an entry's name as a path of the tree; nothing for hidden files and those that macOS
/// adds.
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
