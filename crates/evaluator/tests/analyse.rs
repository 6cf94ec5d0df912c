//! `evaluator analyse` on randomly initialised checkpoints.

#![cfg(feature = "analysis")]

mod common;

use std::path::Path;
use std::process::{Command, Output};

use common::{FEW, checkpoint, json};
use evaluator::analysis::{Analysis, accuracy_measure};

/// Settings of a drawn dataset that has held-out images.
const SMALL: [&str; 2] = ["dataset.images_per_class=26", "dataset.hold_out=5"];

fn analyse(checkpoints: &[&Path], out: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_evaluator"));
    command.arg("analyse").arg("--checkpoint").args(checkpoints).arg("--out").arg(out);
    command.args(FEW).args(arguments).env_remove("FEWSHOT_DATA").output().unwrap()
}

#[track_caller]
fn results(output: &Output, out: &Path) -> (String, Analysis) {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let analysis = std::fs::read_to_string(out.join("analysis.json")).unwrap();
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    (text, serde_json::from_str(&analysis).unwrap())
}

#[test]
fn checkpoints_are_analysed_side_by_side() {
    let folder = tempfile::tempdir().unwrap();
    let settings =
        |margin, seed| [&SMALL[..], &["method.classifier=neg-softmax", margin, seed]].concat();
    let zero = checkpoint(folder.path(), "zero", &settings("method.margin=0.0", "seed=0"));
    let negative = checkpoint(folder.path(), "negative", &settings("method.margin=-0.3", "seed=1"));
    let out = folder.path().join("analysis");
    let (text, analysis) = results(&analyse(&[&zero, &negative, &zero], &out, &[]), &out);

    let [first, second, again] = &analysis.checkpoints[..] else { panic!("{text}") };
    assert_eq!((first.margin, second.margin, second.seed), (0.0, -0.3, 1));
    let names: Vec<&str> = first.splits.iter().map(|split| split.split.as_str()).collect();
    assert_eq!(names, ["base", "base-val", "val", "novel"]);
    let [base, held_out, _, novel] = &first.splits[..] else { unreachable!() };
    // 64 classes: 21 of 26 images are trained on, 5 held out.
    assert_eq!((base.images, held_out.images), (64 * 21, 64 * 5));

    // Accuracy is what the evaluator measures.
    let expected = &json(&zero, &FEW)["results"]["5"]["mean"];
    assert_eq!(novel.accuracy["finetune"][&5].mean, expected.as_f64().unwrap());
    // Five held-out images are four queries at 1-shot, and none at 5-shot.
    assert_eq!(held_out.queries, [(1, 4)].into());
    assert!(held_out.accuracy["finetune"].keys().eq([&1]) && held_out.clusters.is_some());
    // A classifier that has learned nothing guesses one of 64 classes.
    assert!(base.base_accuracy.unwrap() < 10.0 && novel.base_accuracy.is_none());
    let peaks = novel.peaks.as_ref().unwrap();
    assert_eq!((peaks.probability.len(), peaks.probability[0].len()), (20, 64));
    for row in &peaks.probability {
        assert!((row.iter().sum::<f64>() - 1.0).abs() < 1e-9);
    }

    // The same checkpoint differs by nothing, another one by the difference of its accuracies.
    let novel_of = |checkpoint: usize| analysis.checkpoints[checkpoint].split("novel").unwrap();
    assert!(first.splits.iter().all(|split| split.difference.is_empty()));
    assert_eq!(again.splits[3].accuracy, novel.accuracy);
    assert_eq!(novel_of(2).difference["prototype"][&1].mean, 0.0);
    let mean = |checkpoint: usize| novel_of(checkpoint).accuracy["prototype"][&1].mean;
    let difference = novel_of(1).difference["prototype"][&1].mean;
    assert!((difference - (mean(1) - mean(0))).abs() < 1e-9, "{difference}");

    assert!(text.contains(&accuracy_measure("prototype", 1)), "{text}");
    assert!(text.contains("minus [1], same episodes"), "{text}");
    let csv = std::fs::read_to_string(out.join("analysis.csv")).unwrap();
    let lines = csv.lines().filter(|line| line.contains(",novel,discriminability,"));
    assert_eq!(lines.count(), 3, "{csv}");
    let html = std::fs::read_to_string(out.join("analysis.html")).unwrap();
    for part in
        ["t-SNE of [2]", "P(j, k)", "Confusion among novel classes", "data:image/png;base64,"]
    {
        assert!(html.contains(part), "{part}");
    }
    assert!(!html.contains("<script") && html.contains("Over the margin"));
}

