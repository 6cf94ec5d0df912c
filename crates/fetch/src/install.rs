//! From published archives to a folder that is whole or not there.

use std::mem::discriminant;
use std::path::{Path, PathBuf};

use crate::download::digest;
use crate::{
    Archive, Digest, Downloader, Error, Listener, Lock, Package, Staging, Unpacked, require_space,
    unpack,
};

/// How a [`Package`] gets into a folder.
#[derive(Clone, Debug, Default)]
pub struct Installer {
    /// Gets what is not there.
    pub downloader: Downloader,
    /// Archives on disk that are taken instead of downloads; told apart by their digests.
    pub from: Vec<PathBuf>,
    /// Keeps downloaded archives beside the folder that is made of them.
    pub keep_archives: bool,
    /// Begins even where the disk seems too small.
    pub ignore_space: bool,
}

/// Makes of the unpacked archives, in the first folder, what is wanted, in the second, which
/// is empty; or says what is wrong with them.
pub type Make<'a> = &'a mut dyn FnMut(&Path, &Path, Listener<'_>) -> Result<(), String>;

/// What [`Installer::install`] did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Installed {
    /// The folder was there, and was left alone.
    Already(PathBuf),
    /// The folder is there now.
    New(PathBuf, Unpacked),
}

/// How far a [`Package`] has got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// The folder is there and holds what it should.
    Ready,
    /// Something lies there that lacks what it should hold.
    Incomplete,
    /// So many bytes of its archives have arrived.
    Downloading(u64),
    /// There is nothing.
    Absent,
}

impl Package {
    /// How far the package has got in a folder of datasets. Looks only at names.
    pub fn readiness(&self, data: &Path) -> Readiness {
        let folder = data.join(&self.folder);
        if folder.exists() {
            let lacks = self.missing(&folder).is_some();
            return if lacks { Readiness::Incomplete } else { Readiness::Ready };
        }
        let arrived = self.archives.iter().map(|archive| archive.arrived(data)).sum();
        if arrived > 0 { Readiness::Downloading(arrived) } else { Readiness::Absent }
    }

    fn missing(&self, folder: &Path) -> Option<&str> {
        self.holds.iter().find(|held| !folder.join(held).exists()).map(|held| &**held)
    }

    fn incomplete(&self, path: &Path, missing: &str, remedy: &'static str) -> Error {
        let (path, what) = (path.to_owned(), self.folder.clone());
        Error::Incomplete { path, what, missing: missing.to_owned(), remedy }
    }
}

impl Archive {
    /// Bytes of it that are in a folder, as a whole or as a part.
    fn arrived(&self, data: &Path) -> u64 {
        let part = format!("{}.part", self.remote.name);
        let size = |name: &str| data.join(name).metadata().map(|meta| meta.len());
        size(&self.remote.name).or_else(|_| size(&part)).unwrap_or(0)
    }
}

impl Installer {
    /// Puts the package below `data`. A folder that is there and whole is left alone; one
    /// that is new appears under its name only when all of it is there, so that a kill
    /// leaves archives, or parts of them, that the next call goes on from.
    ///
    /// # Errors
    /// Those of [`Downloader::fetch`] and [`unpack`](crate::unpack()), [`Error::Space`],
    /// [`Error::NotWanted`], [`Error::Incomplete`].
    pub fn install(
        &self,
        package: &Package,
        data: &Path,
        listener: Listener<'_>,
    ) -> Result<Installed, Error> {
        self.install_made(package, data, None, listener)
    }

    /// As [`Self::install`], but the folder is what `make` makes of the unpacked archives.
    ///
    /// # Errors
    /// Those of [`Self::install`], and [`Error::Making`].
    pub fn install_made(
        &self,
        package: &Package,
        data: &Path,
        make: Option<Make<'_>>,
        listener: Listener<'_>,
    ) -> Result<Installed, Error> {
        let target = data.join(&package.folder);
        if target.symlink_metadata().is_ok() {
            return match package.missing(&target) {
                None => Ok(Installed::Already(target)),
                Some(missing) => {
                    Err(package.incomplete(&target, missing, "move it away and call again"))
                }
            };
        }
        let given = self.given(package, listener)?;
        std::fs::create_dir_all(data).map_err(Error::io("create", data))?;
        let _lock = Lock::on(data.join(format!(".{}.lock", package.folder)))?;
        if !self.ignore_space {
            let needed = package.on_disk + still_to_come(package, &given, data);
            require_space(data, needed)?;
        }
        let mut archives = Vec::new();
        for (archive, given) in package.archives.iter().zip(given) {
            let ours = given.is_none() && !data.join(&archive.remote.name).exists();
            let path = match given {
                Some(path) => path,
                None => self.downloader.fetch(&archive.remote, data, listener)?,
            };
            archives.push((archive, path, ours));
        }
        let mut staging = Staging::new(data.join(format!(".{}.unpacking", package.folder)))?;
        let mut unpacked = Unpacked::default();
        for (archive, path, _) in &archives {
            let (strip, into) = (archive.strip.as_deref(), staging.path());
            let one = unpack(path, archive.format, into, strip, package.limits, listener)?;
            unpacked.files += one.files;
            unpacked.bytes += one.bytes;
        }
        if let Some(make) = make {
            let made = Staging::new(data.join(format!(".{}.making", package.folder)))?;
            make(staging.path(), made.path(), listener)
                .map_err(|reason| Error::Making { path: target.clone(), reason })?;
            staging = made;
        }
        if let Some(missing) = package.missing(staging.path()) {
            let remedy = "the archives are not the expected ones";
            return Err(package.incomplete(staging.path(), missing, remedy));
        }
        staging.become_folder(&target)?;
        // What somebody else put there is theirs to delete.
        for (_, path, _) in archives.iter().filter(|(_, _, ours)| *ours && !self.keep_archives) {
            std::fs::remove_file(path).map_err(Error::io("delete", path))?;
        }
        Ok(Installed::New(target, unpacked))
    }

    /// For each archive the given file of its digest, if any.
    fn given(
        &self,
        package: &Package,
        listener: Listener<'_>,
    ) -> Result<Vec<Option<PathBuf>>, Error> {
        let mut given = vec![None; package.archives.len()];
        for path in &self.from {
            let mut fits = false;
            let mut seen: Option<Digest> = None;
            for (archive, given) in package.archives.iter().zip(&mut given) {
                // Computed once where all archives have the same kind of digest.
                let got = match seen {
                    Some(got) if discriminant(&got) == discriminant(&archive.remote.digest) => got,
                    _ => digest(&archive.remote, path, listener)?,
                };
                seen = Some(got);
                if got == archive.remote.digest {
                    (*given, fits) = (Some(path.clone()), true);
                    break;
                }
            }
            if let (false, Some(got)) = (fits, seen) {
                let named = |a: &Archive| format!("{} with {}", a.remote.name, a.remote.digest);
                let wanted: Vec<_> = package.archives.iter().map(named).collect();
                let wanted = wanted.join(" or ");
                return Err(Error::NotWanted { path: path.clone(), got, wanted });
            }
        }
        Ok(given)
    }
}

/// Bytes that are still to be downloaded.
fn still_to_come(package: &Package, given: &[Option<PathBuf>], data: &Path) -> u64 {
    let missing = package.archives.iter().zip(given).filter(|(_, given)| given.is_none());
    missing
        .map(|(archive, _)| archive.remote.size.limit().saturating_sub(archive.arrived(data)))
        .sum()
}
