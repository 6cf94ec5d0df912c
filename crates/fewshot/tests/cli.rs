//! The commands, on drawn photos.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use candle_core::Device;
use fewshot::Album;
use fewshot_data::glyphs::{GlyphOptions, Glyphs};
use fewshot_experiment::{Checkpoint, Model, RawConfig, TrainingState};
use serde_json::Value;

/// A folder with a network, photos to learn from, and others.
struct Desk {
    folder: tempfile::TempDir,
}

/// Classes of drawn photos, by their numbers among the novel ones.
const CLASSES: [(&str, u32); 4] = [("anchor", 80), ("bell", 84), ("clef", 89), ("dagger", 93)];

impl Desk {
    fn new() -> Self {
        let desk = Self { folder: tempfile::tempdir().unwrap() };
        let mut raw = RawConfig::default();
        for setting in ["method.backbone=conv4", "method.image_size=32", "method.classifier=cosine"]
        {
            raw.set(setting).unwrap();
        }
        let config = raw.check().unwrap();
        let model = Model::new(&config, 4, &Device::Cpu).unwrap();
        let state = TrainingState::default();
        Checkpoint::write(&desk.path("net.safetensors"), &config.to_toml(), &state, &model)
            .unwrap();
        for (name, class) in CLASSES {
            desk.draw(&format!("known/{name}"), class, 0..6);
            desk.draw(&format!("fresh/{name}"), class, 100..110);
        }
        desk
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Draws photos of a class into a folder.
    fn draw(&self, folder: &str, class: u32, indices: std::ops::Range<u64>) {
        fs::create_dir_all(self.path(folder)).unwrap();
        let glyphs = Glyphs::new(&GlyphOptions { size: 40, ..GlyphOptions::default() });
        for index in indices {
            let path = self.path(&format!("{folder}/{index}.png"));
            glyphs.draw(class, index).save(path).unwrap();
        }
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fewshot"));
        command.current_dir(self.folder.path()).args(arguments).env_remove("FEWSHOT_DATA");
        command.output().unwrap()
    }

    #[track_caller]
    fn print(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    #[track_caller]
    fn refuse(&self, arguments: &[&str], parts: &[&str]) {
        let output = self.run(arguments);
        let message = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{message}");
        assert!(message.contains("error: ") && !message.contains("panicked"), "{message}");
        parts.iter().for_each(|part| assert!(message.contains(part), "no `{part}`: {message}"));
    }

    fn fit(&self) -> String {
        self.print(&["fit", "known", "--model", "net.safetensors"])
    }
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {text}"))
}

/// Without `--model`, by the network that comes along, wherever the album goes.
#[test]
fn a_network_comes_along() {
    let desk = Desk::new();
    let text = desk.print(&["fit", "known"]);
    assert!(text.contains("4 classes, 24 photos, logistic head"), "{text}");
    fs::create_dir(desk.path("elsewhere")).unwrap();
    fs::rename(desk.path("known.fewshot"), desk.path("elsewhere/k.fewshot")).unwrap();
    let checked = json(&desk.print(&["check", "elsewhere/k.fewshot", "fresh", "--json"]));
    assert_eq!(checked["photos"], 40);
    desk.fit();
    // An album that is made again keeps its network.
    desk.print(&["fit", "known"]);
    desk.refuse(
        &["predict", "known.fewshot", "fresh", "--model", "default"],
        &["another network than the conv4", "net.safetensors"],
    );
}

#[test]
fn photos_are_learned_and_others_labelled() {
    let desk = Desk::new();
    let text = desk.fit();
    for part in
        ["4 classes, 24 photos, logistic head", "% of 24 photos right", "written: known.fewshot"]
    {
        assert!(text.contains(part), "{text}");
    }
    // Better than one of four: its network was never trained.
    let checked = json(&desk.print(&["check", "known.fewshot", "fresh", "--json"]));
    assert_eq!(checked["photos"], 40);
    assert!(checked["accuracy"][0].as_f64().unwrap() > 0.4, "{checked}");

    let predicted = json(&desk.print(&[
        "predict",
        "known.fewshot",
        "fresh/bell",
        "--format",
        "json",
        "--unknown",
        "off",
        "--top",
        "4",
    ]));
    let predicted = predicted.as_array().unwrap();
    assert_eq!(predicted.len(), 10);
    let bells = predicted.iter().filter(|answer| answer["label"] == "bell").count();
    assert!(bells >= 5, "{bells}");
    for answer in predicted {
        let classes = answer["classes"].as_array().unwrap();
        let sum: f64 = classes.iter().map(|class| class["probability"].as_f64().unwrap()).sum();
        assert!(classes.len() == 4 && (sum - 1.0).abs() < 1e-6, "{answer}");
        assert_eq!(answer["unknown"], false);
        let nearest = answer["nearest"].as_str().unwrap();
        assert!(desk.path("known").join(nearest).exists(), "{nearest}");
    }
    let lines = desk.print(&[
        "predict",
        "known.fewshot",
        "fresh/bell/100.png",
        "fresh/clef",
        "--format",
        "jsonl",
    ]);
    assert_eq!(lines.lines().map(json).count(), 11);
    let csv =
        desk.print(&["predict", "known.fewshot", "fresh/bell", "--format", "csv", "--top", "1"]);
    assert!(csv.starts_with("photo,label,class1,probability1,similarity,nearest\n"), "{csv}");
    assert_eq!(csv.lines().count(), 11);
}

/// A photo that was learned is in its class for sure, and what is far from all is not.
#[test]
fn what_is_of_no_class_is_unknown() {
    let desk = Desk::new();
    desk.fit();
    let known = desk.print(&["predict", "known.fewshot", "known/bell/0.png"]);
    assert!(known.contains("\tbell\t"), "{known}");
    let all = desk.print(&["predict", "known.fewshot", "known/bell", "--unknown", "0.9999999"]);
    assert_eq!(all.matches("\tunknown\t").count(), 6, "{all}");
    let none = desk.print(&["predict", "known.fewshot", "known/bell", "--unknown", "off"]);
    assert_eq!(none.matches("\tunknown\t").count(), 0, "{none}");
    desk.refuse(&["predict", "known.fewshot", "known", "--unknown", "2"], &["from -1 to 1"]);
    desk.print(&["predict", "known.fewshot", "fresh/bell", "fresh/clef", "--copy-to", "sorted"]);
    let files = |folder: &Path| fs::read_dir(folder).unwrap().count();
    let sorted: usize =
        fs::read_dir(desk.path("sorted")).unwrap().map(|e| files(&e.unwrap().path())).sum();
    assert_eq!(sorted, 20);
    desk.print(&["predict", "known.fewshot", "fresh/bell", "fresh/clef", "--copy-to", "sorted"]);
    let again: usize =
        fs::read_dir(desk.path("sorted")).unwrap().map(|e| files(&e.unwrap().path())).sum();
    assert_eq!(again, 20, "the same photos are not copied twice");
}

#[test]
fn photos_and_classes_are_added_as_if_they_had_been_there() {
    let desk = Desk::new();
    desk.fit();
    desk.draw("more/bell", 84, 6..9);
    desk.draw("more/emblem", 97, 0..5);
    let text = desk.print(&["add", "known.fewshot", "more"]);
    assert!(text.contains("added 8 photos of 8, 1 new class"), "{text}");
    // Nothing is added twice.
    assert!(desk.print(&["add", "known.fewshot", "more"]).contains("added 0 photos of 8"));
    let added = Album::load(&desk.path("known.fewshot")).unwrap();

    for (class, folder) in [("bell", "more/bell"), ("emblem", "more/emblem")] {
        fs::create_dir_all(desk.path("known").join(class)).unwrap();
        for entry in fs::read_dir(desk.path(folder)).unwrap() {
            let entry = entry.unwrap();
            fs::copy(entry.path(), desk.path("known").join(class).join(entry.file_name())).unwrap();
        }
    }
    desk.print(&["fit", "known", "--model", "net.safetensors", "--out", "whole.fewshot"]);
    let whole = Album::load(&desk.path("whole.fewshot")).unwrap();
    assert_eq!(added.classes, whole.classes);
    assert_eq!(added.supports.len(), whole.supports.len());
    let photo = &whole.supports[20].extracted.feature;
    let (a, b) = (added.answer(photo), whole.answer(photo));
    assert_eq!(a.class(), b.class());
    assert!((a.probability() - b.probability()).abs() < 1e-4, "{a:?} {b:?}");

    // The same photo under another name of a class is a contradiction.
    fs::create_dir_all(desk.path("wrong/clef")).unwrap();
    fs::copy(desk.path("known/bell/0.png"), desk.path("wrong/clef/0.png")).unwrap();
    desk.refuse(&["add", "known.fewshot", "wrong"], &["clef/0.png", "`bell/0.png`"]);
    assert_eq!(Album::load(&desk.path("known.fewshot")).unwrap(), added);
}

#[test]
fn albums_do_not_depend_on_threads_and_are_read_back() {
    let desk = Desk::new();
    for head in ["prototype", "logistic", "finetune"] {
        let fit = |out: &str, threads: &str| {
            desk.print(&[
                "fit",
                "known",
                "--model",
                "net.safetensors",
                "--head",
                head,
                "--out",
                out,
                "--threads",
                threads,
            ]);
            fs::read(desk.path(out)).unwrap()
        };
        assert!(fit("one.fewshot", "1") == fit("three.fewshot", "3"), "{head}");
        let album = Album::load(&desk.path("one.fewshot")).unwrap();
        album.save(&desk.path("again.fewshot")).unwrap();
        assert!(
            fs::read(desk.path("again.fewshot")).unwrap()
                == fs::read(desk.path("one.fewshot")).unwrap()
        );
        assert!(
            album
                .supports
                .iter()
                .all(|support| support.extracted.thumbnail.starts_with(&[0xff, 0xd8]))
        );
    }
}

/// What a camera turned is seen as it is shown.
#[test]
fn turned_photos_are_turned_back() {
    let desk = Desk::new();
    desk.fit();
    let upright = image::open(desk.path("known/bell/0.png")).unwrap();
    let mut jpeg = Vec::new();
    let turned = upright.rotate270().to_rgb8();
    let (width, height) = (turned.width() as u16, turned.height() as u16);
    let mut encoder = jpeg_encoder::Encoder::new(&mut jpeg, 100);
    // Orientation 6: to be turned by a quarter clockwise.
    let exif = [
        &b"Exif\0\0MM\0*\0\0\0\x08\0\x01"[..],
        &[0x01, 0x12, 0, 3, 0, 0, 0, 1, 0, 6, 0, 0],
        &[0, 0, 0, 0],
    ];
    encoder.add_app_segment(1, exif.concat()).unwrap();
    encoder.encode(&turned, width, height, jpeg_encoder::ColorType::Rgb).unwrap();
    fs::write(desk.path("turned.jpg"), &jpeg).unwrap();
    let similarity = |name: &str| {
        let answers = desk.print(&["predict", "known.fewshot", name, "--format", "json"]);
        json(&answers)[0]["similarity"].as_f64().unwrap()
    };
    let (turned, original) = (similarity("turned.jpg"), similarity("known/bell/0.png"));
    assert!((turned - original).abs() < 0.02, "{turned} {original}");
}

#[test]
fn broken_photos_are_told_and_the_rest_goes_on() {
    let desk = Desk::new();
    fs::write(desk.path("known/bell/broken.jpg"), "no image").unwrap();
    let output = desk.run(&["fit", "known", "--model", "net.safetensors"]);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert!(stderr(&output).contains("warning: bell/broken.jpg: "), "{}", stderr(&output));
    let output = desk.run(&["predict", "known.fewshot", "known/bell"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(String::from_utf8_lossy(&output.stdout).lines().count(), 6);
    desk.refuse(
        &["predict", "known.fewshot", "known/bell/broken.jpg"],
        &["no photo can be read", "broken.jpg"],
    );
    desk.refuse(&["predict", "known.fewshot", "nowhere.jpg"], &["nowhere.jpg", "no such file"]);

    fs::create_dir_all(desk.path("one/bell")).unwrap();
    fs::copy(desk.path("known/bell/0.png"), desk.path("one/bell/0.png")).unwrap();
    desk.refuse(&["fit", "one", "--model", "net.safetensors"], &["1 class folder", "at least 2"]);
    fs::create_dir_all(desk.path("one/clef")).unwrap();
    fs::write(desk.path("one/clef/0.png"), "no image").unwrap();
    desk.refuse(&["fit", "one", "--model", "net.safetensors"], &["clef: no photo of this class"]);
    // A class of one photo is learned; nothing is left out of it.
    fs::copy(desk.path("known/clef/1.png"), desk.path("one/clef/0.png")).unwrap();
    let text = desk.print(&["fit", "one", "--model", "net.safetensors"]);
    assert!(text.contains("on photos that were left out: none"), "{text}");
}

#[test]
fn files_that_are_no_albums_are_refused() {
    let desk = Desk::new();
    desk.fit();
    let album = fs::read(desk.path("known.fewshot")).unwrap();
    let here = desk.folder.path().to_str().unwrap();
    assert!(!String::from_utf8_lossy(&album).contains(here), "a path of this machine");
    let refused = |bytes: &[u8], part: &str| {
        fs::write(desk.path("bad.fewshot"), bytes).unwrap();
        desk.refuse(&["predict", "bad.fewshot", "fresh"], &["bad.fewshot", part]);
    };
    for length in [0, 1, 8, 100, album.len() / 2, album.len() - 1] {
        refused(&album[..length], "no album");
    }
    desk.refuse(&["predict", "net.safetensors", "fresh"], &["no album"]);
    let changed = |from: &str, to: &str| {
        let header = 8 + u64::from_le_bytes(*album.first_chunk().unwrap()) as usize;
        let text = std::str::from_utf8(&album[8..header]).unwrap();
        assert!(text.contains(from), "no {from} in {text}");
        let text = text.replacen(from, to, 1);
        [&(text.len() as u64).to_le_bytes()[..], text.as_bytes(), &album[header..]].concat()
    };
    refused(&changed(r#"\"label\":0"#, r#"\"label\":9"#), "classes do not fit");
    refused(&changed(r#"\"dim\":256"#, r#"\"dim\":255"#), "expected");
    refused(&changed(r#"\"thumbnail\":"#, r#"\"thumbnail\":9"#), "thumbnails do not fit");
    refused(&changed(r#"\"version\":1"#, r#"\"version\":2"#), "version 2");
    // Another network.
    let config = RawConfig::default();
    let mut raw = config;
    for setting in ["method.backbone=conv4", "method.image_size=32", "seed=3"] {
        raw.set(setting).unwrap();
    }
    let config = raw.check().unwrap();
    let model = Model::new(&config, 4, &Device::Cpu).unwrap();
    let state = TrainingState::default();
    Checkpoint::write(&desk.path("net.safetensors"), &config.to_toml(), &state, &model).unwrap();
    desk.refuse(&["predict", "known.fewshot", "fresh"], &["another network", "--model"]);
    fs::remove_file(desk.path("net.safetensors")).unwrap();
    desk.refuse(&["predict", "known.fewshot", "fresh"], &["name it by --model"]);
}

#[test]
fn a_report_is_one_file_that_loads_nothing() {
    let desk = Desk::new();
    desk.fit();
    desk.print(&["report", "known.fewshot"]);
    desk.draw("fresh/emblem", 97, 0..5);
    desk.print(&["report", "known.fewshot", "--test", "fresh", "--out", "tested.html"]);
    let own = fs::read_to_string(desk.path("report.html")).unwrap();
    let tested = fs::read_to_string(desk.path("tested.html")).unwrap();
    for html in [&own, &tested] {
        for part in [
            "4 classes",
            "taken for which",
            "Reliability",
            "t-SNE",
            "bell/0.png",
            "data:image/jpeg;base64,",
        ] {
            assert!(html.contains(part), "no {part}");
        }
        for part in ["<script", "src=\"http", "href="] {
            assert!(!html.contains(part), "{part}");
        }
    }
    assert!(own.contains("On its own photos") && !own.contains("had not seen"));
    assert!(
        tested.contains("had not seen: ")
            && tested.contains("Of 5 photos of classes that it does not have")
    );
}

#[test]
fn features_are_written() {
    let desk = Desk::new();
    let embed = |out: &str| {
        desk.print(&["embed", "fresh/bell", "--model", "net.safetensors", "--out", out])
    };
    embed("f.csv");
    let csv = fs::read_to_string(desk.path("f.csv")).unwrap();
    assert!(csv.starts_with("photo,feature0,feature1,"), "{}", &csv[..60]);
    assert_eq!(csv.lines().count(), 11);
    embed("f.safetensors");
    let bytes = fs::read(desk.path("f.safetensors")).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(tensors.tensor("features").unwrap().shape(), [10, 256]);
    desk.refuse(
        &["embed", "fresh", "--model", "net.safetensors", "--out", "f.txt"],
        &["f.txt", ".csv"],
    );
}
