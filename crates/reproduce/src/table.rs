//! Published and measured figures side by side.

use std::path::PathBuf;

use fewshot_progress::duration;
use serde::Serialize;

use super::files::csv_text;
use super::results::Accuracy;
use super::work::Difference;

/// The table: the content of `table.json`.
#[derive(Debug, Serialize)]
pub struct Table {
    /// Name of the budget.
    pub budget: String,
    /// Checkpoint that is reported, `best` or `last`.
    pub checkpoint: String,
    /// Split that `ours` is measured on; on partial copies not the novel one.
    pub split: String,
    /// One row per cell.
    pub cells: Vec<Row>,
    /// One row per cell with a negative margin.
    pub margins: Vec<Margin>,
}

/// A cell of the paper's table.
#[derive(Debug, Serialize)]
pub struct Row {
    /// Dataset of the base and novel classes.
    pub dataset: &'static str,
    /// Classifier.
    pub method: &'static str,
    /// Support images per class.
    pub shot: usize,
    /// Margin in training.
    pub margin: f64,
    /// Published accuracy, at the paper's size.
    pub published: Accuracy,
    /// Measured accuracy: mean over seeds of means over episodes.
    pub ours: Option<Accuracy>,
    /// `ours` minus `published`, in percentage points.
    pub difference: Option<f64>,
    /// One run per seed.
    pub runs: Vec<Run>,
    /// Why `ours` is missing, or lacks a seed.
    pub problem: Option<String>,
}

/// A finished training, as one cell reports it.
#[derive(Debug, Serialize)]
pub struct Run {
    /// Seed.
    pub seed: u64,
    /// Accuracy on novel classes.
    pub accuracy: Accuracy,
    /// Wall time of training and evaluation, in seconds.
    pub seconds: f64,
    /// Device, with its instruction set.
    pub device: String,
    /// Commit of the build.
    pub commit: String,
    /// SHA-256 of the configuration.
    pub config_sha256: String,
    /// Run folder.
    pub folder: PathBuf,
}

/// Comparison of a negative margin with none, on the same episodes.
#[derive(Debug, Serialize)]
pub struct Margin {
    /// Dataset.
    pub dataset: &'static str,
    /// Classifier with a negative margin.
    pub method: &'static str,
    /// Classifier without a margin.
    pub without: &'static str,
    /// Support images per class.
    pub shot: usize,
    /// Difference of the published figures.
    pub published: f64,
    /// Measured paired difference, mean over seeds.
    pub ours: Option<Difference>,
    /// Paired difference of each seed.
    pub seeds: Vec<Difference>,
}

/// Outcome of a comparison, judged by its 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Verdict {
    Helped,
    Hurt,
    Undecided,
}

/// Averages means and half widths; nothing if there are none.
fn average(values: impl ExactSizeIterator<Item = (f64, f64)>) -> Option<(f64, f64)> {
    let count = values.len() as f64;
    let (mean, ci95) = values.fold((0.0, 0.0), |sum, value| (sum.0 + value.0, sum.1 + value.1));
    (count > 0.0).then_some((mean / count, ci95 / count))
}

/// Averages the accuracy over seeds.
pub fn accuracy(runs: &[Run]) -> Option<Accuracy> {
    average(runs.iter().map(|run| (run.accuracy.mean, run.accuracy.ci95)))
        .map(|(mean, ci95)| Accuracy { mean, ci95 })
}

/// Averages the difference over seeds.
pub fn difference(seeds: &[Difference]) -> Option<Difference> {
    average(seeds.iter().map(|d| (d.mean, d.ci95))).map(|(mean, ci95)| Difference { mean, ci95 })
}

impl Margin {
    fn verdict(&self) -> Option<Verdict> {
        self.ours.map(|d| match d.mean.abs() > d.ci95 {
            true if d.mean > 0.0 => Verdict::Helped,
            true => Verdict::Hurt,
            false => Verdict::Undecided,
        })
    }
}

impl Row {
    fn seconds(&self) -> f64 {
        self.runs.iter().map(|run| run.seconds).sum()
    }

    /// Formats the lowest and the highest seed, if there are several.
    fn range(&self) -> String {
        let means = || self.runs.iter().map(|run| run.accuracy.mean);
        match self.runs.len() {
            0 | 1 => String::new(),
            n => {
                let (low, high) = (means().fold(f64::MAX, f64::min), means().fold(0.0, f64::max));
                format!(" ({n} seeds, {low:.2} to {high:.2})")
            }
        }
    }

