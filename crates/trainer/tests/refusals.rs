//! Whatever is wrong ends in one clear error and exit status 2, with nothing half-written.

mod common;
#[path = "common/folders.rs"]
mod folders;

use std::fs;
use std::path::Path;
use std::process::Command;

use common::{stderr, succeed, trainer};
use folders::{class_folders, on_folders};

/// Runs a command that must refuse, naming each of `parts`.
#[track_caller]
fn refuse(command: &mut Command, parts: &[&str]) {
    let output = command.output().unwrap();
    let message = stderr(&output);
    assert_eq!(output.status.code(), Some(2), "{message}");
    assert_eq!(message.matches("error:").count(), 1, "{message}");
    assert!(!message.contains("panicked"), "{message}");
    parts.iter().for_each(|part| assert!(message.contains(part), "no `{part}` in: {message}"));
}

#[test]
fn settings() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    let cases: &[(&str, &[&str])] = &[
        ("method.marign=-0.02", &["unknown key `method.marign`", "did you mean `method.margin`"]),
        ("margin=-0.02", &["unknown key `margin`", "did you mean `method.margin`"]),
        ("method.margin=nan", &["`method.margin` is nan", "finite"]),
        ("method.margin=inf", &["`method.margin` is inf", "finite"]),
        ("method.scale=0", &["`method.scale` is 0", "positive"]),
        ("method.image_size=0", &["`method.image_size` is 0", "16 to 1024"]),
        ("method.image_size=-3", &["`method.image_size` is -3"]),
        ("method.backbone=resnet19", &["resnet19", "resnet18"]),
        ("method.classifier=arcface", &["arcface", "neg-cosine"]),
        ("train.epochs=0", &["`train.epochs` is 0"]),
        ("train.epochs=two", &["`train.epochs` is \"two\"", "whole number"]),
        ("train.warmup_epochs=4", &["`train.warmup_epochs` is 4", "at most train.epochs, 3"]),
        ("test.shots=[]", &["`test.shots` is []"]),
        ("test.way=21", &["21", "16"]),
        ("test.query=12", &["13", "12"]),
        ("method.outputs=63", &["`method.outputs` is 63", "64 base classes"]),
        #[cfg(not(feature = "cuda"))]
        ("device=cuda:0", &["`device` is cuda:0", "cpu", "--features cuda"]),
        ("device=gpu", &["`device` is \"gpu\"", "cpu, or cuda:N"]),
        ("precision=bf16", &["`precision` is bf16", "f32 on a CPU"]),
        ("precision=f16", &["`precision` is \"f16\"", "f32, tf32 or bf16"]),
        ("train.print_freq=0", &["`train.print_freq` is 0"]),
        ("train.save_freq=0", &["`train.save_freq` is 0"]),
        ("loader.keep_on_gpu=true", &["`loader.keep_on_gpu` is true", "false on a CPU"]),
        ("dataset.source=folders", &["`dataset.root` is not set"]),
        ("verbose", &["argument `verbose`", "key=value"]),
    ];
    for (setting, parts) in cases {
        refuse(trainer(&run).args(["device=cpu", setting]), parts);
        assert!(!run.exists(), "{setting} left {run:?} behind");
    }
    let config = folder.path().join("broken.toml");
    fs::write(&config, "[method\nmargin = 1").unwrap();
    refuse(trainer(&run).arg("--config").arg(&config), &["broken.toml", "not TOML"]);
    refuse(trainer(&run).arg("--config").arg(folder.path().join("no.toml")), &["no.toml"]);
    assert!(!run.exists());
}

