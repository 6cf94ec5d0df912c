//! `prepare-mini-imagenet` from the outside.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use fewshot_data::mini_imagenet;

fn prepare(from: &Path, data: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_datasets"));
    command.arg("prepare-mini-imagenet").arg("--from").arg(from).arg("--data").arg(data);
    command
}

/// Exit status, standard output, standard error.
fn run(command: &mut Command) -> (i32, String, String) {
    let output = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

/// A tar of every image of the training classes, of a few bytes each.
fn write_copy(path: &Path) {
    let mut tar = tar::Builder::new(std::io::BufWriter::new(std::fs::File::create(path).unwrap()));
    for class in mini_imagenet::classes().take(64) {
        for name in class.file_names() {
            let mut header = tar::Header::new_gnu();
            header.set_size(name.len() as u64);
            header.set_mode(0o644);
            tar.append_data(&mut header, &name, name.as_bytes()).unwrap();
        }
    }
    tar.finish().unwrap();
}

#[test]
fn a_kill_in_the_middle_leaves_nothing_under_the_final_name() {
    let folder = tempfile::tempdir().unwrap();
    let (from, data) = (folder.path().join("a.tar"), folder.path().join("data"));
    write_copy(&from);
    let (target, making) = (data.join("mini-imagenet"), data.join(".mini-imagenet.making"));
    let mut child = prepare(&from, &data)
        .arg("--allow-partial")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let began = Instant::now();
    // The fifth class is begun, of 64.
    let is_in_the_middle = || making.join("train/n01770081").exists();
    while !is_in_the_middle() && began.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_millis(1));
    }
    // SIGKILL: nothing is tidied up.
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(is_in_the_middle() && !target.exists());

    let (code, out, errors) = run(prepare(&from, &data).args(["--allow-partial", "--json"]));
    assert_eq!(code, 0, "{errors}");
    let report: serde_json::Value = serde_json::from_str(&out).unwrap();
    let train = serde_json::json!({ "classes": 64, "images": 64 * 600 });
    assert_eq!((&report["splits"]["train"], &report["made"]), (&train, &true.into()));
    assert_eq!(report["splits"]["test"]["images"], 0);
    assert_eq!(std::fs::read_dir(&data).unwrap().count(), 1);
    let again = run(prepare(Path::new("no/such"), &data).arg("--json"));
    assert!(again.0 == 0 && again.1.contains(r#""made":false"#), "{again:?}");
}

#[test]
fn what_is_wrong_is_one_error_and_exit_2() {
    let folder = tempfile::tempdir().unwrap();
    let from = folder.path().join("a.pkl");
    std::fs::write(&from, b"\x80\x02cos\nsystem\n.").unwrap();
    let data = folder.path().join("data");
    let (code, out, errors) = run(&mut prepare(&from, &data));
    assert_eq!((code, &*out), (2, ""), "{errors}");
    let error = errors.lines().last().unwrap();
    for part in ["error: ", "a.pkl", "refuses to construct `os.system`"] {
        assert!(error.contains(part), "{errors}");
    }
    assert!(!data.exists());

    let copy = folder.path().join("a.tar");
    write_copy(&copy);
    let (code, _, errors) = run(&mut prepare(&copy, &data));
    assert!(code == 2 && errors.contains("error: ") && errors.contains("--allow-partial"));
    assert!(errors.contains("\n  val: all of n01855672 "), "{errors}");
}

#[test]
fn help_teaches() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_datasets"));
    let (code, out, _) = run(command.args(["prepare-mini-imagenet", "--help"]));
    assert_eq!(code, 0);
    for part in ["Examples:", "Exit status: 0 ", "--data", "FEWSHOT_DATA", "ILSVRC2012"] {
        assert!(out.contains(part), "{part}\n{out}");
    }
}
