//! A run that goes on is the run that it was: its settings, its images, its files.

mod common;

use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::atomic::AtomicBool;

use common::{SMALL, stderr, succeed, trainer};
use fewshot_data::glyphs::Glyphs;
use fewshot_experiment::{Checkpoint, Config, Error, RawConfig};
use serde_json::Value;
use trainer::{Outcome, ProcessGroup, Session};

/// The binary without settings.
fn bare(run: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_trainer"));
    command.arg("--run-dir").arg(run);
    command
}

#[track_caller]
fn refused(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    stderr(&output)
}

fn printed(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The lines of a run's log.
fn metrics(run: &Path) -> Vec<Value> {
    let text = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn config(settings: &[&str]) -> Config {
    let mut raw = RawConfig::default();
    SMALL.iter().chain(settings).for_each(|setting| raw.set(setting).unwrap());
    raw.check().unwrap()
}

/// Opens a session, from `last` of the folder if it is there, and trains for one step.
fn one_step(config: &Config, run: &Path) -> Result<Outcome, Error> {
    let (config, group, last) =
        (config.clone(), ProcessGroup::default(), run.join("last.safetensors"));
    let mut session = match last.exists() {
        true => Session::resume(config, run, &last, group)?,
        false => Session::start(config, run, group)?,
    };
    session.train(&AtomicBool::new(true))
}

#[test]
fn a_run_keeps_its_own_settings() {
    let folder = tempfile::tempdir().unwrap();
    let [whole, first, second] = ["whole", "first", "second"].map(|name| folder.path().join(name));
    let own = ["method.margin=0.3", "method.scale=10", "seed=5", "train.schedule=constant"];
    succeed(trainer(&whole).args(own));
    succeed(trainer(&first).args(own).arg("train.epochs=2"));

    // Neither the margin nor any other setting is given again: not in another folder, and not in its own.
    let last = first.join("last.safetensors");
    let output = succeed(bare(&second).arg("--resume").arg(&last).arg("train.epochs=3"));
    assert!(printed(&output).contains("train.epochs: 2 before, 3 now"), "{}", printed(&output));
    succeed(bare(&first).args(["--resume", "last", "train.epochs=3"]));
    let state = |run: &Path| fs::read(run.join("last.safetensors")).unwrap();
    assert_eq!(state(&whole), state(&first));
    let tensors = |run: &Path| {
        let path = run.join("last.safetensors");
        let tensors = Checkpoint::read(&path).unwrap().tensors.into_iter();
        let values = |t: candle_core::Tensor| {
            let t = t.flatten_all().unwrap().to_dtype(candle_core::DType::F32).unwrap();
            t.to_vec1::<f32>().unwrap()
        };
        tensors.map(|(name, tensor)| (name, values(tensor))).collect::<Vec<_>>()
    };
    assert_eq!(tensors(&whole), tensors(&second));
    let config = fs::read_to_string(first.join("config.toml")).unwrap();
    assert_eq!(config, fs::read_to_string(whole.join("config.toml")).unwrap());

    // What differs is named and refused, and nothing is touched.
    let before = (state(&first), fs::read(first.join("metrics.jsonl")).unwrap());
    let message = refused(bare(&first).args(["--resume", "last", "method.margin=-0.02", "seed=0"]));
    assert!(message.contains("method.margin: 0.3 before, -0.02 now"), "{message}");
    assert!(message.contains("seed: 5 before, 0 now") && message.contains("--change"), "{message}");
    let message = refused(bare(&first).args(["--resume", "last", "train.epochs=1"]));
    assert!(
        message.contains("`train.epochs` is 1") && message.contains("at least the 3"),
        "{message}"
    );
    assert_eq!(before, (state(&first), fs::read(first.join("metrics.jsonl")).unwrap()));
    assert_eq!(config, fs::read_to_string(first.join("config.toml")).unwrap());

    let change = ["--resume", "last", "--change", "method.margin=0.2", "train.epochs=4"];
    succeed(bare(&first).args(change));
    let hashes: Vec<_> =
        metrics(&first).iter().map(|line| line["run"]["config_sha256"].clone()).collect();
    assert_eq!(hashes.len(), 4);
    assert_eq!(metrics(&first)[3]["run"]["seed"], 5);
    assert!(hashes[2] != hashes[3]);
}

/// A checkpoint's own run goes on where no other folder is named, and however its path is written.
#[test]
fn a_checkpoint_names_its_run() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    succeed(trainer(&run).arg("train.epochs=1"));
    let there = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_trainer"));
        succeed(command.current_dir(folder.path()).args(arguments))
    };
    there(&["--resume", "run/last.safetensors", "train.epochs=2"]);
    there(&["--resume", "./run/../run/last.safetensors", "--run-dir", "run/", "train.epochs=3"]);
    assert_eq!(metrics(&run).len(), 3);
    let names = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
    assert_eq!(names.collect::<Vec<_>>(), ["run"]);
}

