//! The program, up to where it would run another one.

use std::process::{Command, Output};

fn xtask(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_xtask")).args(arguments).output().unwrap()
}

#[test]
fn commands_are_listed() {
    for arguments in [&["--help"][..], &["help"], &["-h"], &["--features", "cuda", "--help"]] {
        let output = xtask(arguments);
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(0));
        for part in ["ci ", "download-cub ", "--features", "COMMAND --help"] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
    let output = xtask(&[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().contains("Usage: cargo xtask"));
    assert!(xtask(&["--version"]).stdout.starts_with(b"xtask "));
}

#[test]
fn what_is_unknown_is_exit_2() {
    for (arguments, expected) in [
        (&["chek-cuda"][..], "did you mean `check-cuda`?"),
        (&["--featres", "cuda", "bench"], "unknown option --featres"),
        (&["ci", "--fast"], "ci takes no arguments, but got --fast"),
        (&["--release", "docs"], "docs takes no arguments, but got --release"),
    ] {
        let output = xtask(arguments);
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{errors}");
        assert!(errors.starts_with("error: ") && errors.contains(expected), "{errors}");
    }
}

#[test]
fn commands_of_this_program_explain_themselves() {
    for arguments in [["ci", "--help"], ["help", "ci"]] {
        let output = xtask(&arguments);
        assert_eq!(output.status.code(), Some(0));
        assert!(String::from_utf8(output.stdout).unwrap().contains("Usage: cargo xtask ci"));
    }
}
