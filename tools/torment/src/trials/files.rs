//! Files that are read after they were damaged.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use rand::Rng;

use super::{Trial, Verdict};
use crate::damage::damage;
use crate::process::{Ended, prepared, set_up};
use crate::scene::{LIMIT, copy};

/// More memory is never needed for files this small.
const MEMORY: &str = "ulimit -v 6000000";

/// Settings of a training on the scene's few images.
const FEW_IMAGES: &[&str] = &[
    "method.backbone=conv4",
    "method.image_size=16",
    "train.batch_size=8",
    "train.epochs=1",
    "train.schedule=constant",
    "val.freq=1",
    "val.episodes=2",
    "val.shot=1",
    "test.way=2",
    "test.query=2",
    "test.shots=[1]",
    "test.episodes=2",
    "test.pixel_baseline=false",
];

impl Trial<'_> {
    /// Whatever is in a file, the program reads it or refuses it by its name.
    pub(super) fn files(&mut self) -> Verdict {
        match self.rng.random_range(0..10) {
            0..3 => self.damaged_run(),
            3 => self.damaged_configuration(),
            4 => self.damaged_pytorch(),
            5..7 => self.damaged_image(),
            7 => self.damaged_images("images.tar", "folders"),
            8 => self.damaged_images("images.zip", "folders"),
            _ => self.damaged_images("lists/base.json", "json"),
        }
    }

    /// A file of a run: its checkpoint, the state of its optimizer, or what a run that goes on reads
    /// or writes beside them.
    fn damaged_run(&mut self) -> Verdict {
        let run = self.run_folder();
        copy(&self.scene.run(), &run).map_err(|e| format!("{}: {e}", run.display()))?;
        let names =
            ["last.safetensors", "best.safetensors", "metrics.jsonl", "config.toml", ".lock"];
        let optimizers = fs::read_dir(run.join("optimizer")).into_iter().flatten().flatten();
        let mut optimizers: Vec<_> = optimizers.map(|entry| entry.path()).collect();
        optimizers.sort();
        let choice = self.rng.random_range(0..8);
        let path = match choice {
            0..5 => run.join(names[choice]),
            5 => run.join(names[0]),
            _ => optimizers[self.rng.random_range(0..optimizers.len())].clone(),
        };
        self.damage(&path)?;
        if choice < 2 {
            let ended = self.finish(&mut self.evaluator(MEMORY, &path))?;
            return readable(&ended, &path);
        }
        let mut command = self.trainer(MEMORY);
        let ended = self.finish(command.arg("train.epochs=5"))?;
        // What is written anew, or tells only who works here, stops no run.
        if [".lock", "metrics.jsonl", "config.toml"].iter().any(|name| path.ends_with(name)) {
            ended.succeeded()?;
        }
        readable(&ended, &path)
    }

    fn damaged_configuration(&mut self) -> Verdict {
        let path = self.copied(&self.scene.run().join("config.toml"))?;
        let mut command = prepared(MEMORY, &self.scene.programs.trainer);
        command.arg("--config").arg(&path).arg("--print-config");
        set_up(&mut command);
        let ended = self.finish(&mut command)?;
        readable(&ended, &path)
    }

    fn damaged_pytorch(&mut self) -> Verdict {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/parity/checkpoints");
        let names = ["conv4_legacy.tar", "conv4_zip.tar"];
        let name = names[self.rng.random_range(0..2)];
        let path = self.copied(&Path::new(folder).join(name))?;
        let mut command = self.evaluator(MEMORY, &path);
        command.args(["--backbone", "conv4", "--classifier", "cosine", "--image-size", "84"]);
        command.args(["dataset.source=glyphs", "dataset.images_per_class=3"]);
        let ended = self.finish(&mut command)?;
        readable(&ended, &path)
    }

    fn damaged_image(&mut self) -> Verdict {
        let images = self.place.join("folder");
        let copied = copy(&self.scene.images().join("folder"), &images);
        copied.map_err(|e| format!("{}: {e}", images.display()))?;
        let (class, index) = (self.rng.random_range(0..4), self.rng.random_range(0..6));
        let ending = ["jpg", "png", "bmp"][index % 3];
        let path = images.join(format!("base/class{class}/{index}.{ending}"));
        self.damage(&path)?;
        let ended = self.train_on(&images, "folders")?;
        readable(&ended, &path)
    }

    fn damaged_images(&mut self, name: &str, source: &str) -> Verdict {
        let images = self.place.join("images");
        let copied = copy(&self.scene.images(), &images);
        copied.map_err(|e| format!("{}: {e}", images.display()))?;
        let path = images.join(name);
        self.damage(&path)?;
        let root = if source == "json" { images.join("lists") } else { path.clone() };
        let ended = self.train_on(&root, source)?;
        // An archive whose folders of splits were renamed, or whose classes are too few, is refused by
        // what is missing.
        readable(&ended, &path).or_else(|e| match ended.refused(&["dataset.", "--way"]) {
            Ok(()) => Ok("refused"),
            Err(_) => Err(e),
        })
    }

    fn train_on(&mut self, root: &Path, source: &str) -> Result<Ended, String> {
        let mut command: Command = prepared(MEMORY, &self.scene.programs.trainer);
        command.arg("--run-dir").arg(self.run_folder()).args(FEW_IMAGES);
        command.arg(format!("dataset.root={}", root.display()));
        command.arg(format!("dataset.source={source}"));
        set_up(&mut command);
        self.start(&mut command)?.wait(LIMIT)
    }

    /// A damaged copy of a file.
    fn copied(&mut self, from: &Path) -> Result<PathBuf, String> {
        let path = self.place.join(from.file_name().unwrap_or_default());
        fs::copy(from, &path).map_err(|e| format!("{}: {e}", from.display()))?;
        self.damage(&path)?;
        Ok(path)
    }

    fn damage(&mut self, path: &Path) -> Result<(), String> {
        let bytes = fs::read(path).map_err(|e| format!("{}: {e}", path.display()))?;
        let (damaged, what) = damage(&bytes, &mut self.rng);
        self.log.push(format!("{}: {what}", path.display()));
        fs::write(path, damaged).map_err(|e| format!("{}: {e}", path.display()))
    }
}

/// Checks that a program read a file and said what came of it, or refused it by its name.
fn readable(ended: &Ended, path: &Path) -> Verdict {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    if ended.code()? != 0 {
        ended.refused(&[&name])?;
        return Ok("refused");
    }
    if ended.stdout.trim().is_empty() || ended.stdout.contains("NaN") {
        return Err(format!("success, but it says: {}", ended.stdout));
    }
    Ok("read")
}
