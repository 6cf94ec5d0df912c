//! Output that nobody can read any more, signals that are ignored, and when Ctrl-C ends a run.
#![cfg(unix)]

mod common;

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use common::{stderr, succeed, trainer};

fn kill(child: &Child, signal: &str) {
    succeed(Command::new("kill").args([signal, &child.id().to_string()]));
}

/// Returns `signal`, the one of this number, or SIGTERM where this program, and so its children, were
/// started with it ignored: by `nohup`, or in the background of a script.
fn unless_ignored(signal: &'static str, number: u32) -> &'static str {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    match ignored.unwrap_or(0) >> (number - 1) & 1 {
        0 => signal,
        _ => "-TERM",
    }
}

/// Checks that the run came to its end with all that it leaves.
#[track_caller]
fn is_whole(run: &Path) {
    let metrics = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    assert_eq!(metrics.lines().count(), 3, "{metrics}");
    for name in ["last.safetensors", "best.safetensors", "results.json", "report.md"] {
        assert!(run.join(name).exists(), "{name}");
    }
}

#[test]
fn a_run_goes_on_when_nobody_reads_its_output() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("head");
    // As `trainer | head -1` does.
    let mut child = trainer(&run).spawn().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    assert!(output.read_line(&mut String::new()).unwrap() > 0);
    drop(output);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{:?}: {}", output.status, stderr(&output));
    assert_eq!(stderr(&output).matches("going on without it").count(), 1, "{}", stderr(&output));
    is_whole(&run);

    // A terminal that is gone takes both outputs with it.
    let run = folder.path().join("gone");
    let mut child = trainer(&run).spawn().unwrap();
    drop((child.stdout.take(), child.stderr.take()));
    assert!(child.wait().unwrap().success());
    is_whole(&run);
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_under_the_log_ends_no_run() {
    let full = || OpenOptions::new().write(true).open("/dev/full").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    let output = trainer(&run).stdout(full()).output().unwrap();
    assert!(output.status.success(), "{:?}: {}", output.status, stderr(&output));
    is_whole(&run);
    // The configuration is all that this was asked for.
    let printed = trainer(&run).arg("--print-config").stdout(full()).output().unwrap();
    assert_eq!(printed.status.code(), Some(2));
    let message = stderr(&printed);
    assert!(message.contains("standard output") && message.contains("No space"), "{message}");
    assert!(!message.contains("panicked"), "{message}");
    let status = trainer(&run).arg("--print-config").stdout(full()).stderr(full()).status();
    assert_eq!(status.unwrap().code(), Some(2));
}

/// `trainer` as a shell starts it after `trap '' SIGNALS`, which ignores them.
fn ignoring(signals: &str, run: &Path) -> Command {
    let inner = trainer(run);
    let mut command = Command::new("sh");
    command.arg("-c").arg(format!("trap '' {signals}; exec \"$0\" \"$@\""));
    command.arg(inner.get_program()).args(inner.get_args()).env_remove("FEWSHOT_DATA");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn wait_for_first_epoch(run: &Path) {
    let started = Instant::now();
    while !run.join("last.safetensors").exists() {
        assert!(started.elapsed() < Duration::from_secs(120), "no epoch in two minutes");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn signals_that_were_ignored_stay_ignored() {
    let folder = tempfile::tempdir().unwrap();
    // `nohup`, and a job in the background of a script.
    for (signals, sent) in [("HUP", "-HUP"), ("INT", "-INT"), ("HUP INT TERM", "-TERM")] {
        let run = folder.path().join(signals);
        let child = ignoring(signals, &run).spawn().unwrap();
        wait_for_first_epoch(&run);
        assert!(!run.join("results.json").exists(), "the run was over before the signal");
        kill(&child, sent);
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{signals}: {:?} {}", output.status, stderr(&output));
        is_whole(&run);
    }
    // Those that were not still stop the run, twice as well: a terminal that closes sends SIGHUP
    // itself and has the shell send another.
    let run = folder.path().join("closed");
    let child = ignoring("INT", &run).spawn().unwrap();
    wait_for_first_epoch(&run);
    kill(&child, unless_ignored("-HUP", 1));
    kill(&child, unless_ignored("-HUP", 1));
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", stderr(&output));
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(printed.contains("interrupted and saved"), "{printed}");
}

#[test]
fn ctrl_c_in_the_final_evaluation_ends_the_run() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    let log = folder.path().join("log");
    let mut command = trainer(&run);
    command.args(["test.episodes=1000000", "train.epochs=1", "val.freq=0"]);
    let mut child = command.stdout(File::create(&log).unwrap()).spawn().unwrap();
    let started = Instant::now();
    while !fs::read_to_string(&log).unwrap().contains("evaluating") {
        assert!(started.elapsed() < Duration::from_secs(120), "no evaluation in two minutes");
        std::thread::sleep(Duration::from_millis(5));
    }
    kill(&child, unless_ignored("-INT", 2));
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let mut message = String::new();
    child.stderr.take().unwrap().read_to_string(&mut message).unwrap();
    assert!(
        message.contains("finished and saved") && message.contains("--resume last"),
        "{message}"
    );
    assert!(run.join("last.safetensors").exists() && !run.join("results.json").exists());
}

#[test]
fn quiet_leaves_the_report_and_no_optimizer_what_is_evaluated() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    let output = succeed(trainer(&run).args(["--quiet", "--no-optimizer", "train.epochs=1"]));
    let printed = String::from_utf8(output.stdout.clone()).unwrap();
    let report = fs::read_to_string(run.join("report.md")).unwrap();
    assert_eq!(printed.trim(), report.trim());
    assert_eq!(stderr(&output), "");
    assert!(!run.join("optimizer").exists() && run.join("best.safetensors").exists());
    // It says so when it is trained on all the same.
    let resumed = trainer(&run).args(["--resume", "last", "train.epochs=2"]).output().unwrap();
    assert_eq!(resumed.status.code(), Some(2));
    let message = stderr(&resumed);
    assert!(
        message.contains("--no-optimizer") && message.contains("last.safetensors"),
        "{message}"
    );
    assert_eq!(fs::read_to_string(run.join("report.md")).unwrap(), report);

    // A finished run is trimmed afterwards.
    let other = folder.path().join("other");
    let first = String::from_utf8(succeed(trainer(&other).arg("train.epochs=1")).stdout).unwrap();
    assert!(first.contains("\n1 epoch, batches of 16") && first.contains("10 episodes"), "{first}");
    assert!(other.join("optimizer").exists());
    succeed(trainer(&other).args(["--resume", "last", "--no-optimizer", "train.epochs=1"]));
    assert!(!other.join("optimizer").exists());
    assert_eq!(fs::read_to_string(other.join("report.md")).unwrap(), report);
}

#[test]
fn completions_know_the_options() {
    for (shell, part) in
        [("bash", "complete -F _trainer"), ("zsh", "#compdef trainer"), ("fish", "-l run-dir")]
    {
        let mut command = Command::new(env!("CARGO_BIN_EXE_trainer"));
        let script = succeed(command.args(["--completions", shell])).stdout;
        let script = String::from_utf8(script).unwrap();
        assert!(script.contains(part) && script.contains("no-optimizer"), "{shell}: {script}");
    }
}

/// What a file or its name holds cannot act on the terminal, nor fill it.
#[test]
fn text_of_files_is_printed_safely() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    let file = folder.path().join("e.toml");
    let safe = |text: &[u8]| {
        let text = std::str::from_utf8(text).unwrap();
        assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{text:?}");
        assert!(text.len() < 5_000, "{} bytes", text.len());
        text.to_owned()
    };
    let long = "x".repeat(1_000_000);
    for (text, part) in [
        ("\"\\u001b[31mred\\u0007\" = 1", "unknown key `?[31mred?`"),
        ("train.learning_rate = \"\\u0000\\u009b2J\"", "`train.learning_rate` is \""),
        ("train.momentum = \u{1b}[31m\u{7}", "not TOML"),
        (&format!("\"{long}\" = 1"), "unknown key `xxx"),
        (&format!("method.classifier = \"{long}\""), "expected one of"),
    ] {
        fs::write(&file, text).unwrap();
        let output = trainer(&run).arg("--config").arg(&file).output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        let message = safe(&output.stderr);
        assert!(message.contains(part) && message.contains("e.toml"), "{message}");
    }
    let strange = folder.path().join("\u{1b}[2J\u{7}");
    let refused = trainer(&run).arg("--resume").arg(&strange).output().unwrap();
    assert!(safe(&refused.stderr).contains("?[2J?"));
    let printed = succeed(trainer(&strange.join("run")).arg("train.epochs=1")).stdout;
    assert!(safe(&printed).contains("run folder"));
}
