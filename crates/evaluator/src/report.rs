//! Results of checkpoints for readers and for scripts.

use std::path::{Path, PathBuf};

use fewshot_experiment::{Config, Provenance};
use serde::Serialize;

use crate::{ShotDifference, SplitDifferences, SplitResults};

/// What one checkpoint reaches.
#[derive(Clone, Debug, Serialize)]
pub struct Evaluation {
    /// Where it lies.
    pub checkpoint: PathBuf,
    /// Whole epochs of its training.
    pub epoch: usize,
    /// The network.
    pub backbone: String,
    /// The classifier over base classes.
    pub classifier: String,
    /// Its margin, if known.
    pub margin: Option<f64>,
    /// What the results came from; the configuration is that of the evaluation.
    pub run: Provenance,
    /// Accuracy by shots.
    pub results: SplitResults,
}

impl Evaluation {
    /// The results of a checkpoint under a configuration.
    pub fn new(checkpoint: &Path, epoch: usize, config: &Config, results: SplitResults) -> Self {
        Self {
            checkpoint: checkpoint.to_owned(),
            epoch,
            backbone: config.method.backbone.to_string(),
            classifier: config.method.classifier.to_string(),
            margin: Some(config.method.margin),
            run: Provenance::of(config),
            results,
        }
    }

    /// By which a pasted result is found again.
    fn origin(&self) -> String {
        format!("{}: {}", self.checkpoint.display(), self.run)
    }
}

/// A second checkpoint on the same episodes.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    /// What it reaches.
    pub second: Evaluation,
    /// How much better the first is.
    pub difference: SplitDifferences,
}

/// What a checkpoint reaches on a split, and how it compares with another.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The name of the split's dataset.
    pub dataset: String,
    /// The split.
    pub split: String,
    /// Classes an episode.
    pub way: usize,
    /// Query images a class.
    pub query: usize,
    /// The adaptation head.
    pub head: String,
    /// The seed of the episodes.
    pub test_seed: u64,
    /// The checkpoint.
    #[serde(flatten)]
    pub first: Evaluation,
    /// The one that it is compared with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comparison: Option<Comparison>,
}

impl Report {
    /// One or two evaluations, then their difference, for a terminal.
    pub fn to_text(&self) -> String {
        let mut text = self.evaluation_text(&self.first);
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
        text
    }

    fn evaluation_text(&self, evaluation: &Evaluation) -> String {
        let Evaluation { backbone, classifier, margin, epoch, .. } = evaluation;
        let Self { dataset, way, query, head, .. } = self;
        let margin = margin.map_or_else(|| "unknown".to_owned(), |margin| margin.to_string());
        let mut text = format!(
            "{backbone} with {classifier} (margin {margin}), epoch {epoch}, on {dataset}: \
             {way}-way, {query} queries, {head} head"
        );
        for (shot, result) in &evaluation.results {
            text += &format!("\n{shot:>3}-shot  {result} %  ({} episodes)", result.episodes);
        }
        text + &format!("\n{}", evaluation.origin())
    }

    /// A table with a column for each number of shots, and where its numbers come from.
    pub fn to_markdown(&self) -> String {
        let results = &self.first.results;
        let mut table = row(
            &format!("{}, {}-way", self.dataset, self.way),
            results.keys().map(|shot| format!("{shot}-shot")),
        );
        table += &format!("|---|{}\n", "---|".repeat(results.len()));
        let Some(Comparison { second, difference }) = &self.comparison else {
            table += &row(&self.head, results.values());
            return format!("{table}\n{}", self.first.origin());
        };
        table += &row(&format!("first, {}", self.head), results.values());
        table += &row(&format!("second, {}", self.head), second.results.values());
        table += &row("first minus second", difference.values());
        let counts =
            difference.values().map(|d| format!("{} / {} / {}", d.better, d.equal, d.worse));
        table += &row("episodes better / equal / worse", counts);
        format!("{table}\nfirst {}  \nsecond {}", self.first.origin(), second.origin())
    }
}

/// A line of a markdown table.
fn row(title: &str, cells: impl Iterator<Item = impl std::fmt::Display>) -> String {
    cells.fold(format!("| {title} |"), |row, cell| row + &format!(" {cell} |")) + "\n"
}
