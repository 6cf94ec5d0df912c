//! Files that are whole or as they were.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use crate::Error;

/// What the names of unfinished files begin with.
const UNFINISHED: &str = ".writing-";

/// Writes a temporary file beside `path`, flushes it to the disk, and renames it to `path`.
///
/// # Errors
/// [`Error::Io`]; `path` is then as it was, and nothing is left beside it.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let folder = path.parent().filter(|p| *p != Path::new("")).unwrap_or(Path::new("."));
    let write = || -> std::io::Result<()> {
        let mut builder = tempfile::Builder::new();
        builder.prefix(UNFINISHED);
        // A temporary file is its owner's alone; a result is as readable as the umask says.
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        let mut file = builder.tempfile_in(folder)?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        file.persist(path)?;
        // The rename itself must reach the disk, too.
        File::open(folder)?.sync_all()
    };
    write().map_err(Error::io("write", path))
}

/// Removes the unfinished files that killed processes left in a folder that no other process
/// writes to.
pub(super) fn remove_unfinished(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if is_unfinished(&entry.file_name().to_string_lossy()) {
            // One that cannot be removed does no harm.
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Whether a file's name is that of an unfinished one.
pub(super) fn is_unfinished(name: &str) -> bool {
    name.starts_with(UNFINISHED)
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    /// The umask belongs to the whole process, so that it is compared with what an ordinary file gets.
    #[test]
    fn a_file_is_as_readable_as_any_other() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let [ours, ordinary] = ["ours", "ordinary"].map(|name| folder.path().join(name));
        fs::write(&ordinary, "").unwrap();
        write_atomically(&ours, b"content").unwrap();
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode();
        assert_eq!(mode(&ours), mode(&ordinary));
        assert_eq!(fs::read(&ours).unwrap(), b"content");
    }

    #[test]
    fn unfinished_files_are_removed_and_no_others() {
        let folder = tempfile::tempdir().unwrap();
        for name in [".writing-a1b2c3", "last.safetensors", ".lock"] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        remove_unfinished(folder.path());
        let names = fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name());
        let mut names: Vec<_> = names.map(|name| name.into_string().unwrap()).collect();
        names.sort();
        assert_eq!(names, [".lock", "last.safetensors"]);
    }
}
