//! `cargo xtask ci`: the checks before a push.

use std::process::{Command, Stdio};

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

/// The policy on dependencies (`deny.toml`), for which cargo-deny is not part of a Rust toolchain.
const DEPENDENCIES: Check = ("dependencies", "deny", &["--offline", "check"], &[]);

/// Runs all checks, up to the first that fails.
///
/// # Errors
/// The check that failed.
pub fn run() -> Result<String, String> {
    CHECKS[..1].iter().try_for_each(check)?;
    let left_out = if has_cargo_deny() {
        check(&DEPENDENCIES)?;
        ""
    } else {
        println!(
            "== dependencies: skipped, as cargo-deny is not installed (`cargo install cargo-deny`)"
        );
        ", but dependencies were not checked"
    };
    CHECKS[1..].iter().try_for_each(check)?;
    Ok(format!("all checks passed{left_out}"))
}

fn check((name, command, arguments, environment): &Check) -> Result<(), String> {
    println!("== {name}: cargo {command} {}", arguments.join(" "));
    let mut cargo = cargo(command);
    succeed(name, cargo.args(*arguments).envs(environment.iter().copied()))
}

fn has_cargo_deny() -> bool {
    let mut version = Command::new("cargo-deny");
    version.arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
    version.status().is_ok_and(|status| status.success())
}
