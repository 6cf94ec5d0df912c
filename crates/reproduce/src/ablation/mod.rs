//! What each part of a recipe adds: trainings and evaluations that differ in one thing each.

mod measure;
mod output;
mod recipe;

use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

use fewshot_progress::{Progress, say};

use self::measure::measure;
use self::output::Output;
use self::recipe::Recipes;
use crate::Outcome;
use crate::grid_command::GridOptions;

/// Command line of `cargo xtask reproduce ablation`.
#[derive(clap::Args)]
pub struct Ablation {
    /// An ablation of configs/budgets (ablation-cub, ablation-gpu, ablation-mini-imagenet, ablation-tiny), or a file
    /// that ends in .toml
    #[arg(long, value_name = "BUDGET", default_value = "ablation-cub")]
    budget: String,
    #[command(flatten)]
    grid: GridOptions,
}

impl Ablation {
    /// Runs the command.
    pub(crate) fn run(&self) -> ExitCode {
        crate::exit(self.reproduce())
    }

    fn reproduce(&self) -> Result<Outcome, String> {
        let mut recipes = Recipes::read(&self.budget)?;
        recipes.seeds = self.grid.seeds.map_or(recipes.seeds, |seeds| recipes.seeds.min(seeds));
        self.grid.run(
            &recipes.name,
            |out| recipes.trainings(out),
            |out, stop| evaluate(&recipes, out, stop),
        )
    }
}

/// Evaluates all variants of which trainings are finished, and writes the table, unless stopped.
fn evaluate(recipes: &Recipes, out: &Path, stop: &AtomicBool) -> Result<(), String> {
    let count = recipes.variants.len() * recipes.margins.len();
    let progress = Progress::new("evaluations", count, "variants");
    let (mut rows, mut missing) = (Vec::new(), Vec::new());
    let mut baseline = None;
    for variant in &recipes.variants {
        for &margin in &recipes.margins {
            if stop.load(Ordering::Relaxed) {
                return Ok(());
            }
            let found = measure(recipes, variant, margin, out, baseline.as_ref(), &mut missing)?;
            if let Some(found) = found {
                rows.extend(found.rows());
                baseline.get_or_insert(found);
            }
            progress.advance(1, || variant.name.clone());
        }
    }
    drop(progress);
    if rows.is_empty() {
        return Err(format!("{}: no training of it is finished", out.display()));
    }
    let output = Output::new(recipes, rows, missing);
    say(format_args!("\n{}", output.write(out)?));
    say(format_args!("written: {0}/ablation.md, .csv, .json", out.display()));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train;

    /// Variants of a second each, trained by the programs beside this test.
    #[test]
    fn a_tiny_ablation_is_trained_evaluated_and_tabulated() {
        let programs = crate::tests::programs();
        let out = tempfile::tempdir().unwrap();
        let recipes = Recipes::read("ablation-tiny").unwrap();
        let trainings = recipes.trainings(out.path()).unwrap();
        let stop = AtomicBool::new(false);
        assert!(train(&trainings, &programs, &stop).is_empty());
        evaluate(&recipes, out.path(), &stop).unwrap();
        let json = std::fs::read_to_string(out.path().join("ablation.json")).unwrap();
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        let rows = json["rows"].as_array().unwrap();
        let row = |variant: &str, margin: f64| {
            let is_it = |row: &&serde_json::Value| {
                row["variant"] == variant && row["margin"] == margin && row["shot"] == 5
            };
            rows.iter().find(is_it).unwrap_or_else(|| panic!("{variant} {margin}: {json:#}"))
        };
        assert!(
            row("published", 0.0)["difference"].is_null(),
            "it is what others are compared with"
        );
        for (variant, margin) in
            [("published", -0.05), ("rotation", 0.0), ("taught", -0.05), ("centred", 0.0)]
        {
            let row = row(variant, margin);
            assert_eq!(row["seeds"].as_array().unwrap().len(), 2, "{row}");
            assert!(row["difference"]["mean"].is_f64() && row["value"]["ci95"].is_f64(), "{row}");
        }
        let ensemble = row("ensemble", 0.0);
        assert_eq!(ensemble["seeds"].as_array().unwrap().len(), 1, "{ensemble}");
        assert!(ensemble["seeds"][0]["difference_ci95"].is_f64(), "{ensemble}");
        let markdown = std::fs::read_to_string(out.path().join("ablation.md")).unwrap();
        assert!(markdown.contains("| rotation | -0.05 |"), "{markdown}");
    }
}
