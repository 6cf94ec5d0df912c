//! Results of finished runs.

use std::path::Path;

use fewshot_experiment::Provenance;
use serde::{Deserialize, Serialize};
use trainer::FinalReport;

/// A mean accuracy with half the width of its 95 % interval, in percent.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Accuracy {
    /// Mean.
    pub mean: f64,
    /// Half the width of its interval.
    pub ci95: f64,
}

/// Reads `results.json` of a run folder; returns nothing if the run is not finished.
pub fn read(folder: &Path) -> Option<FinalReport> {
    let text = std::fs::read_to_string(folder.join("results.json")).ok()?;
    serde_json::from_str(&text).ok()
}

/// Returns the accuracy of the `best` or the `last` checkpoint on novel classes, with `shot` support
/// images per class.
pub fn novel(results: &FinalReport, checkpoint: &str, shot: usize) -> Option<Accuracy> {
    let report = if checkpoint == "best" { &results.best } else { &results.last };
    report.novel.get(&shot).map(|result| Accuracy { mean: result.mean, ci95: result.ci95 })
}

/// Returns the file name of a checkpoint. If the best was the last, there is only one file.
pub fn file(results: &FinalReport, checkpoint: &str) -> &'static str {
    match checkpoint == "best" && results.best.epoch != results.last.epoch {
        true => "best.safetensors",
        false => "last.safetensors",
    }
}

/// Formats what identifies a result, for comparisons that are kept in files.
pub fn origin(run: &Provenance) -> String {
    let Provenance { commit, device, config_sha256, seed, .. } = run;
    format!("commit {commit}, {device}, config {config_sha256}, seed {seed}")
}

/// Wall time of a run, which its own files do not hold.
#[derive(Default, Deserialize, Serialize)]
pub struct Elapsed {
    /// Seconds, summed over the processes that worked on it.
    pub seconds: f64,
}

impl Elapsed {
    const FILE: &str = "elapsed.json";

    /// Reads the time that earlier processes took; 0 if there is none.
    pub fn read(folder: &Path) -> Self {
        let text = std::fs::read_to_string(folder.join(Self::FILE)).unwrap_or_default();
        serde_json::from_str(&text).unwrap_or_default()
    }

    /// Writes it, once there is a run.
    pub fn write(&self, folder: &Path) {
        let path = folder.join(Self::FILE);
        if let (true, Ok(text)) = (folder.join("config.toml").exists(), serde_json::to_string(self))
        {
            // A failure is ignored: the time is for readers, and a full disk stops the training
            // itself.
            let _ = fewshot_experiment::write_atomically(&path, text.as_bytes());
        }
    }
}
