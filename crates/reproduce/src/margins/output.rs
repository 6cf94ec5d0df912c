//! The curves as text, CSV, JSON, figures and an HTML page.

use std::collections::BTreeSet;
use std::path::Path;

use evaluator::analysis::accuracy_measure;
use fewshot_figures::{Chart, Marker, Page, Series};
use serde::Serialize;

use super::statistics::{Point, SeedValue};
use crate::files::{csv_text, save_chart, write};

/// Number of shots of the paper's figures.
const SHOTS: [usize; 2] = [1, 5];
/// Measures of section 4 of the paper.
const SECTION_4: [&str; 8] = [
    "discriminability",
    "D_inter",
    "D_intra",
    "cosine to the class mean",
    "cosine of two class means",
    "entropy of P(j, k) (bits)",
    "base classes of 90 %",
    "largest P(j, k)",
];
const TRAINED: &str = "accuracy of the trained classifier (%)";

/// What the command found: the content of `margins.json`.
#[derive(Debug, Serialize)]
pub struct Output {
    /// Name of the budget.
    pub budget: String,
    /// Checkpoint that is analysed, `best` or `last`.
    pub checkpoint: String,
    /// Names of the adaptation heads.
    pub heads: Vec<String>,
    /// Every measure of every margin.
    pub points: Vec<Point>,
    /// Trainings that are not done.
    pub missing: Vec<String>,
}

/// Measures that a page shows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Subject {
    /// Accuracy and discriminability over the margin: the paper's first figure.
    Margins,
    /// Section 4 of the paper: discriminability and peaks.
    Analysis,
}

impl Subject {
    /// Returns the name of the files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Margins => "margins",
            Self::Analysis => "analysis",
        }
    }
}

impl Output {
    /// Writes text, CSV, JSON, figures and page into `out`; returns the text.
    ///
    /// # Errors
    /// A folder that cannot be written to; a figure that cannot be drawn.
    pub fn write(&self, subject: Subject, out: &Path) -> Result<String, String> {
        let name = subject.name();
        let text = self.to_markdown(subject);
        let json = serde_json::to_string_pretty(self).map_err(|e| e.to_string())?;
        let csv = self.to_csv().map_err(|e| e.to_string())?;
        let page = self.page(subject, out)?;
        let files = [("md", &text), ("json", &json), ("csv", &csv), ("html", &page)];
        for (ending, content) in files {
            write(&out.join(format!("{name}.{ending}")), content.as_bytes())?;
        }
        Ok(text)
    }

    fn curves(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        for point in &self.points {
            if !names.contains(&point.curve.as_str()) {
                names.push(&point.curve);
            }
        }
        names
    }

    /// Returns the margins of a curve, in order.
    fn margins(&self, curve: &str) -> Vec<f64> {
        let of_curve = self.points.iter().filter(|point| point.curve == curve);
        let mut margins: Vec<f64> = of_curve.map(|point| point.margin).collect();
        margins.sort_by(f64::total_cmp);
        margins.dedup();
        margins
    }

    fn point(&self, curve: &str, margin: f64, split: &str, measure: &str) -> Option<&Point> {
        self.points.iter().find(|point| {
            point.curve == curve
                && point.margin == margin
                && point.split == split
                && point.measure == measure
        })
    }

    /// Returns the split of base classes and that of unseen ones that results are about: held-out
    /// images rather than those trained on, novel classes rather than validation classes.
    fn splits(&self, curve: &str) -> (&'static str, &'static str) {
        let has = |split| self.points.iter().any(|p| p.curve == curve && p.split == split);
        (
            if has("base-val") { "base-val" } else { "base" },
            if has("novel") { "novel" } else { "val" },
        )
    }

    /// Formats tables and a sentence for each curve and head.
    fn to_markdown(&self, subject: Subject) -> String {
        let mut text = format!(
            "Budget {}, {} checkpoint. Mean over seeds ± 95 % interval over seeds (Student's t).\n",
            self.budget, self.checkpoint
        );
        for curve in self.curves() {
            text += &format!("\n## {curve}\n\n");
            let table = self.table(curve, subject);
            let rule = "|---".repeat(table.0.len());
            text += &format!("| {} |\n{rule}|\n", table.0.join(" | "));
            for row in &table.1 {
                text += &format!("| {} |\n", row.join(" | "));
            }
            text += "\n";
            for sentence in self.sentences(curve) {
                text += &format!("- {sentence}\n");
            }
        }
        if !self.missing.is_empty() {
            text += &format!("\nNot done: {}.\n", self.missing.join(", "));
        }
        text
    }