#[test]
fn datasets() {
    let folder = tempfile::tempdir().unwrap();
    let (run, root) = (folder.path().join("run"), folder.path().join("images"));
    refuse(&mut on_folders(&run, &root), &["`dataset.root`", "images", "FEWSHOT_DATA"]);
    class_folders(&root);
    refuse(on_folders(&run, &root).arg("test.way=6"), &["folders/val", "6 classes", "--way 5"]);

    let lists = folder.path().join("lists");
    fs::create_dir_all(lists.join("images")).unwrap();
    fs::copy(root.join("base/class0/0.jpg"), lists.join("images/n0153282900000005.jpg")).unwrap();
    for split in ["train", "val", "test"] {
        let text =
            "filename,label\nn0153282900000005.jpg,n01532829\nn0153282900000006.jpg,n01532829\n";
        fs::write(lists.join(format!("{split}.csv")), text).unwrap();
    }
    let mut command = trainer(&run);
    command.arg("dataset.source=mini-imagenet").arg(format!("dataset.root={}", lists.display()));
    refuse(&mut command, &["train.csv", "n0153282900000006.jpg"]);
    assert!(!run.exists());
}

/// Own folders are divided by the order of their names, which is no secret where it leaves too few.
#[test]
fn own_folders_with_too_few_classes_or_images() {
    let folder = tempfile::tempdir().unwrap();
    let (run, root) = (folder.path().join("run"), folder.path().join("images"));
    let glyphs = fewshot_data::glyphs::Glyphs::new(&Default::default());
    for class in 0..12 {
        let folder = root.join(format!("class{class:02}"));
        fs::create_dir_all(&folder).unwrap();
        for index in 0..8 {
            glyphs.draw(class, index).save(folder.join(format!("{index}.png"))).unwrap();
        }
    }
    let division = "6 base, 3 val, 3 novel";
    let ways_out = ["--way 3", "--split all", "train, val and test"];
    let parts = [&["12 classes", "folders/val", division], &ways_out[..]].concat();
    refuse(&mut on_folders(&run, &root), &parts);
    // The first of val.
    for index in 3..8 {
        fs::remove_file(root.join(format!("class01/{index}.png"))).unwrap();
    }
    let parts = ["folders/val", "class `class01`", "has 3 images", "4 of each", "test.query"];
    refuse(on_folders(&run, &root).arg("test.way=3"), &parts);
    assert!(!run.exists());
}

#[test]
fn a_truncated_image_is_named_or_skipped_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    let (run, root) = (folder.path().join("run"), folder.path().join("images"));
    class_folders(&root);
    let broken = root.join("base/class3/2.jpg");
    let bytes = fs::read(&broken).unwrap();
    fs::write(&broken, &bytes[..bytes.len() / 2]).unwrap();

    refuse(&mut on_folders(&run, &root), &["class3", "2.jpg"]);
    assert!(!run.join("last.safetensors").exists() && !run.join("metrics.jsonl").exists());
    succeed(on_folders(&run, &root).arg("loader.on_broken=skip"));
    let metrics = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    assert!(metrics.contains("\"skipped\":1"), "{metrics}");
}

#[test]
fn options_of_other_programs() {
    let folder = tempfile::tempdir().unwrap();
    let trainer = |option: &str| {
        let output = trainer(&folder.path().join("run")).arg(option).output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        stderr(&output)
    };
    for (option, setting) in [
        ("--lr=0.1", "train.learning_rate=VALUE"),
        ("--batch-size", "train.batch_size=VALUE"),
        ("--epochs", "train.epochs=VALUE"),
        ("--gpu", "device=VALUE"),
    ] {
        let message = trainer(option);
        assert!(message.contains("unexpected argument") && message.contains(setting), "{message}");
    }
    assert!(!trainer("--nonsense").contains("note: settings"));
}

/// Nothing that is trained on is no training.
#[test]
fn an_epoch_without_images_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let (run, root) = (folder.path().join("run"), folder.path().join("images"));
    class_folders(&root);
    for class in 0..5 {
        for index in 0..8 {
            fs::write(root.join(format!("base/class{class}/{index}.jpg")), "x").unwrap();
        }
    }
    let mut command = on_folders(&run, &root);
    refuse(command.arg("loader.on_broken=skip"), &["40 images", "skipped as broken", "0.jpg"]);
    assert!(!run.join("last.safetensors").exists() && !run.join("metrics.jsonl").exists());
}