/// Equal checkpoints give equal files, whatever the number of threads.
#[test]
fn results_repeat() {
    let folder = tempfile::tempdir().unwrap();
    let path = checkpoint(folder.path(), "drawn", &SMALL);
    let pages = ["1", "3"].map(|threads| {
        let out = folder.path().join(threads);
        let mut command = Command::new(env!("CARGO_BIN_EXE_evaluator"));
        command
            .args(["analyse", "--heads", "prototype", "--shots", "5", "--checkpoint"])
            .arg(&path);
        command.arg("--out").arg(&out).args(FEW).env("RAYON_NUM_THREADS", threads);
        results(&command.output().unwrap(), &out);
        ["analysis.html", "analysis.json"].map(|name| std::fs::read(out.join(name)).unwrap())
    });
    assert!(pages[0] == pages[1]);
}

#[test]
fn images_that_were_skipped_are_counted() {
    let folder = tempfile::tempdir().unwrap();
    let path = checkpoint(folder.path(), "drawn", &SMALL);
    let root = folder.path().join("birds");
    for class in 0..5 {
        let of_class = root.join(format!("novel/{class}"));
        std::fs::create_dir_all(&of_class).unwrap();
        for index in 0..20 {
            let image = image::RgbImage::from_pixel(20, 20, image::Rgb([50 * class, index, 90]));
            image.save(of_class.join(format!("{index}.png"))).unwrap();
        }
    }
    std::fs::write(root.join("novel/3/4.png"), "x").unwrap();
    let named = format!("dataset.novel.root={}", root.display());
    let settings = ["dataset.novel.source=folders", &named, "loader.on_broken=skip"];
    let heads = ["--heads", "prototype"];
    let out = folder.path().join("out");
    let (text, analysis) =
        results(&analyse(&[&path], &out, &[&settings[..], &heads].concat()), &out);
    let novel = analysis.checkpoints[0].split("novel").unwrap();
    assert_eq!((novel.images, novel.skipped), (99, 1));
    assert_eq!(analysis.checkpoints[0].split("base").unwrap().skipped, 0);
    assert!(text.lines().any(|line| line.starts_with("images skipped as broken ")), "{text}");
}

#[test]
fn what_cannot_be_analysed_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = checkpoint(folder.path(), "drawn", &SMALL);
    let error = |checkpoints: &[&Path], arguments: &[&str]| {
        let output = analyse(checkpoints, &folder.path().join("out"), arguments);
        assert_eq!(output.status.code(), Some(2));
        String::from_utf8(output.stderr).unwrap()
    };
    let absent = folder.path().join("absent.safetensors");
    assert!(error(&[&path, &absent], &["--heads", "prototype"]).contains("absent.safetensors"));
    // Weights that no features come of.
    let mut bytes = std::fs::read(&path).unwrap();
    let header = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    bytes[header..].fill(0x7f);
    let damaged = folder.path().join("damaged.safetensors");
    std::fs::write(&damaged, bytes).unwrap();
    let message = error(&[&damaged], &["--heads", "prototype"]);
    assert!(message.contains("damaged.safetensors: its features are not finite"), "{message}");
    let mut command = Command::new(env!("CARGO_BIN_EXE_evaluator"));
    let output = command.arg("--checkpoint").arg(&damaged).args(FEW).output().unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(message.contains("damaged.safetensors: its features are not finite"), "{message}");
    let message = error(&[&path], &["--heads", "svm"]);
    assert!(message.contains(&fewshot_episodes::heads::HeadKind::names()), "{message}");
    let output = Command::new(env!("CARGO_BIN_EXE_evaluator")).arg("analyse").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--checkpoint"));
}
