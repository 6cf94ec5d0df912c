//! The program at its smallest sizes, so that every row keeps working.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

fn bench(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bench"));
    command.args(["bench", "--smallest"]).args(arguments);
    command
}

fn rows(output: &Output) -> Vec<Value> {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    json["rows"].as_array().unwrap().clone()
}

/// Runs a command that exits with 2; returns its message after `error: `.
fn error(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{errors}");
    let (_, error) = errors.split_once("error: ").unwrap_or_else(|| panic!("{errors}"));
    error.trim().to_owned()
}

/// The trainer that `cargo test --workspace` has built. This test builds none: cargo would
/// compile most of the workspace a second time, with other features.
fn has_trainer() -> bool {
    let trainer = format!("trainer{}", std::env::consts::EXE_SUFFIX);
    Path::new(env!("CARGO_BIN_EXE_bench")).with_file_name(trainer).exists()
}

#[test]
fn every_kind_can_be_measured() {
    let mut kinds: &[&str] = &[];
    if !has_trainer() {
        eprintln!("start: not tested, for no trainer is built (cargo build --package trainer)");
        kinds = &["train", "features", "episodes", "loader", "memory"];
    }
    let mut command = bench(kinds);
    let output = command.args(["--json", "-", "--threads", "1"]).output().unwrap();
    let rows = rows(&output);
    let names: Vec<_> = rows.iter().map(|row| row["name"].as_str().unwrap()).collect();
    let count = |kind: &str| names.iter().filter(|name| name.starts_with(kind)).count();
    let counts = ["train ", "features ", "episodes ", "loader ", "memory ", "start "].map(count);
    assert_eq!(counts, [5, 1, 2, 2, 1, usize::from(kinds.is_empty())], "{names:?}");
    for row in &rows {
        assert!(row["ours"].as_f64().unwrap() > 0.0 && row["pytorch"].is_null(), "{row}");
    }
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(errors.contains("ours alone: --against-pytorch was not given"), "{errors}");
    assert!(errors.contains("| bench ") && errors.contains("1 threads"), "{errors}");
}

#[test]
fn convolutions_and_sizes_can_be_measured() {
    let output = bench(&["kernels", "scaling", "--json", "-"]).output().unwrap();
    let rows = rows(&output);
    // The peak; three passes of eight convolutions and two of the first; batch and image sizes.
    assert_eq!(rows.len(), 1 + 3 * 8 + 2 + 8, "{rows:?}");
    assert!(rows.iter().all(|row| row["ours"].as_f64().unwrap() > 0.0), "{rows:?}");
}

#[test]
fn epochs_need_data() {
    let mut command = bench(&["run", "--json", "-"]);
    let output = command.env_remove("FEWSHOT_DATA").output().unwrap();
    assert!(rows(&output).is_empty());
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(errors.contains("run: skipped, for FEWSHOT_DATA"), "{errors}");

    // With FEWSHOT_DATA as it is set here, if it is.
    rows(&bench(&["run", "--json", "-"]).output().unwrap());
}

#[test]
fn bad_arguments_are_named() {
    let absent = error(&mut bench(&["episodes", "--python", "no/such/python"]));
    assert_eq!(
        absent,
        "--python no/such/python does not exist: name an interpreter that has PyTorch"
    );
    let file = error(&mut bench(&["episodes", "--json", "no/such/folder/x.json"]));
    assert!(file.starts_with("cannot write no/such/folder/x.json"), "{file}");
    for (arguments, named) in [
        (["--pairs", "0"], "'0' for '--pairs <N>'"),
        (["--threads", "many"], "'many' for '--threads <N>'"),
        (["--epochs", "-1"], "'-1'"),
        (["speed", "--smallest"], "'speed'"),
    ] {
        let message = error(&mut bench(&arguments));
        assert!(message.contains(named), "{message}");
    }
}

#[test]
fn without_python_ours_is_measured_alone() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = bench(&["episodes", "--against-pytorch", "--json", "-"]);
    let output = command.env("PATH", folder.path()).output().unwrap();
    assert!(rows(&output)[0]["pytorch"].is_null());
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(errors.contains("ours alone: there is no python3 or python"), "{errors}");
}

/// Writes a shell script that stands in for Python. It runs `versions` when it is asked for
/// versions, and `row` when it is given a row.
#[cfg(unix)]
fn python(folder: &Path, versions: &str, row: &str) -> String {
    use std::os::unix::fs::PermissionsExt as _;
    let path = folder.join("python");
    let script = format!("#!/bin/sh\nif [ \"$1\" = -c ]; then {versions}; else {row}; fi\n");
    std::fs::write(&path, script).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path.to_str().unwrap().to_owned()
}

#[cfg(unix)]
#[test]
fn rows_hold_both_sides() {
    let folder = tempfile::tempdir().unwrap();
    let reply = r#"echo '{"ready": "by heart"}'; while read line; do echo '{"value": 0.5}'; done"#;
    let python = python(folder.path(), r#"echo '{"torch": "9"}'"#, reply);
    let file = folder.path().join("bench.json");
    let mut command = bench(&["episodes", "--python", &python, "--json"]);
    let output = command.arg(&file).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let table = String::from_utf8(output.stdout).unwrap();
    assert!(table.contains("torch 9") && table.contains("PyTorch by heart"), "{table}");
    let json: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    let row = &json["rows"][0];
    assert_eq!(row["pytorch"], 0.5);
    let ratio = row["ours"].as_f64().unwrap() / 0.5;
    assert!((row["ratio"].as_f64().unwrap() / ratio - 1.0).abs() < 1e-9, "{row}");
    assert_eq!(json["hardware"]["pytorch"]["torch"], "9");
}

#[cfg(unix)]
#[test]
fn a_python_that_fails_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let versions = r#"echo '{"torch": "9"}'"#;
    for (versions, row, expected) in [
        ("echo \"No module named 'torch'\" >&2; exit 1", "exit 0", "No module named 'torch'"),
        (versions, "exit 1", "gave up"),
        (versions, "echo hello", "said `hello`: expected `ready`"),
        (versions, r#"echo '{"ready": ""}'"#, "gave up"),
        (versions, r#"echo '{"ready": ""}'; echo '{"value": "fast"}'; read line"#, "\"fast\""),
    ] {
        let python = python(folder.path(), versions, row);
        let message = error(&mut bench(&["episodes", "--python", &python]));
        assert!(message.contains(expected), "{message}");
    }
    let python = python(folder.path(), "exit 1", "exit 1");
    let message = error(&mut bench(&["episodes", "--python", &python]));
    assert!(message.contains("python -m pip install torch"), "{message}");
}
