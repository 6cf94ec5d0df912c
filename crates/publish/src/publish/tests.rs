//! A small run, published and evaluated again.

use std::fs;

use evaluator::{ShotResult, SplitResults, evaluate_split};
use fewshot_experiment::{Config, Model, Provenance, TrainingState, device, open_split};
use trainer::{FinalReport, ModelReport};

use super::*;

const EPOCHS: usize = 7;

fn config() -> Config {
    let mut raw = RawConfig::default();
    for setting in [
        "dataset.source=glyphs",
        "dataset.images_per_class=21",
        "method.backbone=conv4",
        "method.image_size=16",
        "method.margin=-0.02",
        "test.episodes=20",
    ] {
        raw.set(setting).unwrap();
    }
    raw.check().unwrap()
}

fn evaluate(config: &Config, model: &Model) -> SplitResults {
    let device = device(config).unwrap();
    let novel = open_split(&config.dataset.novel).unwrap();
    evaluate_split(config, model, &novel, &device).unwrap()
}

/// A run folder of a model that was drawn, not trained, and what it reaches.
fn run(folder: &Path) -> (PathBuf, SplitResults) {
    let config = config();
    let model = Model::new(&config, 64, &device(&config).unwrap()).unwrap();
    let run = folder.join("run");
    fs::create_dir(&run).unwrap();
    let state = TrainingState { epochs: EPOCHS, ..TrainingState::default() };
    let best = run.join("best.safetensors");
    Checkpoint::write(&best, &config.to_toml(), &state, &model).unwrap();
    let novel = evaluate(&config, &model);
    let report = ModelReport {
        epoch: EPOCHS,
        base_accuracy: 12.345,
        base_val_accuracy: None,
        val: novel.clone(),
        novel: novel.clone(),
        skipped: Default::default(),
    };
    let last = ModelReport { epoch: 9, ..report.clone() };
    let provenance = Provenance::of(&config);
    let report = FinalReport {
        run: provenance,
        test_seed: 0,
        last,
        average: None,
        best: report,
        warnings: vec!["20 (a, b, c, …) of the 20 classes are in glyphs base as well".to_owned()],
        pixels: None,
    };
    fs::write(run.join("results.json"), serde_json::to_string(&report).unwrap()).unwrap();
    (run, novel)
}

fn arguments(source: &Path, out: &Path) -> Publish {
    Publish {
        source: source.to_owned(),
        out: out.to_owned(),
        repo: Some("me/drawn".into()),
        license: Some("mit".into()),
        last: false,
        half: false,
        config: None,
    }
}

fn published(folder: &Path) -> (Checkpoint, SplitResults) {
    let path = folder.join("model.safetensors");
    let checkpoint = Checkpoint::read(&path).unwrap();
    let config = checkpoint.config.check().unwrap();
    let model = checkpoint.model(&path, &config, &device(&config).unwrap()).unwrap();
    let results = evaluate(&config, &model);
    (checkpoint, results)
}

#[test]
fn what_is_published_gives_the_same_results() {
    let folder = tempfile::tempdir().unwrap();
    let (run, novel) = run(folder.path());
    let out = folder.path().join("a/hub");
    let said = publish(&arguments(&run, &out)).unwrap();
    assert!(said.contains("epoch 7") && said.contains("figures of results.json"), "{said}");
    assert!(!said.contains("note:"), "{said}");
    let (checkpoint, results) = published(&out);
    assert_eq!((checkpoint.state.epochs, &results), (EPOCHS, &novel));
    let text = |name: &str| fs::read_to_string(out.join(name)).unwrap();
    assert_eq!(text("results.json"), fs::read_to_string(run.join("results.json")).unwrap());
    let raw = RawConfig::from_toml(&text("config.toml")).unwrap();
    assert_eq!(raw.check().unwrap().sha256(), config().sha256());
    assert!(text(".gitattributes").starts_with("*.safetensors filter=lfs"));
    let mut names: Vec<_> =
        fs::read_dir(&out).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    let all = [".gitattributes", "README.md", "config.toml", "model.safetensors", "results.json"];
    assert_eq!(names, all);

    let card = text("README.md");
    let (one, five) = (&novel[&1], &novel[&5]);
    for part in [
        "---\nlicense: mit\nlibrary_name: candle\n".to_owned(),
        "model-index:\n- name: \"drawn\"\n".to_owned(),
        format!(
            "    split: novel\n    metrics:\n    - type: accuracy\n      name: Mean accuracy over 20 episodes, ± {:.2} (95 %)\n      value: {:.2}",
            one.ci95, one.mean
        ),
        format!("| novel, glyphs | {one} | {five} |"),
        "12.35 % of base images".replace("12.35", &format!("{:.2}", 12.345)),
        format!("configuration's SHA-256 {}", config().sha256()),
        format!("commit {}", Provenance::of(&config()).commit),
        "--checkpoint hf://me/drawn/model.safetensors".to_owned(),
        "--split novel --way 5 --shots 1,5 --query 16 --episodes 20 --head finetune".to_owned(),
        "**Warning**: 20 (a, b, c, …) of the 20 classes are in glyphs base as well.".to_owned(),
        "- glyphs; 21 images of each class: drawn by the program itself".to_owned(),
    ] {
        assert!(card.contains(&part), "no `{part}`:\n{card}");
    }
    assert!(!card.contains("float16") && card.matches("\n---\n").count() == 1, "{card}");

    let again = publish(&arguments(&run, &out)).unwrap_err().to_string();
    assert!(again.contains("it is there already: name a new folder"), "{again}");
}

