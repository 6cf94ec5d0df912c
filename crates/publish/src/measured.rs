//! Results of a checkpoint's run, from `results.json`.

use std::path::Path;

use fewshot_experiment::{Config, Error, Provenance};
use trainer::{FinalReport, ModelReport};

/// Results of one checkpoint.
pub struct Measured {
    /// Provenance of the results.
    pub run: Provenance,
    /// Seed that the episodes are drawn from.
    pub test_seed: u64,
    /// What makes the figures doubtful.
    pub warnings: Vec<String>,
    /// Accuracy of the checkpoint.
    pub report: ModelReport,
    /// The file's text.
    pub json: String,
}

impl Measured {
    /// Reads `results.json` in the checkpoint's folder; returns nothing if there is no such file, or
    /// if the checkpoint is not one that a run reports on.
    ///
    /// # Errors
    /// A file that cannot be read, or that is of another configuration or epoch: its figures
    /// would be another model's.
    pub fn beside(checkpoint: &Path, config: &Config, epoch: usize) -> Result<Option<Self>, Error> {
        let path = checkpoint.with_file_name("results.json");
        let name = checkpoint.file_name().and_then(|name| name.to_str());
        let json = match (name, std::fs::read_to_string(&path)) {
            (Some("best.safetensors" | "last.safetensors"), Ok(json)) => json,
            (Some("best.safetensors" | "last.safetensors"), Err(e))
                if e.kind() != std::io::ErrorKind::NotFound =>
            {
                return Err(Error::io("read", &path)(e));
            }
            _ => return Ok(None),
        };
        let fail = |reason: String| {
            let remedy = "move it away to publish without figures";
            Error::Results { path: path.clone(), reason: format!("{reason}; {remedy}") }
        };
        let FinalReport { run, test_seed, last, best, warnings, .. } = serde_json::from_str(&json)
            .map_err(|e| fail(format!("not the results of a run: {e}")))?;
        let report = if name == Some("best.safetensors") { best } else { last };
        if run.config_sha256 != config.sha256() {
            let hashes = (&run.config_sha256, config.sha256());
            return Err(fail(format!(
                "it is of configuration {}, the checkpoint of {}",
                hashes.0, hashes.1
            )));
        }
        if report.epoch != epoch {
            let of = report.epoch;
            return Err(fail(format!("it is of epoch {of}, the checkpoint of {epoch}")));
        }
        let shots = report.val.values().chain(report.novel.values());
        if !shots.into_iter().all(|shot| shot.mean.is_finite() && shot.ci95.is_finite()) {
            return Err(fail("a figure in it is no number".into()));
        }
        Ok(Some(Self { run, test_seed, warnings, report, json }))
    }
}