    /// Returns device and commit of the first seed, which stand for all.
    fn origin(&self) -> (&str, &str) {
        let first = self.runs.first();
        first.map_or(("–", "–"), |run| (&run.device, &run.commit[..run.commit.len().min(12)]))
    }
}

impl Table {
    /// Formats the table as Markdown.
    pub fn to_markdown(&self) -> String {
        let Self { budget, checkpoint, split, .. } = self;
        let mut text = format!(
            "Budget {budget}: {checkpoint} checkpoint, {split} classes, mean ± 95 % interval over \
             episodes, in percent.\n\n\
             | dataset | method | shots | margin | published | ours | difference | wall time | device | commit |\n\
             |---|---|---|---|---|---|---|---|---|---|\n"
        );
        for row in &self.cells {
            let Row { dataset, method, shot, margin, published, .. } = row;
            let ours = match (row.ours, &row.problem) {
                (Some(a), None) => format!("{:.2} ± {:.2}{}", a.mean, a.ci95, row.range()),
                (Some(a), Some(problem)) => {
                    format!("{:.2} ± {:.2}{}; {problem}", a.mean, a.ci95, row.range())
                }
                (None, problem) => problem.clone().unwrap_or_else(|| "not run".into()),
            };
            // An error message must not end the row.
            let ours = ours.replace(['|', '\n'], " ");
            let difference = row.difference.map_or("–".to_owned(), |d| format!("{d:+.2}"));
            let time = if row.runs.is_empty() { "–".into() } else { duration(row.seconds()) };
            let (device, commit) = row.origin();
            text += &format!(
                "| {dataset} | {method} | {shot} | {margin} | {:.2} ± {:.2} | {ours} | {difference} \
                 | {time} | {device} | {commit} |\n",
                published.mean, published.ci95
            );
        }
        text += "\nA negative margin against none, on the same episodes (paired difference):\n\n\
                 | dataset | with | without | shots | published | ours | |\n|---|---|---|---|---|---|---|\n";
        for margin in &self.margins {
            let Margin { dataset, method, without, shot, published, ours, .. } = margin;
            let ours = ours.map_or("–".to_owned(), |d| format!("{:+.2} ± {:.2}", d.mean, d.ci95));
            let verdict = match margin.verdict() {
                Some(Verdict::Helped) => "helped",
                Some(Verdict::Hurt) => "hurt",
                Some(Verdict::Undecided) => "undecided",
                None => "",
            };
            text += &format!(
                "| {dataset} | {method} | {without} | {shot} | {published:+.2} | {ours} | {verdict} |\n"
            );
        }
        text + "\n" + &self.verdict() + "\n"
    }

    /// Summarizes in a sentence whether a negative margin helped.
    pub fn verdict(&self) -> String {
        let count = |verdict| {
            self.margins.iter().filter(|margin| margin.verdict() == Some(verdict)).count()
        };
        let all = self.margins.iter().filter(|margin| margin.ours.is_some()).count();
        if all == 0 {
            return "Whether a negative margin helps was not measured.".into();
        }
        format!(
            "A negative margin helped in {} of {all} comparisons, hurt in {}, and in {} the interval \
             holds zero. The intervals are over episodes: another seed of training moves a figure, too.",
            count(Verdict::Helped),
            count(Verdict::Hurt),
            count(Verdict::Undecided)
        )
    }

    /// Formats the cells as CSV, one line per cell.
    ///
    /// # Errors
    /// Out of memory.
    pub fn to_csv(&self) -> Result<String, csv::Error> {
        let mut writer = csv::Writer::from_writer(Vec::new());
        writer.write_record([
            "dataset",
            "method",
            "shot",
            "margin",
            "published",
            "published_ci95",
            "ours",
            "ours_ci95",
            "difference",
            "seeds",
            "seconds",
            "device",
            "commit",
            "problem",
        ])?;
        for row in &self.cells {
            let number = |value: Option<f64>| value.map_or(String::new(), |v| format!("{v:.4}"));
            let (device, commit) = row.runs.first().map_or(("", ""), |r| (&r.device, &r.commit));
            writer.write_record([
                row.dataset,
                row.method,
                &row.shot.to_string(),
                &row.margin.to_string(),
                &row.published.mean.to_string(),
                &row.published.ci95.to_string(),
                &number(row.ours.map(|a| a.mean)),
                &number(row.ours.map(|a| a.ci95)),
                &number(row.difference),
                &row.runs.len().to_string(),
                &format!("{:.1}", row.seconds()),
                device,
                commit,
                row.problem.as_deref().unwrap_or_default(),
            ])?;
        }
        csv_text(writer)
    }
}
