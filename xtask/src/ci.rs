//! `cargo xtask ci`: the checks before a push.

use super::{cargo, succeed};

/// A check: its name, cargo's command and arguments, and the environment it sets.
type Check =
    (&'static str, &'static str, &'static [&'static str], &'static [(&'static str, &'static str)]);

const CHECKS: &[Check] = &[
    ("format", "fmt", &["--all", "--check"], &[]),
    ("clippy", "clippy", &["--workspace", "--all-targets", "--", "-D", "warnings"], &[]),
    ("documentation", "doc", &["--workspace", "--no-deps"], &[("RUSTDOCFLAGS", "-D warnings")]),
    ("tests", "test", &["--workspace"], &[]),
    ("each kernel's bench once", "test", &["--workspace", "--bench", "kernels"], &[]),
];

/// Runs all checks, up to the first that fails.
///
/// # Errors
/// The check that failed.
pub fn run() -> Result<String, String> {
    for (name, command, arguments, environment) in CHECKS {
        println!("== {name}: cargo {command} {}", arguments.join(" "));
        let mut cargo = cargo(command);
        succeed(name, cargo.args(*arguments).envs(environment.iter().copied()))?;
    }
    Ok("all checks passed".to_owned())
}
