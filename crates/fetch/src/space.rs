//! Free disk space.

use std::path::Path;

use crate::Error;

/// Returns the bytes that are free for this user on the file system of a folder, which need not
/// exist yet.
///
/// # Errors
/// [`Error::Io`].
pub fn free_space(folder: &Path) -> Result<u64, Error> {
    let existing = folder.ancestors().find(|ancestor| ancestor.exists());
    let existing = existing.filter(|path| !path.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs4::available_space(existing).map_err(Error::io("measure the free space of", existing))
}

/// Checks that `needed` bytes fit into a folder, which need not exist yet.
///
/// # Errors
/// [`Error::Space`] if fewer bytes are free, [`Error::Io`].
pub fn require_space(folder: &Path, needed: u64) -> Result<(), Error> {
    check(folder, needed, free_space(folder)?)
}

fn check(folder: &Path, needed: u64, free: u64) -> Result<(), Error> {
    if needed <= free {
        return Ok(());
    }
    Err(Error::Space { path: folder.to_owned(), needed, free })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_told_in_numbers() {
        let folder = Path::new("/data");
        check(folder, 10, 10).unwrap();
        let error = check(folder, 2_400_000_000, 999).unwrap_err().to_string();
        for part in ["/data", "2.40 GB are needed", "999 bytes are free", "make room"] {
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn space_is_measured_where_a_folder_will_be() {
        let folder = tempfile::tempdir().unwrap();
        let free = free_space(&folder.path().join("not/yet/there")).unwrap();
        assert!(free > 0);
        assert!(free_space(Path::new("not-there")).unwrap() > 0);
    }
}
