//! Measures as a table: for a terminal, a page, or a CSV file.

use serde::Serialize;

use super::{Analysis, CheckpointAnalysis, SplitAnalysis};

/// One measure of one split, of every checkpoint.
#[derive(Clone, Debug, PartialEq)]
pub struct Measure {
    /// Name of the split.
    pub split: String,
    /// What is measured, with its unit.
    pub name: String,
    /// The value of each checkpoint, where it has the measure.
    pub values: Vec<Option<Value>>,
}

/// The value of a measure.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Value {
    /// The value; of accuracy the mean over episodes.
    pub value: f64,
    /// Half the width of the 95 % interval of accuracy.
    pub ci95: Option<f64>,
    /// Accuracy minus that of the first checkpoint on the same episodes, and half the width of the
    /// 95 % interval of that.
    pub difference: Option<(f64, f64)>,
}

/// Measures that are one number a split, with their names.
type Scalar = (&'static str, fn(&SplitAnalysis) -> Option<f64>);

const SCALARS: [Scalar; 12] = [
    ("images skipped as broken", |s| (s.skipped > 0).then_some(s.skipped as f64)),
    ("accuracy of the trained classifier (%)", |s| s.base_accuracy),
    ("discriminability", |s| Some(s.clusters?.discriminability)),
    ("D_inter", |s| Some(s.clusters?.between)),
    ("D_intra", |s| Some(s.clusters?.within)),
    ("cosine to the class mean", |s| Some(s.clusters?.cosine_to_mean)),
    ("cosine of two class means", |s| Some(s.clusters?.cosine_of_means)),
    ("norm", |s| Some(s.clusters?.norm)),
    ("spread of the norm", |s| Some(s.clusters?.norm_spread)),
    ("entropy of P(j, k) (bits)", |s| Some(s.peaks.as_ref()?.entropy)),
    ("base classes of 90 %", |s| Some(s.peaks.as_ref()?.classes_of_90_percent)),
    ("largest P(j, k)", |s| Some(s.peaks.as_ref()?.largest_share)),
];

/// Returns the name of the measure of accuracy with `shot` support images per class.
pub fn accuracy_measure(head: &str, shot: usize) -> String {
    format!("{shot}-shot, {head} head (%)")
}

impl Measure {
    /// Formats each checkpoint's value, and in a second line its difference from the first.
    pub(super) fn lines(&self) -> Vec<(String, Vec<String>)> {
        let cells = |cell: fn(&Value) -> Option<String>| {
            let cell = |value: &Option<Value>| value.as_ref().and_then(cell);
            self.values.iter().map(|value| cell(value).unwrap_or_else(|| "-".to_owned())).collect()
        };
        let mut lines = vec![(
            self.name.clone(),
            cells(|v| {
                Some(match v.ci95 {
                    Some(ci95) => format!("{:.2} ± {ci95:.2}", v.value),
                    None => format!("{:.3}", v.value),
                })
            }),
        )];
        if self.values.iter().flatten().any(|value| value.difference.is_some()) {
            let differences =
                cells(|v| v.difference.map(|(mean, ci95)| format!("{mean:+.2} ± {ci95:.2}")));
            lines.push(("  minus [1], same episodes".to_owned(), differences));
        }
        lines
    }
}

impl Analysis {
    /// Returns every measure that some checkpoint has, by split.
    pub fn measures(&self) -> Vec<Measure> {
        let mut measures = Vec::new();
        for split in self.split_names() {
            let splits: Vec<_> = self.checkpoints.iter().map(|c| c.split(&split)).collect();
            let mut add = |name: &str, value: &dyn Fn(&SplitAnalysis) -> Option<Value>| {
                let values: Vec<_> = splits.iter().map(|split| value((*split)?)).collect();
                if values.iter().any(Option::is_some) {
                    measures.push(Measure { split: split.clone(), name: name.to_owned(), values });
                }
            };
            for (name, get) in SCALARS {
                add(name, &|s| Some(Value { value: get(s)?, ci95: None, difference: None }));
            }
            for (head, shot) in self.heads_and_shots() {
                add(&accuracy_measure(&head, shot), &|s| {
                    let result = s.accuracy.get(&head)?.get(&shot)?;
                    let difference = s.difference.get(&head).and_then(|shots| shots.get(&shot));
                    let difference = difference.map(|d| (d.mean, d.ci95));
                    Some(Value { value: result.mean, ci95: Some(result.ci95), difference })
                });
            }
        }
        measures
    }

    /// Returns the names of the splits that some checkpoint has, in the order in which they are
    /// measured.
    pub(super) fn split_names(&self) -> Vec<String> {
        let splits = self.checkpoints.iter().flat_map(|checkpoint| &checkpoint.splits);
        distinct(splits.map(|split| split.split.clone()))
    }

    /// Returns every adaptation head with every number of shots that some result has.
    pub(super) fn heads_and_shots(&self) -> Vec<(String, usize)> {
        let splits = self.checkpoints.iter().flat_map(|checkpoint| &checkpoint.splits);
        distinct(
            splits
                .flat_map(|split| &split.accuracy)
                .flat_map(|(head, results)| results.keys().map(|&shot| (head.clone(), shot))),
        )
    }

    /// Formats the measures for a terminal, a column for each checkpoint.
    pub fn to_text(&self) -> String {
        let mut lines: Vec<String> = (1..)
            .zip(&self.checkpoints)
            .map(|(number, checkpoint)| {
                let CheckpointAnalysis { checkpoint: path, backbone, epoch, scale, run, .. } =
                    checkpoint;
                let (label, path) = (checkpoint.label(), path.display());
                format!("[{number}] {backbone}, {label}, scale {scale}, epoch {epoch}: {path}\n    {run}")
            })
            .collect();
        let measures = self.measures();
        let rows: Vec<_> = measures
            .iter()
            .flat_map(|m| m.lines().into_iter().map(|line| (&m.split, line)))
            .collect();
        let width = rows.iter().map(|(_, (name, _))| name.chars().count()).max().unwrap_or(0);
        for split in self.split_names() {
            let numbers = (1..=self.checkpoints.len()).map(|number| format!("[{number}]"));
            let row = |name: &str, cells: &mut dyn Iterator<Item = String>| {
                format!(
                    "{name:width$}{}",
                    cells.map(|cell| format!("{cell:>16}")).collect::<String>()
                )
            };
            lines.push(format!("\n{}", row(&split, &mut numbers.into_iter())));
            for (_, (name, cells)) in rows.iter().filter(|(of, _)| **of == split) {
                lines.push(row(name, &mut cells.iter().cloned()));
            }
        }
        lines.join("\n")
    }

    /// Formats the measures as CSV, a line for each measure of each split of each checkpoint.
    ///
    /// # Errors
    /// None for measures that were taken.
    pub fn to_csv(&self) -> Result<String, csv::Error> {
        let mut writer = csv::Writer::from_writer(Vec::new());
        for Measure { split, name, values } in self.measures() {
            for (checkpoint, value) in self.checkpoints.iter().zip(&values) {
                let Some(value) = value else { continue };
                let CheckpointAnalysis {
                    checkpoint, classifier, scale, margin, seed, epoch, ..
                } = checkpoint;
                writer.serialize(Line {
                    checkpoint: &checkpoint.to_string_lossy(),
                    classifier,
                    scale: *scale,
                    margin: *margin,
                    seed: *seed,
                    epoch: *epoch,
                    split: &split,
                    measure: &name,
                    value: value.value,
                    ci95: value.ci95,
                    difference: value.difference.map(|difference| difference.0),
                    difference_ci95: value.difference.map(|difference| difference.1),
                })?;
            }
        }
        let bytes = writer.into_inner().map_err(|error| error.into_error())?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

/// One line of the CSV file.
#[derive(Serialize)]
struct Line<'a> {
    checkpoint: &'a str,
    classifier: &'a str,
    scale: f64,
    margin: f64,
    seed: u64,
    epoch: usize,
    split: &'a str,
    measure: &'a str,
    value: f64,
    ci95: Option<f64>,
    difference: Option<f64>,
    difference_ci95: Option<f64>,
}

/// Returns each item once, in the order of their first appearance.
fn distinct<T: PartialEq>(items: impl Iterator<Item = T>) -> Vec<T> {
    items.fold(Vec::new(), |mut found, item| {
        if !found.contains(&item) {
            found.push(item);
        }
        found
    })
}
