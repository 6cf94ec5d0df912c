//! Build script: sets `FEWSHOT_COMMIT` and `FEWSHOT_CANDLE`, the commit and the version of candle
//! that the crate is built from.

#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};
use std::process::Command;

/// Root of the workspace, relative to this crate.
const ROOT: &str = "../..";

fn main() {
    let sources = sources();
    for path in &sources {
        println!("cargo::rerun-if-changed={}", path.display());
    }
    let commit = commit(&sources).unwrap_or_else(|| "unknown".to_owned());
    println!("cargo::rustc-env=FEWSHOT_COMMIT={commit}");
    let candle = candle_version().unwrap_or_else(|| "unknown".to_owned());
    println!("cargo::rustc-env=FEWSHOT_CANDLE={candle}");
}

/// The sources of the workspace's binaries: every crate's `src`, and the dependencies.
fn sources() -> Vec<PathBuf> {
    let root = Path::new(ROOT);
    let crates = std::fs::read_dir(root.join("crates")).into_iter().flatten().flatten();
    let mut sources: Vec<_> = crates.map(|entry| entry.path().join("src")).collect();
    sources.extend(["Cargo.toml", "Cargo.lock"].map(|name| root.join(name)));
    // An absent path would run this script at every build.
    sources.retain(|path| path.exists());
    sources
}

/// Returns the commit, followed by `-modified` if `sources` differ from it; none without git or
/// outside a checkout.
fn commit(sources: &[PathBuf]) -> Option<String> {
    // Not the commit of whatever else this folder may have been unpacked into.
    git(&["ls-files", "--error-unmatch", "Cargo.toml"])?;
    // HEAD's log grows whenever HEAD moves, be it by a commit, a checkout or a reset.
    for name in ["HEAD", "logs/HEAD"] {
        let path = git(&["rev-parse", "--git-path", name])?;
        if Path::new(&path).exists() {
            println!("cargo::rerun-if-changed={path}");
        }
    }
    let commit = git(&["rev-parse", "HEAD"])?;
    let diff = Command::new("git").args(["diff", "--quiet", "HEAD", "--"]).args(sources).status();
    Some(if diff.ok()?.success() { commit } else { format!("{commit}-modified") })
}

/// Runs git and returns its output; none if it fails.
fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let printed = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| printed.trim().to_owned())
}

/// Returns the version of candle-core in the lock file.
fn candle_version() -> Option<String> {
    let lock = std::fs::read_to_string(Path::new(ROOT).join("Cargo.lock")).ok()?;
    let (_, entry) = lock.split_once("name = \"candle-core\"\nversion = \"")?;
    Some(entry.split_once('"')?.0.to_owned())
}