#[test]
fn within_an_epoch_only_the_same_images_in_the_same_batches_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    let own = config(&["train.epochs=1"]);
    for _ in 0..3 {
        assert_eq!(one_step(&own, &run).unwrap(), Outcome::Interrupted);
    }
    let last = run.join("last.safetensors");
    let bytes = fs::read(&last).unwrap();
    let state = Checkpoint::read(&last).unwrap().state;
    assert_eq!((state.steps, state.seen, state.images), (3, 48, 768));
    for (setting, what) in [
        ("train.batch_size=64", "`train.batch_size` was 16 and is 64"),
        ("seed=1", "`seed` was 0 and is 1"),
        ("dataset.images_per_class=11", "768 training images and are 704"),
    ] {
        let message =
            one_step(&config(&["train.epochs=1", setting]), &run).unwrap_err().to_string();
        assert!(message.contains(what) && message.contains("last.safetensors"), "{message}");
        assert_eq!(fs::read(&last).unwrap(), bytes);
    }
    assert_eq!(one_step(&own, &run).unwrap(), Outcome::Interrupted);
    assert_eq!(Checkpoint::read(&last).unwrap().state.seen, 64);
}

/// Stopped after the last step of an epoch, no image is left: the epoch ends without a rate.
#[test]
fn an_epoch_that_was_over_but_for_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    let settings = ["train.batch_size=768", "train.epochs=2"];
    assert_eq!(one_step(&config(&settings), &run).unwrap(), Outcome::Interrupted);
    let output = printed(&succeed(trainer(&run).args(settings).args(["--resume", "last"])));
    let line = output.lines().find(|line| line.starts_with("epoch 1/2")).unwrap();
    assert!(!line.contains("left") && line.contains("loss"), "{line}");
    assert_eq!(metrics(&run).len(), 2);
}

/// Class folders of drawn characters, of which `is_broken` picks those that are cut off.
fn class_folders(root: &Path, is_broken: impl Fn(usize) -> bool) -> usize {
    let glyphs = Glyphs::new(&Default::default());
    let mut broken = 0;
    for (s, split) in ["base", "val", "novel"].into_iter().enumerate() {
        for class in 0..4 {
            let folder = root.join(split).join(format!("class{class}"));
            fs::create_dir_all(&folder).unwrap();
            for index in 0..8 {
                let path = folder.join(format!("{index}.png"));
                glyphs.draw(4 * s as u32 + class, index).save(&path).unwrap();
                if s == 0 && is_broken(class as usize * 8 + index as usize) {
                    let bytes = fs::read(&path).unwrap();
                    fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
                    broken += 1;
                }
            }
        }
    }
    broken
}

