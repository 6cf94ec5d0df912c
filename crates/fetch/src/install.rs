//! Installation: from published archives to a folder that is complete or does not exist.

use std::path::{Path, PathBuf};

use crate::download::digest_file;
use crate::{
    Archive, Digest, Downloader, Error, Listener, Lock, Package, Staging, Unpacked, require_space,
    unpack,
};

/// Installs [`Package`]s.
#[derive(Clone, Debug, Default)]
pub struct Installer {
    /// Downloads archives that are not on disk.
    pub downloader: Downloader,
    /// Archives on disk to use instead of downloads, recognized by their digests.
    pub local_archives: Vec<PathBuf>,
    /// Keeps downloaded archives beside the installed folder.
    pub keep_archives: bool,
    /// Starts even if too little space is free on the disk.
    pub ignore_space: bool,
}

/// Converts the unpacked archives in the first folder into the wanted content of the second,
/// which is empty; an error says what is wrong with the archives.
pub type Convert<'a> = &'a mut dyn FnMut(&Path, &Path, Listener<'_>) -> Result<(), String>;

/// Result of [`Installer::install`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Installed {
    /// The folder existed and was left alone.
    Already(PathBuf),
    /// The folder was installed from the archives.
    New(PathBuf, Unpacked),
}

/// Progress of a [`Package`]'s installation, as found on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// The folder exists and has all required paths.
    Ready,
    /// The folder exists but lacks a required path.
    Incomplete,
    /// Number of bytes of its archives on disk.
    Downloading(u64),
    /// Neither the folder nor any part of an archive exists.
    Absent,
}

impl Package {
    /// Returns how far the installation in a folder of datasets has got. Checks only which files
    /// exist, not their content.
    pub fn readiness(&self, data: &Path) -> Readiness {
        let folder = data.join(&self.folder);
        if folder.exists() {
            let is_incomplete = self.missing_path(&folder).is_some();
            return if is_incomplete { Readiness::Incomplete } else { Readiness::Ready };
        }
        let bytes = self.archives.iter().map(|archive| archive.bytes_on_disk(data)).sum();
        if bytes > 0 { Readiness::Downloading(bytes) } else { Readiness::Absent }
    }

    /// Returns the first required path that a folder lacks.
    fn missing_path(&self, folder: &Path) -> Option<String> {
        self.required_paths.iter().find(|path| !folder.join(path).exists()).cloned()
    }
}

impl Archive {
    /// Returns the size of the complete or partial download in a folder.
    fn bytes_on_disk(&self, data: &Path) -> u64 {
        let part = format!("{}.part", self.remote.name);
        let size = |name: &str| data.join(name).metadata().map(|meta| meta.len());
        size(&self.remote.name).or_else(|_| size(&part)).unwrap_or(0)
    }
}

impl Installer {
    /// Installs a package below `data`. An existing folder that is complete is left alone. A new
    /// one appears under its name only when it is complete: if the process is killed, the next
    /// call resumes from the archives, or parts of them, that are on disk.
    ///
    /// # Errors
    /// Those of [`Downloader::fetch`] and [`unpack`](crate::unpack()), [`Error::Space`],
    /// [`Error::UnknownArchive`], [`Error::Incomplete`], [`Error::MissingContent`].
    pub fn install(
        &self,
        package: &Package,
        data: &Path,
        listener: Listener<'_>,
    ) -> Result<Installed, Error> {
        self.install_converted(package, data, None, listener)
    }

    /// Like [`Self::install`], but the folder is what `convert` makes from the unpacked archives.
    ///
    /// # Errors
    /// Those of [`Self::install`], and [`Error::Conversion`].
    pub fn install_converted(
        &self,
        package: &Package,
        data: &Path,
        convert: Option<Convert<'_>>,
        listener: Listener<'_>,
    ) -> Result<Installed, Error> {
        let target = data.join(&package.folder);
        if target.symlink_metadata().is_ok() {
            return match package.missing_path(&target) {
                None => Ok(Installed::Already(target)),
                Some(missing) => {
                    let package = package.folder.clone();
                    Err(Error::Incomplete { path: target, package, missing })
                }
            };
        }
        let local = self.match_local_archives(package, listener)?;
        std::fs::create_dir_all(data).map_err(Error::io("create", data))?;
        let _lock = Lock::acquire(data.join(format!(".{}.lock", package.folder)))?;
        if !self.ignore_space {
            let needed = package.on_disk + bytes_to_download(package, &local, data);
            require_space(data, needed)?;
        }
        let mut archives = Vec::new();
        for (archive, local) in package.archives.iter().zip(local) {
            let is_downloaded = local.is_none() && !data.join(&archive.remote.name).exists();
            let path = match local {
                Some(path) => path,
                None => self.downloader.fetch(&archive.remote, data, listener)?,
            };
            archives.push((archive, path, is_downloaded));
        }
        let mut staging = Staging::new(data.join(format!(".{}.unpacking", package.folder)))?;
        let mut unpacked = Unpacked::default();
        for (archive, path, _) in &archives {
            let (strip, into) = (archive.strip.as_deref(), staging.path());
            let one = unpack(path, archive.format, into, strip, package.limits, listener)?;
            unpacked.files += one.files;
            unpacked.bytes += one.bytes;
        }
        if let Some(convert) = convert {
            let converted = Staging::new(data.join(format!(".{}.making", package.folder)))?;
            convert(staging.path(), converted.path(), listener)
                .map_err(|reason| Error::Conversion { path: target.clone(), reason })?;
            staging = converted;
        }
        if let Some(missing) = package.missing_path(staging.path()) {
            return Err(Error::MissingContent { package: package.folder.clone(), missing });
        }
        staging.persist(&target)?;
        // Archives that were on disk before are not ours to delete.
        if !self.keep_archives {
            for (_, path, _) in archives.iter().filter(|(_, _, is_downloaded)| *is_downloaded) {
                std::fs::remove_file(path).map_err(Error::io("delete", path))?;
            }
        }
        Ok(Installed::New(target, unpacked))
    }

    /// Returns for each archive of the package the local one of the same digest, if any.
    fn match_local_archives(
        &self,
        package: &Package,
        listener: Listener<'_>,
    ) -> Result<Vec<Option<PathBuf>>, Error> {
        let mut matched = vec![None; package.archives.len()];
        for path in &self.local_archives {
            let mut is_known = false;
            let mut last: Option<Digest> = None;
            for (archive, matched) in package.archives.iter().zip(&mut matched) {
                let expected = archive.remote.digest;
                // Computed once if all archives have digests of the same algorithm.
                let got = match last {
                    Some(got) if got.algorithm() == expected.algorithm() => got,
                    _ => digest_file(&archive.remote, path, listener)?,
                };
                last = Some(got);
                if got == expected {
                    (*matched, is_known) = (Some(path.clone()), true);
                    break;
                }
            }
            if let (false, Some(got)) = (is_known, last) {
                let remotes = package.archives.iter().map(|archive| &archive.remote);
                let expected = remotes.map(|remote| (remote.name.clone(), remote.digest)).collect();
                return Err(Error::UnknownArchive { path: path.clone(), got, expected });
            }
        }
        Ok(matched)
    }
}

/// Returns an upper bound on the bytes that are still to be downloaded.
fn bytes_to_download(package: &Package, local: &[Option<PathBuf>], data: &Path) -> u64 {
    let absent = package.archives.iter().zip(local).filter(|(_, local)| local.is_none());
    absent
        .map(|(archive, _)| archive.remote.size.limit().saturating_sub(archive.bytes_on_disk(data)))
        .sum()
}
