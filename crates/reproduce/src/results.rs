//! What a finished run folder holds.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// The part of `results.json` that the table is made of.
#[derive(Clone, Debug, Deserialize)]
pub struct Results {
    /// What it came from.
    pub run: Origin,
    last: Reached,
    best: Reached,
}

/// What a result came from.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Origin {
    /// The commit that was built.
    pub commit: String,
    /// The device and its instruction set.
    pub device: String,
    /// SHA-256 of the configuration.
    pub config_sha256: String,
    /// The training's seed.
    pub seed: u64,
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { commit, device, config_sha256, seed } = self;
        write!(f, "commit {commit}, {device}, config {config_sha256}, seed {seed}")
    }
}

#[derive(Clone, Debug, Deserialize)]
struct Reached {
    epoch: usize,
    novel: BTreeMap<usize, Accuracy>,
}

/// A mean with half the width of its 95 % interval, in percent.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
pub struct Accuracy {
    /// The mean.
    pub mean: f64,
    /// Half the width of its interval.
    pub ci95: f64,
}

impl Results {
    /// Those of a run folder; none where the run is not finished.
    pub fn read(folder: &Path) -> Option<Self> {
        let text = std::fs::read_to_string(folder.join("results.json")).ok()?;
        serde_json::from_str(&text).ok()
    }

    /// On novel classes, with so many shots, of the `best` or the `last` checkpoint.
    pub fn novel(&self, checkpoint: &str, shot: usize) -> Option<Accuracy> {
        let reached = if checkpoint == "best" { &self.best } else { &self.last };
        reached.novel.get(&shot).copied()
    }

    /// The name of a checkpoint's file. Where the best was the last, both are the same.
    pub fn file(&self, checkpoint: &str) -> &'static str {
        match checkpoint == "best" && self.best.epoch != self.last.epoch {
            true => "best.safetensors",
            false => "last.safetensors",
        }
    }
}

/// How long a run took, which its own files do not tell.
#[derive(Default, Deserialize, Serialize)]
pub struct Elapsed {
    /// Seconds of all the processes that worked on it.
    pub seconds: f64,
}

impl Elapsed {
    const FILE: &str = "elapsed.json";

    /// What earlier processes took.
    pub fn read(folder: &Path) -> Self {
        let text = std::fs::read_to_string(folder.join(Self::FILE)).unwrap_or_default();
        serde_json::from_str(&text).unwrap_or_default()
    }

    /// Keeps it, once there is a run.
    pub fn write(&self, folder: &Path) {
        let path = folder.join(Self::FILE);
        if let (true, Ok(text)) = (folder.join("config.toml").exists(), serde_json::to_string(self))
        {
            // A figure for readers: a full disk stops the training itself.
            let _ = fewshot_experiment::write_atomically(&path, text.as_bytes());
        }
    }
}
