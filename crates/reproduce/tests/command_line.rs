//! The command line of the program.

use std::fs;
use std::process::Command;

#[test]
fn the_command_line_is_checked() {
    let folder = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_reproduce"))
            .current_dir(folder.path())
            .env_remove("FEWSHOT_DATA")
            .args(["reproduce", "--any-build"])
            .args(arguments)
            .output()
            .unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout) + &text(&output.stderr))
    };
    let (code, text) = run(&["cub/neg-cosine", "--dry-run", "--budget", "cpu"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("budget cpu, trainings: 1"), "{text}");
    assert!(text.contains("cub/neg-cosine-5shot seed 0: resnet10 64 px, 40 epochs of"), "{text}");
    assert!(text.contains("its images are not all there"), "{text}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "a dry run writes nothing");
    for (arguments, expected) in [
        (&["birds"][..], "error: `birds` names no cell"),
        (&["--budget", "fast"], "error: budget `fast`"),
        (&["--seeds", "0"], "invalid value '0'"),
    ] {
        let (code, text) = run(arguments);
        assert_eq!(code, Some(2), "{text}");
        assert!(text.contains(expected), "{text}");
    }
}