    /// Returns head and rows of a curve's table: a row for each margin.
    fn table(&self, curve: &str, subject: Subject) -> (Vec<String>, Vec<Vec<String>>) {
        let (base, unseen) = self.splits(curve);
        let mut columns: Vec<(&str, String, usize)> = vec![("base", TRAINED.to_owned(), 2)];
        match subject {
            Subject::Margins => {
                for head in &self.heads {
                    for shot in SHOTS {
                        let measure = accuracy_measure(head, shot);
                        columns.extend([(base, measure.clone(), 2), (unseen, measure, 2)]);
                    }
                }
                columns.extend([base, unseen].map(|split| (split, SECTION_4[0].to_owned(), 3)));
            }
            Subject::Analysis => {
                for measure in SECTION_4 {
                    columns.extend([base, unseen].map(|split| (split, measure.to_owned(), 3)));
                }
            }
        }
        columns.retain(|(split, measure, _)| {
            self.margins(curve).iter().any(|&m| self.point(curve, m, split, measure).is_some())
        });
        let titles = columns.iter().map(|(split, measure, _)| format!("{split}: {measure}"));
        let head = ["margin".to_owned(), "seeds".to_owned()].into_iter().chain(titles).collect();
        let row = |&margin: &f64| {
            let seeds: BTreeSet<u64> = self
                .points
                .iter()
                .filter(|point| point.curve == curve && point.margin == margin)
                .flat_map(|point| point.seeds.iter().map(|seed| seed.seed))
                .collect();
            let cells = columns.iter().map(|(split, measure, decimals)| {
                let point = self.point(curve, margin, split, measure);
                point.map_or("-".to_owned(), |point| point.value.show(*decimals, false))
            });
            [margin.to_string(), seeds.len().to_string()].into_iter().chain(cells).collect()
        };
        (head, self.margins(curve).iter().map(row).collect())
    }

    /// Says for each head and number of shots which margin is best and by how much.
    fn sentences(&self, curve: &str) -> Vec<String> {
        let (base, unseen) = self.splits(curve);
        let mut sentences = Vec::new();
        for head in &self.heads {
            for shot in SHOTS {
                let measure = accuracy_measure(head, shot);
                let of = |margin: &f64| self.point(curve, *margin, unseen, &measure);
                let best = self
                    .margins(curve)
                    .iter()
                    .filter_map(of)
                    .filter(|point| point.difference.is_some())
                    .max_by(|a, b| a.value.mean.total_cmp(&b.value.mean));
                let Some((best, gain)) = best.and_then(|best| Some((best, best.difference?)))
                else {
                    continue;
                };
                let verdict = match gain.ci95 {
                    None => "one seed, so that nothing is known of others",
                    Some(ci95) if gain.mean > ci95 => "helps",
                    Some(ci95) if gain.mean < -ci95 => "hurts",
                    Some(_) => "undecided: the interval over seeds holds zero",
                };
                let cost = self
                    .point(curve, best.margin, base, &measure)
                    .and_then(|point| point.difference)
                    .map_or(String::new(), |d| format!("; on {base} {} points", d.show(2, true)));
                sentences.push(format!(
                    "{head} head, {shot}-shot: the best margin but 0 is {}, {} points against margin \
                     0 on {unseen} classes over {} seeds{cost} ({verdict})",
                    best.margin,
                    gain.show(2, true),
                    best.seeds.len(),
                ));
            }
        }
        sentences
    }

