//! Results of one or two checkpoints, as text, Markdown or JSON.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use fewshot_data::{Dataset, Split};
use fewshot_experiment::{Config, Provenance};
use fewshot_progress::counted;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use crate::{ShotDifference, ShotResult, SplitDifferences, SplitResults};

/// Few-shot results of one checkpoint.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Evaluation {
    /// Path, or `hf://` address with its commit.
    pub checkpoint: PathBuf,
    /// Number of completed training epochs.
    pub epoch: usize,
    /// Name of the backbone.
    pub backbone: String,
    /// Name of the classifier over base classes.
    pub classifier: String,
    /// Margin of that classifier, if known.
    pub margin: Option<f64>,
    /// Number of images of the split that were skipped as broken, with `loader.on_broken = "skip"`.
    #[serde(default)]
    pub skipped: usize,
    /// Provenance of the results; its hash is of the evaluation's configuration.
    pub run: Provenance,
    /// Accuracy by number of shots.
    #[serde(deserialize_with = "by_shot")]
    pub results: SplitResults,
}

impl Evaluation {
    /// Labels `results` with the checkpoint and the configuration that they were measured under, on
    /// images of which none was skipped.
    pub fn new(checkpoint: &Path, epoch: usize, config: &Config, results: SplitResults) -> Self {
        Self {
            checkpoint: checkpoint.to_owned(),
            epoch,
            backbone: config.method.backbone.to_string(),
            classifier: config.method.classifier.to_string(),
            margin: Some(config.method.margin),
            skipped: 0,
            run: Provenance::of(config),
            results,
        }
    }

    /// One line that names checkpoint and provenance, so that a pasted table can be reproduced.
    fn origin(&self) -> String {
        format!("{}: {}", self.checkpoint.display(), self.run)
    }
}

/// A second checkpoint, evaluated on the same episodes as the first.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Comparison {
    /// Results of the second checkpoint.
    pub second: Evaluation,
    /// Paired differences, first minus second.
    pub difference: SplitDifferences,
}

/// Few-shot results on one split, of one checkpoint or of two that are compared: the evaluator's
/// JSON output.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Report {
    /// Name of the dataset.
    pub dataset: String,
    /// Name of the split that the images are of: `val`, too, where validation classes stand in for
    /// novel ones.
    pub split: String,
    /// Classes per episode.
    pub way: usize,
    /// Query images per class.
    pub query: usize,
    /// Name of the adaptation head.
    pub head: String,
    /// What is done to features before the head sees them, if anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub features: Option<String>,
    /// Checkpoints whose features stand beside those of the first one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ensemble: Vec<PathBuf>,
    /// Seed that the episodes are drawn from.
    pub test_seed: u64,
    /// Results of the checkpoint.
    #[serde(flatten)]
    pub first: Evaluation,
    /// What makes the results doubtful: classes that are not unseen, many images that were skipped.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// The checkpoint that it is compared with, if any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comparison: Option<Comparison>,
}

/// Says what is done to features before a head sees them, if anything.
fn describe_features(config: &Config) -> Option<String> {
    let test = &config.test;
    let mut parts = Vec::new();
    if test.power != 1.0 {
        parts.push(format!("to the power of {}", test.power));
    }
    if test.center {
        parts.push("less the mean of base images".to_owned());
    }
    if let Some(crops) = test.crops {
        let of = if crops.of_queries { "all images" } else { "support images" };
        parts.push(format!("averaged over {} of {of}", counted(crops.count, "crop")));
    }
    (!parts.is_empty()).then(|| parts.join(", "))
}

impl Report {
    /// Describes the episodes of an evaluation under `config`, without a comparison.
    pub fn new(dataset: &Dataset, split: Split, config: &Config, first: Evaluation) -> Self {
        let test = &config.test;
        Self {
            dataset: dataset.name().to_owned(),
            split: split.to_string(),
            way: test.way,
            query: test.query,
            head: test.head.name().to_owned(),
            features: describe_features(config),
            ensemble: Vec::new(),
            test_seed: test.seed,
            first,
            warnings: Vec::new(),
            comparison: None,
        }
    }

    /// Formats the results, and the difference if there is one, for a terminal.
    pub fn to_text(&self) -> String {
        let mut text = self.evaluation_text(&self.first);
        for path in &self.ensemble {
            text += &format!("\nwith the features of {}", path.display());
        }
        if let Some(Comparison { second, difference }) = &self.comparison {
            text += &format!("\n{}", self.evaluation_text(second));
            text += "\nfirst minus second, on the same episodes";
            for (shot, d) in difference {
                let ShotDifference { better, equal, worse, .. } = d;
                text += &format!(
                    "\n{shot:>3}-shot  {d} %  \
                     (better in {better} episodes, equal in {equal}, worse in {worse})"
                );
            }
        }
        self.warnings.iter().for_each(|warning| text += &format!("\nwarning: {warning}"));
        text
    }