/// Stopped after every step, with batches of which every image is broken at all places.
#[test]
fn wholly_broken_batches_leave_no_trace_of_an_interruption() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("images");
    let broken = class_folders(&root, |index| index % 3 > 0);
    assert_eq!(broken, 21);
    for seed in 0..6 {
        let [whole, stopped] =
            ["whole", "stopped"].map(|name| folder.path().join(format!("{name}{seed}")));
        let root = format!("dataset.root={}", root.display());
        let seed = format!("seed={seed}");
        let config = config(&[
            "dataset.source=folders",
            &root,
            &seed,
            "loader.on_broken=skip",
            "train.batch_size=2",
            "train.epochs=2",
            "test.way=2",
            "test.query=3",
            "val.freq=1",
            "dataset.images_per_class=0",
        ]);
        let mut session = Session::start(config.clone(), &whole, ProcessGroup::default()).unwrap();
        assert_eq!(session.train(&AtomicBool::new(false)).unwrap(), Outcome::Finished);
        let mut stops = 0;
        while one_step(&config, &stopped).unwrap() == Outcome::Interrupted {
            stops += 1;
            assert!(stops < 100);
        }
        // 11 whole images in batches of one or two, twice.
        assert!((12..=22).contains(&stops), "{stops}");
        for line in metrics(&whole) {
            assert_eq!(line["skipped"], broken);
        }
        assert_eq!(metrics(&whole), metrics(&stopped));
        for file in ["metrics.jsonl", "last.safetensors", "best.safetensors"] {
            let [whole, stopped] = [&whole, &stopped].map(|run| fs::read(run.join(file)).unwrap());
            assert!(whole == stopped, "{file} of {seed}");
        }
    }
}

/// One step an epoch, and no validation that would show what the last step did.
#[test]
fn a_checkpoint_that_is_good_is_not_replaced_by_one_that_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    let own = ["train.batch_size=768", "val.freq=0", "train.schedule=constant"];
    succeed(trainer(&run).args(own).arg("train.epochs=1"));
    let files = || {
        ["last.safetensors", "best.safetensors", "metrics.jsonl"]
            .map(|f| fs::read(run.join(f)).unwrap())
    };
    let good = files();
    for rate in ["1e30", "1e38"] {
        let rate = format!("train.learning_rate={rate}");
        let message =
            refused(bare(&run).args(["--resume", "last", "--change", "train.epochs=4", &rate]));
        assert!(message.contains("`train.learning_rate` is 1"), "{message}");
        assert!(good == files(), "{rate}");
    }
    succeed(bare(&run).args(["--resume", "last", "train.epochs=2"]));
    assert_eq!(metrics(&run).len(), 2);
}

/// The best checkpoint so far is measured as those to come are.
#[test]
fn validation_under_other_settings_is_compared_with_itself() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    // Five-way accuracy falls short of two-way accuracy, which would stay the best for ever.
    succeed(trainer(&run).args(["train.epochs=1", "test.way=2", "val.episodes=20"]));
    let best =
        |run: &Path| Checkpoint::read(&run.join("last.safetensors")).unwrap().state.best_accuracy;
    let before = best(&run).unwrap();
    let output = succeed(bare(&run).args(["--resume", "last", "test.way=10", "train.epochs=2"]));
    assert!(printed(&output).contains("test.way: 2 before, 10 now"));
    let after = best(&run).unwrap();
    assert!(after < before, "{before} before, {after} after");
}