#[test]
fn halves_are_read_like_wholes() {
    let folder = tempfile::tempdir().unwrap();
    let (run, novel) = run(folder.path());
    let (whole, half) = (folder.path().join("whole"), folder.path().join("half"));
    publish(&arguments(&run, &whole)).unwrap();
    publish(&Publish { half: true, ..arguments(&run, &half) }).unwrap();
    let size = |folder: &Path| folder.join("model.safetensors").metadata().unwrap().len() as f64;
    assert!(size(&half) < 0.55 * size(&whole), "{} of {}", size(&half), size(&whole));
    let (checkpoint, results) = published(&half);
    assert_eq!(checkpoint.state.epochs, EPOCHS);
    for (shot, result) in &results {
        let exact = &novel[shot];
        assert!((result.mean - exact.mean).abs() < exact.ci95, "{result} instead of {exact}");
    }
    let card = fs::read_to_string(half.join("README.md")).unwrap();
    assert!(card.contains("measured before the parameters were rounded to float16"), "{card}");

    // A number that float16 cannot hold is not made infinite.
    let config = config();
    let model = Model::new(&config, 64, &device(&config).unwrap()).unwrap();
    let weight = &model.parameters.all()["classifier.weight"];
    weight.set(&weight.affine(1e9, 0.0).unwrap()).unwrap();
    let best = run.join("best.safetensors");
    let state = TrainingState { epochs: EPOCHS, ..TrainingState::default() };
    Checkpoint::write(&best, &config.to_toml(), &state, &model).unwrap();
    let too_large = Publish { half: true, ..arguments(&run, &folder.path().join("large")) };
    let error = publish(&too_large).unwrap_err().to_string();
    assert!(error.contains("`classifier.weight` has") && error.contains("leave out --half"));
    assert!(!folder.path().join("large").exists());
}

#[test]
fn validation_classes_are_not_called_novel() {
    let mut raw = RawConfig::from_toml(&config().to_toml()).unwrap();
    raw.set("dataset.novel.split=val").unwrap();
    let config = raw.check().unwrap();
    let shot = ShotResult {
        head: "finetune".into(),
        mean: 50.0,
        ci95: 1.0,
        episodes: 20,
        per_episode: Vec::new(),
    };
    let results = SplitResults::from([(1, shot)]);
    let report = ModelReport {
        epoch: EPOCHS,
        base_accuracy: 1.0,
        base_val_accuracy: None,
        val: results.clone(),
        novel: results,
        skipped: Default::default(),
    };
    let run = Provenance::of(&config);
    let (json, warnings) = (String::new(), Vec::new());
    let measured = Measured { run, test_seed: 0, warnings, report, json };
    let card = Card {
        config: &config,
        epoch: EPOCHS,
        measured: Some(&measured),
        repo: None,
        license: None,
        half: false,
        parameters: 1,
    };
    let card = card.to_markdown();
    assert!(card.contains("| val, glyphs | 50.00 ± 1.00 |") && !card.contains("| novel"), "{card}");
    assert!(card.contains("--split val") && !card.contains("split: novel"), "{card}");
}

#[test]
fn nothing_is_invented() {
    let folder = tempfile::tempdir().unwrap();
    let (run, _) = run(folder.path());
    let out = folder.path().join("out");
    let results = run.join("results.json");
    let json = fs::read_to_string(&results).unwrap();
    let refuse = |arguments: &Publish, parts: &[&str]| {
        let error = publish(arguments).unwrap_err().to_string();
        parts.iter().for_each(|part| assert!(error.contains(part), "no `{part}`: {error}"));
        assert!(!out.exists());
        let left = fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(left, 1, "something was left");
    };
    fs::write(&results, json.replace("\"epoch\":7", "\"epoch\":8")).unwrap();
    refuse(&arguments(&run, &out), &["results.json", "of epoch 8, the checkpoint of 7"]);
    fs::write(&results, json.replace(&config().sha256(), "0123")).unwrap();
    refuse(&arguments(&run, &out), &["of configuration 0123, the checkpoint of"]);
    fs::write(&results, &json[..json.len() / 2]).unwrap();
    refuse(&arguments(&run, &out), &["not the results of a run", "move it away"]);
    let mut wrong = arguments(&run, &out);
    wrong.repo = Some("me/a/b".into());
    refuse(&wrong, &["--repo me/a/b: expected OWNER/NAME"]);
    wrong = arguments(&run, &out);
    wrong.license = Some("mit\ntags: x".into());
    refuse(&wrong, &["expected an identifier"]);
    refuse(&arguments(&run.join("no.safetensors"), &out), &["no.safetensors"]);
    let legacy = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../fixtures/parity/checkpoints/conv4_legacy.tar");
    refuse(&arguments(&legacy, &out), &["carries no configuration", "--config"]);

    fs::remove_file(&results).unwrap();
    let said = publish(&Publish { repo: None, license: None, ..arguments(&run, &out) }).unwrap();
    assert!(said.contains("no figures"), "{said}");
    let card = fs::read_to_string(out.join("README.md")).unwrap();
    for part in ["license: unknown", "Not measured.", "hf://OWNER/REPOSITORY/", "No licence"] {
        assert!(card.contains(part), "no `{part}`: {card}");
    }
    assert!(!card.contains("model-index") && !out.join("results.json").exists());
}
