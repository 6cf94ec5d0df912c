//! `cargo xtask docs`: the pages of docs/ as a book, with the API's pages below it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{fs, io};

use super::{cargo, succeed};

/// Builds the book, if mdbook is installed, and the API's pages, all in `book` of the target
/// folder.
///
/// # Errors
/// A page that mdbook or rustdoc refuses; files that cannot be written.
pub fn run() -> Result<String, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let target = target()?;
    let book = target.join("book");
    let has_mdbook = Command::new("mdbook").arg("--version").output().is_ok();
    if has_mdbook {
        // First, for mdbook empties its folder.
        println!("== book: mdbook build");
        let mut mdbook = Command::new("mdbook");
        succeed("the book", mdbook.arg("build").arg(&root).arg("--dest-dir").arg(&book))?;
    }
    println!("== API: cargo doc --workspace --no-deps");
    succeed("the API's pages", cargo("doc").args(["--workspace", "--no-deps"]))?;
    let api = book.join("api");
    let copied = match fs::remove_dir_all(&api) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => copy(&target.join("doc"), &api),
    };
    copied.map_err(|error| format!("cannot write {}: {error}", api.display()))?;
    Ok(if has_mdbook {
        format!("the book is {}", book.join("index.html").display())
    } else {
        format!(
            "mdbook is not installed, so the pages of docs/ are left out (cargo install mdbook \
             --locked); the API's pages are in {}",
            api.display()
        )
    })
}

/// Returns the folder that cargo builds in: this program is two levels below it.
fn target() -> Result<PathBuf, String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let target = program.ancestors().nth(2).map(Path::to_owned);
    target.ok_or_else(|| format!("{} is in no target folder", program.display()))
}

/// Copies a folder with all that it contains.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let path = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &path)?;
        } else {
            fs::copy(entry.path(), path)?;
        }
    }
    Ok(())
}