/// Whoever begins a new run in place of a finished one keeps its best until there is a better one.
#[test]
fn a_new_run_says_what_it_moves_and_leaves_the_best() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    succeed(trainer(&run).arg("train.epochs=1"));
    let best = fs::read(run.join("best.safetensors")).unwrap();
    let other = config(&["train.epochs=2", "seed=1", "val.freq=0"]);
    let mut session = Session::start(other, &run, ProcessGroup::default()).unwrap();
    assert_eq!(session.train(&AtomicBool::new(true)).unwrap(), Outcome::Interrupted);
    drop(session);
    assert_eq!(fs::read(run.join("best.safetensors")).unwrap(), best);
    assert_eq!(fs::read(folder.path().join("run.1/best.safetensors")).unwrap(), best);
    // It is another run's: it does not go on here.
    let message = refused(bare(&run).args(["--resume", "best"]));
    assert!(message.contains("optimizer"), "{message}");

    let output = printed(&succeed(trainer(&run).arg("train.epochs=1")));
    let (moving, training) = (output.find("moving the run"), output.find("epoch 1/1"));
    assert!(moving.is_some() && moving < training, "{output}");
    assert!(output.contains("run.2"), "{output}");
}

#[test]
fn a_trainer_at_work_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    let session = Session::start(config(&[]), &run, ProcessGroup::default()).unwrap();
    let names = |folder: &Path| {
        let entries = fs::read_dir(folder).unwrap().map(|e| e.unwrap());
        let mut names: Vec<_> =
            entries.map(|e| (e.file_name(), e.metadata().unwrap().len())).collect();
        names.sort();
        names
    };
    let before = (names(folder.path()), names(&run));
    let link = folder.path().join("link");
    #[cfg(unix)]
    std::os::unix::fs::symlink(&run, &link).unwrap();
    for spelling in
        [run.clone(), folder.path().join("run/"), folder.path().join("run/../run"), link.clone()]
    {
        let message = refused(trainer(&spelling).arg("seed=1"));
        assert!(message.contains(&format!("process {}", std::process::id())), "{message}");
    }
    fs::remove_file(&link).unwrap();
    assert_eq!(before, (names(folder.path()), names(&run)));
    drop(session);
    succeed(trainer(&run).arg("train.epochs=1"));
}

#[test]
fn what_lies_in_a_run_folder_does_no_harm() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    succeed(trainer(&run).arg("train.epochs=1"));
    fs::create_dir(run.join("optimizer/notes")).unwrap();
    for unfinished in [".writing-abc", "optimizer/.writing-abc"] {
        fs::write(run.join(unfinished), "half of it").unwrap();
    }
    let mut log = fs::read(run.join("metrics.jsonl")).unwrap();
    log.extend(b"\xff\xfe not UTF-8\n{\"epoch\":2,\"lo");
    fs::write(run.join("metrics.jsonl"), log).unwrap();
    succeed(trainer(&run).args(["train.epochs=3", "--resume", "last"]));
    let epochs: Vec<_> = metrics(&run).iter().map(|line| line["epoch"].as_u64().unwrap()).collect();
    assert_eq!(epochs, [1, 2, 3]);
    assert!(run.join("optimizer/notes").is_dir());
    assert!(!run.join(".writing-abc").exists() && !run.join("optimizer/.writing-abc").exists());
}

/// The quickstart's settings are for the quickstart's images.
#[test]
fn own_images_are_trained_on_with_the_defaults() {
    let folder = tempfile::tempdir().unwrap();
    class_folders(&folder.path().join("birds"), |_| false);
    let print = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_trainer"));
        let command = command.current_dir(folder.path()).arg("--print-config").args(arguments);
        RawConfig::from_toml(&printed(&succeed(command))).unwrap().check().unwrap()
    };
    let own = ["dataset.source=folders", "dataset.root=birds"];
    let config = print(&own);
    let mut expected = RawConfig::default();
    own.iter().for_each(|setting| expected.set(setting).unwrap());
    assert_eq!(config.to_toml(), expected.check().unwrap().to_toml());
    assert_eq!(
        (config.method.image_size, config.dataset.base.source.images_per_class),
        (224, None)
    );
    // Anything else that is set leaves the quickstart as it is.
    let quickstart = print(&["seed=3", "dataset.images_per_class=7"]);
    assert_eq!(
        (quickstart.method.image_size, quickstart.train.epochs, quickstart.seed),
        (32, 6, 3)
    );
}
