//! A few trials of every kind, on the programs that were built beside this test.
#![cfg(unix)]

use std::path::PathBuf;
use std::time::Duration;

use fewshot_torment::{Kind, Options, Programs, run};

/// The programs of this build, or, where only this package is tested, a build of their own.
fn programs() -> Programs {
    let folder = PathBuf::from(env!("CARGO_BIN_EXE_torment"));
    let folder = folder.parent().unwrap();
    Programs::of_folder(folder).or_else(|_| Programs::build()).unwrap()
}

#[test]
fn nothing_that_was_tried_fails() {
    let keep = tempfile::tempdir().unwrap().keep();
    let time = Duration::from_secs(15);
    let options = Options { seed: 0, time, only: None, first: 0, keep: keep.clone() };
    let report = run(&options, &programs(), |line| eprintln!("{line}")).unwrap();
    println!("{}", report.table());
    for kind in Kind::ALL {
        assert!(report.tries(kind) > 0, "{kind}");
    }
    assert!(report.failures.is_empty(), "{:#?}", report.failures);
    std::fs::remove_dir(keep).ok();
}

/// A program that does the wrong thing is found out: `true` and `false` leave no run behind.
#[test]
fn programs_that_do_nothing_are_no_undisturbed_run() {
    for wrong in ["true", "false"] {
        let wrong = ["/bin", "/usr/bin"].map(|folder| PathBuf::from(folder).join(wrong));
        let wrong = wrong.into_iter().find(|path| path.exists()).unwrap();
        let programs = Programs { trainer: wrong.clone(), evaluator: wrong };
        let keep = tempfile::tempdir().unwrap();
        let options = Options {
            seed: 0,
            time: Duration::ZERO,
            only: None,
            first: 0,
            keep: keep.path().to_owned(),
        };
        assert!(run(&options, &programs, |_| ()).is_err());
    }
}