    fn evaluation_text(&self, evaluation: &Evaluation) -> String {
        let Evaluation { backbone, classifier, margin, epoch, skipped, .. } = evaluation;
        let Self { dataset, way, query, head, .. } = self;
        let margin = margin.map_or_else(|| "unknown".to_owned(), |margin| margin.to_string());
        let mut text = format!(
            "{backbone} with {classifier} (margin {margin}), epoch {epoch}, on {dataset}: \
             {way}-way, {}, {head} head",
            counted(*query, "query")
        );
        if let Some(features) = &self.features {
            text += &format!(", features {features}");
        }
        if *skipped > 0 {
            text += &format!(", {} skipped", counted(*skipped, "broken image"));
        }
        for (shot, result) in &evaluation.results {
            text +=
                &format!("\n{shot:>3}-shot  {result} %  ({})", counted(result.episodes, "episode"));
        }
        text + &format!("\n{}", evaluation.origin())
    }

    /// Formats a table with a column for each number of shots, followed by its provenance.
    pub fn to_markdown(&self) -> String {
        let results = &self.first.results;
        let mut table = row(
            &format!("{}, {}-way", self.dataset, self.way),
            results.keys().map(|shot| format!("{shot}-shot")),
        );
        table += &format!("|---|{}\n", "---|".repeat(results.len()));
        let warnings = self.warnings.iter().map(|warning| format!("\n\n**Warning**: {warning}."));
        let warnings: String = warnings.collect();
        let Some(Comparison { second, difference }) = &self.comparison else {
            table += &row(&self.head, results.values());
            return format!("{table}\n{}{warnings}", self.first.origin());
        };
        table += &row(&format!("first, {}", self.head), results.values());
        table += &row(&format!("second, {}", self.head), second.results.values());
        table += &row("first minus second", difference.values());
        let counts =
            difference.values().map(|d| format!("{} / {} / {}", d.better, d.equal, d.worse));
        table += &row("episodes better / equal / worse", counts);
        let origins = (self.first.origin(), second.origin());
        format!("{table}\nfirst {}  \nsecond {}{warnings}", origins.0, origins.1)
    }
}

/// One row of a Markdown table.
fn row(title: &str, cells: impl Iterator<Item = impl std::fmt::Display>) -> String {
    cells.fold(format!("| {title} |"), |row, cell| row + &format!(" {cell} |")) + "\n"
}

/// Reads results by number of shots. Needed because [`Report`] flattens its first [`Evaluation`]:
/// serde buffers a flattened value, and its buffer does not read numbers from map keys.
fn by_shot<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SplitResults, D::Error> {
    let results = BTreeMap::<String, ShotResult>::deserialize(deserializer)?;
    let parse = |(shot, result): (String, ShotResult)| {
        Ok((shot.parse().map_err(D::Error::custom)?, result))
    };
    results.into_iter().map(parse).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every key, in order; the first evaluation's are those of the report itself.
    const RUN: &str = r#""run":{"version":"0.1.0","candle":"0.11.1","commit":"unknown","device":"cpu (avx2)","config_sha256":"ab","seed":3}"#;

    fn evaluation(checkpoint: &str, margin: &str) -> String {
        let result =
            |mean| format!(r#"{{"head":"finetune","mean":{mean},"ci95":0.25,"episodes":600}}"#);
        let (one, five) = (result("48.5"), result("64.125"));
        format!(
            r#""checkpoint":"{checkpoint}","epoch":9,"backbone":"conv4","classifier":"cosine","margin":{margin},"skipped":0,{RUN},"results":{{"1":{one},"5":{five}}}"#
        )
    }

    #[test]
    fn json_is_read_back_and_written_alike() {
        let head = r#""dataset":"glyphs","split":"novel","way":5,"query":16,"head":"finetune","test_seed":1"#;
        let first = evaluation("a.safetensors", "-0.5");
        let alone = format!("{{{head},{first}}}");
        let second = evaluation("b.safetensors", "null");
        let difference = r#"{"1":{"mean":-1.5,"ci95":0.5,"better":1,"equal":2,"worse":3}}"#;
        let compared = format!(
            r#"{{{head},{first},"comparison":{{"second":{{{second}}},"difference":{difference}}}}}"#
        );
        for json in [alone, compared] {
            let report: Report = serde_json::from_str(&json).unwrap();
            assert_eq!(report.first.results[&5].mean, 64.125);
            assert_eq!(serde_json::to_string(&report).unwrap(), json);
        }
        // What an earlier version wrote is read.
        let earlier = format!("{{{head},{first}}}").replace(r#","skipped":0"#, "");
        assert_eq!(serde_json::from_str::<Report>(&earlier).unwrap().first.skipped, 0);
        let wrong = format!("{{{head},{first}}}").replace(r#""5":"#, r#""five":"#);
        assert!(serde_json::from_str::<Report>(&wrong).is_err());
    }
}
