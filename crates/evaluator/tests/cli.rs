//! Options of the binary, and its error messages.

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::{FEW, checkpoint, evaluate, json, print};
use fewshot_experiment::Checkpoint;
use serde_json::Value;

#[test]
fn a_checkpoint_is_all_that_is_needed() {
    let folder = tempfile::tempdir().unwrap();
    let path = checkpoint(folder.path(), "drawn", &[]);
    let first = json(&path, &FEW);
    assert_eq!((&first["split"], &first["epoch"]), (&"novel".into(), &7.into()));
    assert_eq!((&first["way"], &first["query"]), (&5.into(), &16.into()));
    for shot in ["1", "5"] {
        let result = &first["results"][shot];
        assert_eq!((&result["episodes"], &result["head"]), (&30.into(), &"finetune".into()));
        let (mean, ci95) = (result["mean"].as_f64().unwrap(), result["ci95"].as_f64().unwrap());
        // Even a network that was never trained is better than the guess of one in five.
        assert!(mean > 20.0 && mean < 100.0 && ci95 > 0.0, "{result}");
    }
    assert_eq!(first, json(&path, &[&FEW[..], &["--seed", "0"]].concat()), "one seed, one result");
    assert_ne!(first["results"], json(&path, &[&FEW[..], &["--seed", "1"]].concat())["results"]);
}

#[test]
fn options_and_settings_reach_the_evaluation() {
    let folder = tempfile::tempdir().unwrap();
    let path = checkpoint(folder.path(), "drawn", &[]);
    let options = ["--split", "val", "--way", "3", "--shots", "2,4", "--query", "5"];
    let more = ["--episodes", "11", "--head", "prototype"];
    let result = json(&path, &[&options[..], &more[..]].concat());
    assert_eq!((&result["way"], &result["query"]), (&3.into(), &5.into()));
    assert_eq!(result["results"].as_object().unwrap().keys().collect::<Vec<_>>(), ["2", "4"]);
    assert_eq!(result["results"]["4"]["episodes"], 11);
    assert_eq!(result["results"]["2"]["head"], "prototype");
    let markdown = print(&path, &[&more[..], &["--shots", "1", "--format", "markdown"]].concat());
    assert!(markdown.contains("| 1-shot |") && markdown.contains(" ± "), "{markdown}");
    let text = print(&path, &[&more[..], &["--shots", "1", "test.query=3"]].concat());
    assert!(text.contains("3 queries") && text.contains("11 episodes"), "{text}");
    let run = &json(&path, &[&more[..], &["--shots", "1", "test.query=3"]].concat())["run"];
    for key in ["commit", "config_sha256"] {
        assert!(text.contains(&run[key].as_str().unwrap()[..12]), "no {key} {run}: {text}");
    }
    assert!(text.contains(run["device"].as_str().unwrap()), "{text}");
}

/// A checkpoint's configuration says of validation and novel classes, too, where they come from.
#[test]
fn images_that_are_given_once_are_those_of_every_split() {
    let folder = tempfile::tempdir().unwrap();
    let path = checkpoint(folder.path(), "drawn", &[]);
    let few = ["dataset.images_per_class=30"];
    let ours = json(&path, &[&FEW[..], &few].concat());
    assert_ne!(ours["results"], json(&path, &FEW)["results"], "drawn from 30 images, not 21");
    let absent = ["dataset.source=json", "dataset.root=no-such-folder"];
    let output = evaluate(&path, &[&FEW[..], &absent].concat());
    let message = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{message}");
    assert!(message.contains("`dataset.root` is \"no-such-folder\""), "{message}");
}

