//! What the report says beside its figures.

mod common;
#[path = "common/folders.rs"]
mod folders;

use std::fs;
use std::path::Path;

use common::{stderr, succeed, trainer};
use folders::{class_folders, on_folders};
use serde_json::Value;

/// The report for readers, and the one for programs.
fn reports(run: &Path) -> (String, Value) {
    let text = |name: &str| fs::read_to_string(run.join(name)).unwrap();
    (text("report.md"), serde_json::from_str(&text("results.json")).unwrap())
}

fn warnings(results: &Value) -> Vec<&str> {
    let all = results["warnings"].as_array().map(Vec::as_slice).unwrap_or_default();
    all.iter().map(|warning| warning.as_str().unwrap()).collect()
}

#[test]
fn classes_of_several_splits_are_not_unseen() {
    let folder = tempfile::tempdir().unwrap();
    let (run, root) = (folder.path().join("run"), folder.path().join("birds"));
    class_folders(&root);
    let output = succeed(&mut on_folders(&run, &root));
    let (markdown, results) = reports(&run);
    let shared = |of: &str, also: &str| {
        format!(
            "5 (class0, class1, class2, …) of the 5 classes of birds {of} are in birds {also} as \
             well: they are not unseen"
        )
    };
    let expected = [shared("val", "base"), shared("novel", "base"), shared("novel", "val")];
    assert_eq!(warnings(&results), expected);
    for warning in &expected {
        assert!(markdown.contains(&format!("**Warning**: {warning}.\n")), "{markdown}");
        assert!(stderr(&output).contains(&format!("warning: {warning}\n")), "{}", stderr(&output));
    }
    assert!(markdown.starts_with(
        "| model | epoch | train acc birds base | 1-shot birds val | 5-shot birds val | 1-shot \
         birds novel | 5-shot birds novel |\n"
    ));

    // Names of their own, and there is nothing to warn of.
    for split in ["base", "val", "novel"] {
        for class in 0..5 {
            let own = root.join(split).join(format!("{split}{class}"));
            fs::rename(root.join(split).join(format!("class{class}")), own).unwrap();
        }
    }
    succeed(&mut on_folders(&run, &root));
    let (markdown, results) = reports(&run);
    assert!(results["warnings"].is_null() && !markdown.contains("Warning"), "{markdown}");
}

#[test]
fn columns_are_headed_with_the_split_that_they_are_of() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    let settings = ["dataset.novel.split=val", "dataset.hold_out=2", "test.pixel_baseline=true"];
    succeed(trainer(&run).args(settings).args(["train.epochs=1", "test.query=3"]));
    let (markdown, results) = reports(&run);
    let header = "| model | epoch | train acc glyphs base | acc glyphs base-val | 1-shot glyphs val \
                  | 5-shot glyphs val |\n";
    assert!(markdown.starts_with(header) && !markdown.contains("novel"), "{markdown}");
    let cells = |line: &str| line.matches('|').count();
    assert!(markdown.lines().all(|line| cells(line) == cells(header)), "{markdown}");
    assert_eq!(results["last"]["novel"], results["last"]["val"]);

    // The whole dataset is no novel classes, either.
    succeed(trainer(&run).args(["dataset.novel.split=all", "train.epochs=1"]));
    let (markdown, results) = reports(&run);
    assert!(markdown.contains("| 1-shot glyphs all |"), "{markdown}");
    let expected = "64 (glyph_000, glyph_001, glyph_002, …) of the 100 classes of glyphs all are in \
                    glyphs base as well";
    assert!(warnings(&results)[0].starts_with(expected), "{results}");
}

#[test]
fn many_skipped_images_are_a_warning() {
    let folder = tempfile::tempdir().unwrap();
    let (run, root) = (folder.path().join("run"), folder.path().join("birds"));
    class_folders(&root);
    for broken in ["base/class0/0.jpg", "base/class4/3.jpg", "novel/class1/7.jpg"] {
        fs::write(root.join(broken), "x").unwrap();
    }
    let mut command = on_folders(&run, &root);
    succeed(command.args(["loader.on_broken=skip", "test.query=2", "test.shots=[1]"]));
    let (markdown, results) = reports(&run);
    assert_eq!(results["last"]["skipped"], serde_json::json!({ "base": 2, "novel": 1 }));
    for warning in [
        "2 of the 40 images of birds base were skipped as broken (5.0 %)",
        "1 of the 40 images of birds novel were skipped as broken (2.5 %)",
    ] {
        assert!(warnings(&results).contains(&warning), "{results}");
        assert!(markdown.contains(&format!("**Warning**: {warning}.\n")), "{markdown}");
    }
}
