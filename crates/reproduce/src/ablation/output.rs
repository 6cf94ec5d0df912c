//! The table of an ablation as text, CSV and JSON.

use std::path::Path;

use serde::Serialize;

use super::recipe::Recipes;
use crate::files::{csv_text, write};
use crate::margins::{SeedValue, Summary};

/// Accuracy of a variant at one margin, with one head and number of shots.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// Name of the variant.
    pub variant: String,
    /// Margin in training.
    pub margin: f64,
    /// Name of the adaptation head.
    pub head: String,
    /// Support images a class.
    pub shot: usize,
    /// Accuracy of each seed's training.
    pub seeds: Vec<SeedValue>,
    /// Over seeds.
    pub value: Summary,
    /// Difference from the first variant with margin 0, over seeds; none of that itself.
    pub difference: Option<Summary>,
}

/// What the command found: the content of `ablation.json`.
#[derive(Debug, Serialize)]
pub struct Output {
    /// Name of the budget.
    pub budget: String,
    /// Classes that episodes are drawn from.
    pub split: String,
    /// Episodes for each number of shots.
    pub episodes: usize,
    /// Every variant, margin, head and number of shots.
    pub rows: Vec<Row>,
    /// Trainings that are not done.
    pub missing: Vec<String>,
}

impl Output {
    /// Describes the rows of an ablation.
    pub fn new(recipes: &Recipes, rows: Vec<Row>, missing: Vec<String>) -> Self {
        Self {
            budget: recipes.name.clone(),
            split: recipes.split.to_string(),
            episodes: recipes.episodes,
            rows,
            missing,
        }
    }

    /// Writes text, CSV and JSON into `out`; returns the text.
    ///
    /// # Errors
    /// A folder that cannot be written to.
    pub fn write(&self, out: &Path) -> Result<String, String> {
        let text = self.to_markdown();
        let json = serde_json::to_string_pretty(self).map_err(|e| e.to_string())?;
        let csv = self.to_csv().map_err(|e| e.to_string())?;
        for (ending, content) in [("md", &text), ("json", &json), ("csv", &csv)] {
            write(&out.join(format!("ablation.{ending}")), content.as_bytes())?;
        }
        Ok(text)
    }

    /// Formats a table for each head, a row for each variant and margin.
    fn to_markdown(&self) -> String {
        let mut heads: Vec<&str> = self.rows.iter().map(|row| row.head.as_str()).collect();
        heads.sort_unstable();
        heads.dedup();
        let mut text = format!(
            "Budget {}, {} classes, {} episodes. Mean over seeds ± 95 % interval over seeds (Student's t); \
             differences from the first row, on the same episodes; in brackets the mean interval over \
             episodes.\n",
            self.budget, self.split, self.episodes
        );
        for head in heads {
            let rows: Vec<&Row> = self.rows.iter().filter(|row| row.head == head).collect();
            let mut shots: Vec<usize> = rows.iter().map(|row| row.shot).collect();
            shots.sort_unstable();
            shots.dedup();
            text += &format!("\n## {head}\n\n| variant | margin | seeds |");
            shots.iter().for_each(|shot| text += &format!(" {shot}-shot | difference |"));
            text += &format!("\n|---|---|---|{}\n", "---|---|".repeat(shots.len()));
            for row in rows.iter().filter(|row| Some(&row.shot) == shots.first()) {
                text += &format!("| {} | {} | {} |", row.variant, row.margin, row.seeds.len());
                for shot in &shots {
                    let same = |other: &&&Row| {
                        other.shot == *shot
                            && other.variant == row.variant
                            && other.margin == row.margin
                    };
                    let Some(row) = rows.iter().find(same) else { continue };
                    let difference = row.difference.map_or_else(String::new, |difference| {
                        let cis: Vec<f64> =
                            row.seeds.iter().filter_map(|seed| seed.difference_ci95).collect();
                        let mean = cis.iter().sum::<f64>() / cis.len().max(1) as f64;
                        format!("{} (± {mean:.2})", difference.show(2, true))
                    });
                    text += &format!(" {} | {difference} |", row.value.show(2, false));
                }
                text.push('\n');
            }
        }
        if !self.missing.is_empty() {
            text += &format!("\nNot done: {}.\n", self.missing.join(", "));
        }
        text
    }

    fn to_csv(&self) -> Result<String, csv::Error> {
        let mut writer = csv::Writer::from_writer(Vec::new());
        writer.write_record([
            "variant",
            "margin",
            "head",
            "shot",
            "seed",
            "accuracy",
            "ci95",
            "difference",
            "difference_ci95",
        ])?;
        for row in &self.rows {
            for seed in &row.seeds {
                let number = |value: Option<f64>| value.map_or_else(String::new, |v| v.to_string());
                writer.write_record([
                    row.variant.clone(),
                    row.margin.to_string(),
                    row.head.clone(),
                    row.shot.to_string(),
                    seed.seed.to_string(),
                    seed.value.to_string(),
                    number(seed.ci95),
                    number(seed.difference),
                    number(seed.difference_ci95),
                ])?;
            }
        }
        csv_text(writer)
    }
}