#[test]
fn doubtful_results_say_so() {
    let folder = tempfile::tempdir().unwrap();
    let path = checkpoint(folder.path(), "drawn", &[]);
    let quick = [&FEW[..], &["--shots", "1"]].concat();
    let unseen = json(&path, &quick);
    assert_eq!((&unseen["skipped"], &unseen["warnings"]), (&0.into(), &Value::Null));
    // Classes that the checkpoint was trained on.
    let all = [&quick[..], &["dataset.novel.split=all"]].concat();
    let seen = json(&path, &all);
    assert_eq!(seen["split"], "all");
    let warning = seen["warnings"][0].as_str().unwrap();
    assert!(warning.starts_with("64 (glyph_000, ") && warning.contains("of the 100"), "{warning}");
    assert!(print(&path, &all).contains(&format!("warning: {warning}\n")));
    let markdown = print(&path, &[&all[..], &["--format", "markdown"]].concat());
    assert!(markdown.contains(&format!("**Warning**: {warning}.")), "{markdown}");
    let base = json(&path, &[&quick[..], &["--split", "base"]].concat());
    assert_eq!(base["warnings"], Value::Null, "base classes are not called unseen");

    // Images that were skipped.
    let root = folder.path().join("birds");
    for class in 0..5 {
        let of_class = root.join(format!("novel/{class}"));
        fs::create_dir_all(&of_class).unwrap();
        for index in 0..20 {
            let image = image::RgbImage::from_pixel(20, 20, image::Rgb([50 * class, index, 90]));
            image.save(of_class.join(format!("{index}.png"))).unwrap();
        }
    }
    fs::write(root.join("novel/3/4.png"), "x").unwrap();
    fs::write(root.join("novel/4/0.png"), "").unwrap();
    let named = format!("dataset.novel.root={}", root.display());
    let folders = ["dataset.novel.source=folders", &named, "loader.on_broken=skip"];
    let skip = [&quick[..], &folders].concat();
    let skipped = json(&path, &skip);
    assert_eq!(skipped["skipped"], 2);
    let warning = "2 of the 100 images of birds novel were skipped as broken (2.0 %)";
    assert_eq!(skipped["warnings"], serde_json::json!([warning]));
    let text = print(&path, &skip);
    assert!(text.contains("16 queries, finetune head, 2 broken images skipped\n"), "{text}");
    // Of nothing there is no result.
    for class in 0..5 {
        for index in 0..20 {
            fs::write(root.join(format!("novel/{class}/{index}.png")), "x").unwrap();
        }
    }
    let output = evaluate(&path, &skip);
    let message = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{message}");
    assert!(message.contains("all 100 images"), "{message}");
}

/// Returns the path of a checkpoint as the published code saves it, without a configuration.
fn published(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/parity/checkpoints").join(name)
}

#[test]
fn checkpoints_of_pytorch_are_evaluated() {
    let glyphs = ["dataset.source=glyphs", "dataset.images_per_class=21"];
    let quick = [&glyphs[..], &["--episodes", "5", "--shots", "1"]].concat();
    let legacy = json(&published("conv4_legacy.tar"), &quick);
    assert_eq!((&legacy["backbone"], &legacy["epoch"]), (&"conv4".into(), &7.into()));
    assert_eq!((&legacy["classifier"], &legacy["margin"]), (&"neg-cosine".into(), &Value::Null));
    assert!(legacy["results"]["1"]["mean"].as_f64() > Some(0.0), "{legacy}");
    let named = ["--backbone", "conv4", "--classifier", "cosine", "--image-size", "84"];
    let zip = json(&published("conv4_zip.tar"), &[&quick[..], &named[..]].concat());
    assert_eq!((&zip["results"], &zip["classifier"]), (&legacy["results"], &"cosine".into()));

    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("experiment.toml");
    fs::write(&config, "[dataset]\nimages_per_class = 21\n[method]\nmargin = -0.02").unwrap();
    let options = ["--config", config.to_str().unwrap(), "--episodes", "5", "--shots", "1"];
    let configured = json(&published("conv4_zip.tar"), &options);
    assert_eq!(
        (&configured["results"], &configured["margin"]),
        (&legacy["results"], &(-0.02).into())
    );
}

