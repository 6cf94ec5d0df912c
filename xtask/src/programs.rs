//! The workspace's other programs, built from the sources as they are.

use std::path::PathBuf;
use std::process::{Command, Stdio};

/// Cargo, in this workspace. It tells its subprocesses which of several installed cargos it is.
pub fn cargo(command: &str) -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args([command, "--manifest-path", concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")]);
    cargo
}

/// Goes on in a release build of this program, with the same arguments: in any other, no time
/// that is measured means anything. What it printed, and its exit status, are this program's.
///
/// # Errors
/// No cargo.
pub fn go_on_in_release() -> Result<std::convert::Infallible, std::io::Error> {
    let mut cargo = cargo("run");
    cargo.args(["--quiet", "--release", "--package", "xtask"]);
    if cfg!(feature = "cuda") {
        cargo.args(["--features", "cuda"]);
    }
    cargo.arg("--");
    let status = cargo.args(std::env::args_os().skip(1)).status()?;
    std::process::exit(status.code().unwrap_or(2))
}

/// Builds the programs of these packages, optimised, and tells where they are.
///
/// # Errors
/// Sources that do not compile, or no cargo.
pub fn build_release(packages: &[&str]) -> Result<Vec<PathBuf>, String> {
    let mut cargo = cargo("build");
    cargo.args(["--release", "--message-format=json-render-diagnostics"]);
    if cfg!(feature = "cuda") {
        cargo.args(["--features", "cuda"]);
    }
    packages.iter().for_each(|package| {
        cargo.args(["--package", package]);
    });
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

/// The program of this name in what cargo says that it built.
fn executable(messages: &str, name: &str) -> Option<PathBuf> {
    messages.lines().find_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        let is_it = message["target"]["name"] == name && message["executable"].is_string();
        is_it.then(|| PathBuf::from(message["executable"].as_str().unwrap_or_default()))
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
