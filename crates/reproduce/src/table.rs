//! Published and measured figures side by side.

use std::path::PathBuf;

use fewshot_progress::duration;
use serde::Serialize;

use super::results::Accuracy;
use super::work::Difference;

/// The table, as `table.json` has it.
#[derive(Debug, Serialize)]
pub struct Table {
    /// The budget's name.
    pub budget: String,
    /// Which checkpoint counts, `best` or `last`.
    pub checkpoint: String,
    /// What `ours` is measured on: the split that stands for novel classes.
    pub split: String,
    /// A row a cell.
    pub cells: Vec<Row>,
    /// A row for each cell with a negative margin.
    pub margins: Vec<Margin>,
}

/// A cell of the paper's table.
#[derive(Debug, Serialize)]
pub struct Row {
    /// Base and novel classes' origin.
    pub dataset: &'static str,
    /// The classifier.
    pub method: &'static str,
    /// Support images a class.
    pub shot: usize,
    /// The margin of training.
    pub margin: f64,
    /// As published, at the paper's size.
    pub published: Accuracy,
    /// Ours: mean over seeds of means over episodes.
    pub ours: Option<Accuracy>,
    /// Ours minus published.
    pub difference: Option<f64>,
    /// Each seed's run.
    pub runs: Vec<Run>,
    /// Why there is no figure, or none of all seeds.
    pub problem: Option<String>,
}

/// One finished training as a cell sees it.
#[derive(Debug, Serialize)]
pub struct Run {
    /// Its seed.
    pub seed: u64,
    /// What it reaches.
    pub accuracy: Accuracy,
    /// Wall time of training and evaluation.
    pub seconds: f64,
    /// Where it was computed.
    pub device: String,
    /// What was built.
    pub commit: String,
    /// Its configuration.
    pub config_sha256: String,
    /// Its folder.
    pub folder: PathBuf,
}

/// A negative margin against none, on the same episodes.
#[derive(Debug, Serialize)]
pub struct Margin {
    /// The dataset.
    pub dataset: &'static str,
    /// The classifier with a negative margin.
    pub method: &'static str,
    /// The one without.
    pub without: &'static str,
    /// Support images a class.
    pub shot: usize,
    /// As published: the difference of the figures.
    pub published: f64,
    /// Ours: paired, mean over seeds.
    pub ours: Option<Difference>,
    /// Each seed's.
    pub seeds: Vec<Difference>,
}

/// What a difference says at the level of its interval.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Verdict {
    Helped,
    Hurt,
    Undecided,
}

/// The mean of means, with the mean half width.
fn average(values: impl ExactSizeIterator<Item = (f64, f64)>) -> Option<(f64, f64)> {
    let count = values.len() as f64;
    let (mean, ci95) = values.fold((0.0, 0.0), |sum, value| (sum.0 + value.0, sum.1 + value.1));
    (count > 0.0).then_some((mean / count, ci95 / count))
}

/// The mean over seeds.
pub fn accuracy(runs: &[Run]) -> Option<Accuracy> {
    average(runs.iter().map(|run| (run.accuracy.mean, run.accuracy.ci95)))
        .map(|(mean, ci95)| Accuracy { mean, ci95 })
}

/// The mean over seeds.
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

    /// The lowest and the highest seed, where there are several.
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

    /// Of the first seed; they are all of one kind unless something changed in between.
    fn origin(&self) -> (&str, &str) {
        let first = self.runs.first();
        first.map_or(("–", "–"), |run| (&run.device, &run.commit[..run.commit.len().min(12)]))
    }
}

impl Table {
    /// For readers.
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
            // What a program said does not get to end the row.
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

    /// One sentence on whether a negative margin helped.
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

    /// For spreadsheets: a line a cell.
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
        let bytes = writer.into_inner().map_err(|e| csv::Error::from(e.into_error()))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}
