//! Room on the disk.

use std::path::Path;

use crate::Error;

/// Bytes that are free for this user where the folder lies or will lie.
///
/// # Errors
/// [`Error::Io`].
pub fn free_space(folder: &Path) -> Result<u64, Error> {
    let there = folder.ancestors().find(|above| above.exists());
    let there = there.filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs4::available_space(there).map_err(Error::io("measure the free space of", there))
}

/// Refuses to begin what would not fit: so many bytes in a folder that lies or will lie there.
///
/// # Errors
/// [`Error::Space`] where fewer bytes are free, [`Error::Io`].
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
        for part in ["/data", "2.40 GB are needed", "999 bytes are free", "--yes"] {
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn room_is_measured_where_a_folder_will_lie() {
        let folder = tempfile::tempdir().unwrap();
        let free = free_space(&folder.path().join("not/yet/there")).unwrap();
        assert!(free > 0);
        assert!(free_space(Path::new("not-there")).unwrap() > 0);
    }
}