#[test]
fn a_backbone_alone_and_a_runs_folder_are_evaluated() {
    let quick = ["dataset.source=glyphs", "dataset.images_per_class=21", "--episodes", "5"];
    let whole = json(&published("conv4_legacy.tar"), &quick);
    let folder = tempfile::tempdir().unwrap();
    let tensors = Checkpoint::read(&published("conv4_legacy.tar")).unwrap().tensors;
    let tensors = tensors.into_iter().filter(|(name, _)| name.starts_with("feature."));
    let path = folder.path().join("best.safetensors");
    candle_core::safetensors::save(&tensors.collect(), &path).unwrap();
    let alone = json(&path, &quick);
    assert_eq!(alone["results"], whole["results"]);
    assert_eq!(json(folder.path(), &quick), alone, "the folder stands for its best checkpoint");
}

#[test]
fn what_is_wrong_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = checkpoint(folder.path(), "drawn", &[]);
    let refuse = |path: &Path, arguments: &[&str], parts: &[&str]| {
        let output = evaluate(path, arguments);
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{message}");
        assert!(!message.contains("panicked") && output.stdout.is_empty(), "{message}");
        parts.iter().for_each(|part| assert!(message.contains(part), "no `{part}`: {message}"));
    };
    refuse(&path, &["method.backbone=resnet18"], &["drawn.safetensors", "resnet18"]);
    refuse(&path, &["--way", "21"], &["21", "20"]);
    refuse(&path, &["--shots", "20"], &["36", "21"]);
    refuse(&path, &["--head", "svm"], &["svm", "prototype"]);
    refuse(&path, &["--split", "test"], &["test"]);
    refuse(&path, &["dataset.novel.source=cub"], &["dataset.novel.root"]);
    refuse(&folder.path().join("no.safetensors"), &[], &["no.safetensors"]);

    // A number that would take all memory, in a file of some thousand bytes.
    let many = folder.path().join("many.safetensors");
    let bytes = fs::read(&path).unwrap();
    let (from, to) = ("images_per_class = 21", "images_per_class = 10000000");
    let header = 8 + u64::from_le_bytes(*bytes.first_chunk().unwrap()) as usize;
    let text = std::str::from_utf8(&bytes[8..header]).unwrap();
    assert!(text.contains(from), "{text}");
    let text = text.replace(from, to);
    let length = (text.len() as u64).to_le_bytes();
    let data = &bytes[header..];
    fs::write(&many, [&length[..], text.as_bytes(), data].concat()).unwrap();
    refuse(&many, &[], &["many.safetensors", "`dataset.images_per_class`", "10000000"]);

    let legacy = published("conv4_legacy.tar");
    refuse(&legacy, &[], &["conv4_legacy.tar", "no configuration", "dataset.source"]);
    let glyphs = "dataset.source=glyphs";
    refuse(&legacy, &["--backbone", "resnet18", glyphs], &["conv4_legacy.tar", "resnet18"]);
    refuse(&legacy, &["--classifier", "softmax", glyphs], &["softmax", "classifier.bias"]);
    let bytes = fs::read(&legacy).unwrap();
    let truncated = folder.path().join("truncated.tar");
    for length in [1, 100, bytes.len() / 2, bytes.len() - 1] {
        fs::write(&truncated, &bytes[..length]).unwrap();
        refuse(&truncated, &[glyphs], &["truncated.tar"]);
    }

    let bytes = fs::read(&path).unwrap();
    let damaged = folder.path().join("damaged.safetensors");
    for length in [0, 4, 8, 100, bytes.len() / 2, bytes.len() - 1] {
        fs::write(&damaged, &bytes[..length]).unwrap();
        refuse(&damaged, &[], &["damaged.safetensors"]);
    }
    fs::write(&damaged, [&u64::MAX.to_le_bytes()[..], &bytes].concat()).unwrap();
    refuse(&damaged, &[], &["damaged.safetensors"]);
}