#[test]
fn an_instruction_set_that_there_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    let with = |set: &str| {
        let mut command = trainer(&run);
        command.env("FEWSHOT_INSTRUCTION_SET", set).args(["device=cpu", "train.epochs=1"]);
        command
    };
    refuse(&mut with("sse9"), &["FEWSHOT_INSTRUCTION_SET", "sse9", "avx2"]);
    assert!(!run.exists());
    succeed(&mut with("portable"));
    let metrics = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    assert!(metrics.contains("(portable)"), "{metrics}");
}

#[test]
fn checkpoints() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    succeed(trainer(&run).arg("train.epochs=1"));
    let resume = |path: &Path| {
        let mut command = trainer(&folder.path().join("other"));
        command.arg("--resume").arg(path).arg("train.epochs=2");
        command
    };
    let last = run.join("last.safetensors");
    for (setting, before) in [
        ("method.backbone=resnet10", "method.backbone: \"conv4\" before, \"resnet10\" now"),
        ("method.image_size=32", "method.image_size: 16 before, 32 now"),
        ("train.optimizer=sgd", "train.optimizer: \"adam\" before, \"sgd\" now"),
    ] {
        refuse(resume(&last).arg(setting), &["last.safetensors", before, "--change"]);
    }
    let change = |setting: &str| {
        let mut command = resume(&last);
        command.args(["--change", setting]);
        command
    };
    refuse(&mut change("method.backbone=resnet10"), &["last.safetensors", "resnet10"]);
    refuse(&mut change("method.image_size=32"), &["last.safetensors", "classifier.weight"]);
    refuse(&mut change("train.optimizer=sgd"), &["optimizer"]);
    refuse(trainer(&run).arg("--change"), &["--resume"]);

    let bytes = fs::read(&last).unwrap();
    let half = run.join("half.safetensors");
    fs::write(&half, &bytes[..bytes.len() / 2]).unwrap();
    refuse(&mut resume(&half), &["half.safetensors"]);
    fs::write(&half, b"").unwrap();
    refuse(&mut resume(&half), &["half.safetensors"]);
    refuse(&mut resume(&run.join("absent.safetensors")), &["absent.safetensors"]);
    assert!(!folder.path().join("other").exists());
}

#[test]
fn a_batch_of_one_image() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    // 768 images: ResNet-10 leaves one value of each channel of an image of 16 pixels.
    let parts: &[&str] = &["`train.batch_size` is 59", "resnet10 at 16 px"];
    let with = |size: &str, backbone: &str| {
        let mut command = trainer(&run);
        command.args(["train.epochs=1", &format!("train.batch_size={size}")]);
        command.arg(format!("method.backbone={backbone}"));
        command
    };
    refuse(&mut with("59", "resnet10"), parts);
    refuse(&mut with("1", "resnet10"), &["`train.batch_size` is 1", "resnet10"]);
    assert!(!run.exists());
    // Conv4 leaves four values.
    succeed(&mut with("59", "conv4"));
}

#[test]
fn run_folders() {
    let folder = tempfile::tempdir().unwrap();
    let mine = folder.path().join("mine");
    fs::create_dir(&mine).unwrap();
    fs::write(mine.join("thesis.tex"), "years of work").unwrap();
    refuse(&mut trainer(&mine), &["mine", "holds no run", "thesis.tex"]);
    let names: Vec<_> = fs::read_dir(folder.path()).unwrap().collect();
    assert_eq!(names.len(), 1, "nothing was moved");

    let named = |name: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_trainer"));
        command.current_dir(folder.path()).args(common::SMALL).args(["--name", name]);
        command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
        command
    };
    for name in ["../..", "a/../../../b"] {
        refuse(&mut named(name), &["--name", name, "--run-dir"]);
    }
    assert!(!folder.path().join("checkpoints").exists());
}

#[test]
fn an_unwritable_run_folder() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "not a folder").unwrap();
    refuse(&mut trainer(&file.join("run")), &["file/run"]);
    assert_eq!(fs::read_to_string(&file).unwrap(), "not a folder");
}
