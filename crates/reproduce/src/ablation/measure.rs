//! Accuracy of a variant, and its difference from the first one's on the same episodes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use evaluator::{Candidate, SplitResults, compare, evaluate_bank};
use fewshot_experiment::{RawConfig, device, open_split};

use super::output::Row;
use super::recipe::{Recipes, Variant};
use crate::margins::{SeedValue, Summary};
use crate::plan::State;

/// Results of a variant at one margin.
pub struct Measured {
    variant: String,
    margin: f64,
    /// By seed and head; an ensemble has one seed.
    results: BTreeMap<u64, BTreeMap<String, SplitResults>>,
    /// Differences from the first variant, mean and half interval, by seed, head and number of shots.
    differences: BTreeMap<(u64, String, usize), (f64, f64)>,
}

/// Evaluates the finished trainings of a variant; adds the names of the others to `missing`. Returns
/// nothing if none is finished.
///
/// # Errors
/// A checkpoint or images that cannot be read.
pub fn measure(
    recipes: &Recipes,
    variant: &Variant,
    margin: f64,
    out: &Path,
    baseline: Option<&Measured>,
    missing: &mut Vec<String>,
) -> Result<Option<Measured>, String> {
    let mut finished = Vec::new();
    for seed in 0..recipes.seeds {
        let training = recipes.training(variant, margin, seed, out)?;
        match training.state() {
            State::Done(_) => finished.push((seed, training.folder.join(&variant.checkpoint))),
            _ if missing.contains(&training.name) => {}
            _ => missing.push(training.name),
        }
    }
    if finished.is_empty() || (variant.ensemble && finished.len() < recipes.seeds as usize) {
        return Ok(None);
    }
    let mut results = BTreeMap::new();
    if variant.ensemble {
        let paths: Vec<&PathBuf> = finished.iter().map(|(_, path)| path).collect();
        results.insert(0, evaluate(recipes, variant, &paths)?);
    } else {
        for (seed, path) in &finished {
            results.insert(*seed, evaluate(recipes, variant, &[path])?);
        }
    }
    let mut measured =
        Measured { variant: variant.name.clone(), margin, results, differences: BTreeMap::new() };
    if let Some(baseline) = baseline {
        measured.subtract(baseline, variant.ensemble)?;
    }
    Ok(Some(measured))
}

/// Evaluates networks as one, with every head.
fn evaluate(
    recipes: &Recipes,
    variant: &Variant,
    paths: &[&PathBuf],
) -> Result<BTreeMap<String, SplitResults>, String> {
    let text = |e: fewshot_experiment::Error| e.to_string();
    let mut overrides = RawConfig::default();
    overrides.set(&format!("test.episodes={}", recipes.episodes)).map_err(text)?;
    overrides.overlay(&variant.evaluation);
    let read = |path: &PathBuf| Candidate::read(path, path.clone(), &overrides, |_| ());
    let mut networks = paths.iter().map(|path| read(path)).collect::<Result<Vec<_>, _>>();
    let networks = networks.as_mut().map_err(|e| e.to_string())?;
    let mut first = networks.remove(0);
    first.ensemble = std::mem::take(networks);
    let dataset = open_split(&first.config.split(recipes.split)).map_err(text)?;
    let bank = first.features(&dataset).map_err(text)?;
    let device = device(&first.config).map_err(text)?;
    let mut results = BTreeMap::new();
    for head in &recipes.heads {
        let mut raw = first.raw.clone();
        raw.set(&format!("test.head={}", head.name())).map_err(text)?;
        let config = raw.check().map_err(text)?;
        let of_head = evaluate_bank(&config, &bank, &*config.test.head, &device).map_err(text)?;
        results.insert(head.name().to_owned(), of_head);
    }
    Ok(results)
}

impl Measured {
    /// Compares each seed with the first variant's of the same seed, and an ensemble with the mean over
    /// its seeds, on the same episodes.
    fn subtract(&mut self, baseline: &Self, is_ensemble: bool) -> Result<(), String> {
        for (&seed, heads) in &self.results {
            for (head, results) in heads {
                let other = match is_ensemble {
                    true => baseline.mean(head),
                    false => baseline.results.get(&seed).and_then(|heads| heads.get(head)).cloned(),
                };
                let Some(other) = other else { continue };
                for (shot, difference) in compare(results, &other).map_err(|e| e.to_string())? {
                    let both = (difference.mean, difference.ci95);
                    self.differences.insert((seed, head.clone(), shot), both);
                }
            }
        }
        Ok(())
    }

    /// The mean accuracy of all seeds in each episode.
    fn mean(&self, head: &str) -> Option<SplitResults> {
        let all: Vec<&SplitResults> =
            self.results.values().filter_map(|heads| heads.get(head)).collect();
        let mut mean = (*all.first()?).clone();
        for (shot, result) in &mut mean {
            for (episode, accuracy) in result.per_episode.iter_mut().enumerate() {
                let sum: f64 = all.iter().map(|results| results[shot].per_episode[episode]).sum();
                *accuracy = sum / all.len() as f64;
            }
        }
        Some(mean)
    }

    /// Returns a row for each head and number of shots.
    pub fn rows(&self) -> Vec<Row> {
        let Some(first) = self.results.values().next() else { return Vec::new() };
        let pairs =
            first.iter().flat_map(|(head, results)| results.keys().map(move |s| (head, *s)));
        pairs.filter_map(|(head, shot)| self.row(head, shot)).collect()
    }

    fn row(&self, head: &str, shot: usize) -> Option<Row> {
        let seed_value = |(&seed, heads): (&u64, &BTreeMap<String, SplitResults>)| {
            let result = heads.get(head)?.get(&shot)?;
            let difference = self.differences.get(&(seed, head.to_owned(), shot));
            Some(SeedValue {
                seed,
                value: result.mean,
                ci95: Some(result.ci95),
                difference: difference.map(|both| both.0),
                difference_ci95: difference.map(|both| both.1),
            })
        };
        let seeds: Vec<SeedValue> = self.results.iter().filter_map(seed_value).collect();
        let values: Vec<f64> = seeds.iter().map(|seed| seed.value).collect();
        let differences: Vec<f64> = seeds.iter().filter_map(|seed| seed.difference).collect();
        Some(Row {
            variant: self.variant.clone(),
            margin: self.margin,
            head: head.to_owned(),
            shot,
            value: Summary::new(&values)?,
            difference: Summary::new(&differences),
            seeds,
        })
    }
}
