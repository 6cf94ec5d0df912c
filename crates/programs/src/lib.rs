//! Builds and runs programs of this workspace through cargo, from their current sources.
#![forbid(unsafe_code)]

use std::convert::Infallible;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// Returns `cargo COMMAND` for this workspace. Cargo tells its subprocesses by `CARGO` which of
/// several installed versions it is.
pub fn cargo(command: &str) -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/../../Cargo.toml");
    cargo.args([command, "--manifest-path", manifest]);
    cargo
}

/// Runs a release build of `package` with this process's arguments, and exits with its status:
/// times measured in any other build mean nothing. `package` is the caller's own package,
/// `features` the features that it was built with.
///
/// # Errors
/// Cargo cannot be started.
pub fn go_on_in_release(package: &str, features: &[&str]) -> Result<Infallible, std::io::Error> {
    let mut cargo = cargo("run");
    cargo.args(["--quiet", "--release", "--package", package]);
    cargo.args(features.iter().flat_map(|feature| ["--features", feature]));
    cargo.arg("--");
    let status = cargo.args(std::env::args_os().skip(1)).status()?;
    std::process::exit(status.code().unwrap_or(2))
}

/// Builds the programs of `packages` in release mode, with `features`, and returns their paths in
/// the same order. Each program has its package's name.
///
/// # Errors
/// Sources that do not compile; cargo cannot be started.
pub fn build_release(packages: &[&str], features: &[&str]) -> Result<Vec<PathBuf>, String> {
    build(packages, features, &["--release"])
}

/// Builds the programs of `packages`, with `features` and further `options` of cargo, and returns their
/// paths in the same order.
///
/// # Errors
/// Those of [`build_release`].
pub fn build(
    packages: &[&str],
    features: &[&str],
    options: &[&str],
) -> Result<Vec<PathBuf>, String> {
    let mut cargo = cargo("build");
    cargo.args(options).arg("--message-format=json-render-diagnostics");
    cargo.args(features.iter().flat_map(|feature| ["--features", feature]));
    cargo.args(packages.iter().flat_map(|package| ["--package", package]));
    let output = cargo.stderr(Stdio::inherit()).output();
    let output = output.map_err(|error| format!("cannot run cargo: {error}"))?;
    if !output.status.success() {
        return Err(format!("cargo cannot build {}", packages.join(" and ")));
    }
    let messages = String::from_utf8_lossy(&output.stdout);
    let find = |package: &&str| {
        executable(&messages, package).ok_or_else(|| format!("cargo built no program {package}"))
    };
    packages.iter().map(find).collect()
}

/// Finds the path of the program `name` in cargo's JSON messages.
fn executable(messages: &str, name: &str) -> Option<PathBuf> {
    messages.lines().find_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        let is_program = message["target"]["name"] == name && message["executable"].is_string();
        is_program.then(|| PathBuf::from(message["executable"].as_str().unwrap_or_default()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_by_name() {
        let messages = r#"{"reason":"compiler-artifact","target":{"name":"trainer"},"executable":null}
not JSON
{"reason":"compiler-artifact","target":{"name":"evaluator"},"executable":"/t/evaluator"}
{"reason":"compiler-artifact","target":{"name":"trainer"},"executable":"/t/trainer"}"#;
        assert_eq!(executable(messages, "trainer"), Some("/t/trainer".into()));
        assert_eq!(executable(messages, "evaluator"), Some("/t/evaluator".into()));
        assert_eq!(executable(messages, "xtask"), None);
    }
}