    /// Draws a measure of a curve over the margin: seeds as points, means as lines.
    fn chart(&self, curve: &str, title: &str, unit: &str, measure: &str) -> Option<Chart> {
        let (base, unseen) = self.splits(curve);
        let mut chart = Chart::new(format!("{title}, {curve}"), "margin", unit);
        let splits = [(base, "base classes, held-out images"), (unseen, "unseen classes")];
        for ((split, name), marker) in splits.into_iter().zip([Marker::Circle, Marker::Triangle]) {
            let name = if split == "base" { "base classes, trained images" } else { name };
            let points: Vec<&Point> = self
                .margins(curve)
                .into_iter()
                .filter_map(|margin| self.point(curve, margin, split, measure))
                .collect();
            if points.is_empty() {
                continue;
            }
            let of_seeds = |point: &&Point| {
                let margin = point.margin;
                point
                    .seeds
                    .iter()
                    .map(move |seed: &SeedValue| (margin, seed.value))
                    .collect::<Vec<_>>()
            };
            let interval = |point: &&Point| {
                let (mean, ci95) = (point.value.mean, point.value.ci95?);
                Some((point.margin, mean - ci95, mean + ci95))
            };
            chart.series.push(Series {
                points: points.iter().flat_map(of_seeds).collect(),
                intervals: points.iter().filter_map(interval).collect(),
                marker,
                ..Series::line(name, points.iter().map(|p| (p.margin, p.value.mean)).collect())
            });
        }
        (!chart.series.is_empty()).then_some(chart)
    }

    /// Returns the charts of a curve with the names of their files.
    fn charts(&self, curve: &str, subject: Subject) -> Vec<(String, Chart)> {
        let mut wanted = Vec::new();
        if subject == Subject::Margins {
            for head in &self.heads {
                for shot in SHOTS {
                    let title = format!("{shot}-shot accuracy, {head} head");
                    let file = format!("{head}-{shot}shot");
                    wanted.push((file, title, "accuracy (%)", accuracy_measure(head, shot)));
                }
            }
        }
        let section_4 = match subject {
            Subject::Margins => &SECTION_4[..1],
            Subject::Analysis => &SECTION_4[..],
        };
        for measure in section_4 {
            let letters = measure.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' });
            wanted.push((letters.collect(), (*measure).to_owned(), measure, (*measure).to_owned()));
        }
        wanted
            .into_iter()
            .filter_map(|(file, title, unit, measure)| {
                let chart = self.chart(curve, &title, unit, &measure)?;
                Some((format!("{curve}-{file}"), chart))
            })
            .collect()
    }

    /// Writes the figures into `out`, and returns the page that holds them.
    fn page(&self, subject: Subject, out: &Path) -> Result<String, String> {
        let title = match subject {
            Subject::Margins => "Accuracy over the margin",
            Subject::Analysis => "Features over the margin",
        };
        let mut page = Page::new(title);
        page.paragraph(&format!(
            "Budget {}, {} checkpoint. Points are seeds, lines their means, bars the 95 % interval over \
             seeds (Student's t).",
            self.budget, self.checkpoint
        ));
        for curve in self.curves() {
            page.heading(curve);
            let (columns, rows) = self.table(curve, subject);
            page.table(&columns, &rows);
            for sentence in self.sentences(curve) {
                page.paragraph(&sentence);
            }
            for (name, chart) in self.charts(curve, subject) {
                let svg = save_chart(&chart, out, &name)?;
                page.figure(&svg, &format!("{name}.svg, {name}.png"));
            }
        }
        if !self.missing.is_empty() {
            page.paragraph(&format!("Not done: {}.", self.missing.join(", ")));
        }
        Ok(page.finish())
    }

    /// Formats every measure of every training, a line each.
    fn to_csv(&self) -> Result<String, csv::Error> {
        let mut writer = csv::Writer::from_writer(Vec::new());
        writer.write_record([
            "curve",
            "margin",
            "split",
            "measure",
            "seed",
            "value",
            "ci95",
            "difference",
            "difference_ci95",
        ])?;
        let number = |value: Option<f64>| value.map_or(String::new(), |value| value.to_string());
        for Point { curve, margin, split, measure, seeds, .. } in &self.points {
            for seed in seeds {
                writer.write_record([
                    curve,
                    &margin.to_string(),
                    split,
                    measure,
                    &seed.seed.to_string(),
                    &seed.value.to_string(),
                    &number(seed.ci95),
                    &number(seed.difference),
                    &number(seed.difference_ci95),
                ])?;
            }
        }
        csv_text(writer)
    }
}
