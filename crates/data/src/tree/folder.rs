//! The files of a folder on disk.

use std::fs;
use std::path::Path;

use super::{Builder, StoredFile, is_hidden, is_image_name, names};
use crate::Error;

/// Most folders within each other.
const MAX_DEPTH: usize = 32;

/// Adds every file below a folder, and those of the archives directly in it.
pub(super) fn index(root: &Path, tree: &mut Builder) -> Result<(), Error> {
    walk(root, "", 0, tree)
}

fn walk(folder: &Path, prefix: &str, depth: usize, tree: &mut Builder) -> Result<(), Error> {
    if depth > MAX_DEPTH {
        return Err(Error::Limit {
            what: format!("{}: depth of folders", folder.display()),
            value: depth as u64,
            limit: MAX_DEPTH as u64,
        });
    }
    for entry in fs::read_dir(folder).map_err(Error::io(folder))? {
        let entry = entry.map_err(Error::io(folder))?;
        tree.count(folder)?;
        let (name, escaped) = names::text(entry.file_name().as_encoded_bytes());
        if is_hidden(&name) {
            continue;
        }
        let path = entry.path();
        tree.escaped.add(&format!("{prefix}{name}"), escaped)?;
        let kind = entry.file_type().map_err(Error::io(&path))?;
        // Links in a folder are followed: its owner may have the data elsewhere.
        let (is_dir, is_file) = if kind.is_symlink() {
            match fs::metadata(&path) {
                Ok(meta) if meta.is_dir() && !leads_back(&path, folder) => (true, false),
                Ok(meta) => (false, meta.is_file()),
                Err(_) => (false, false),
            }
        } else {
            (kind.is_dir(), kind.is_file())
        };
        if is_dir {
            if !tree.skips(&name) {
                tree.folders.insert(format!("{prefix}{name}"));
                walk(&path, &format!("{prefix}{name}/"), depth + 1, tree)?;
            }
        } else if is_file && !(depth == 0 && tree.add_archive(&path)?) {
            tree.insert(format!("{prefix}{name}"), StoredFile::on_disk(path))?;
        } else if !is_file && (is_image_name(&name) || !name.contains('.')) && !path.is_dir() {
            tree.unreadable.push(path);
        }
    }
    Ok(())
}

/// Whether a link leads to a folder that it is in.
fn leads_back(link: &Path, folder: &Path) -> bool {
    match (link.canonicalize(), folder.canonicalize()) {
        (Ok(target), Ok(folder)) => folder.starts_with(target),
        _ => true,
    }
}
