//! Few-shot accuracy: adapts a head to the support set of each episode.

use std::collections::BTreeMap;

use candle_core::Device;
use fewshot_data::Dataset;
use fewshot_episodes::{Accuracy, FeatureBank, Head, PairedDifference, evaluate};
use fewshot_experiment::{Config, Error, Model, Progress, sampler};
use serde::{Deserialize, Serialize};

use crate::extract_features;

/// Accuracy over episodes with one number of shots.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct ShotResult {
    /// Name of the adaptation head.
    pub head: String,
    /// Mean accuracy, in percent.
    pub mean: f64,
    /// Half the width of the 95 % interval, in percent.
    pub ci95: f64,
    /// Number of episodes.
    pub episodes: usize,
    /// Accuracy of each episode, as a fraction; not part of the JSON.
    #[serde(skip)]
    pub per_episode: Vec<f64>,
}

impl ShotResult {
    fn new(head: &str, accuracy: Accuracy) -> Self {
        Self {
            head: head.to_owned(),
            mean: 100.0 * accuracy.mean,
            ci95: 100.0 * accuracy.ci95,
            episodes: accuracy.per_episode.len(),
            per_episode: accuracy.per_episode,
        }
    }
}

impl std::fmt::Display for ShotResult {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.2} ± {:.2}", self.mean, self.ci95)
    }
}

/// Accuracy on one split, by number of shots.
pub type SplitResults = BTreeMap<usize, ShotResult>;

/// Difference in accuracy of two checkpoints on the same episodes with one number of shots.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct ShotDifference {
    /// Mean over episodes of the first accuracy minus the second, in percentage points.
    pub mean: f64,
    /// Half the width of its 95 % interval, in percentage points.
    pub ci95: f64,
    /// Episodes in which the first is better.
    pub better: usize,
    /// Episodes in which both are equally good.
    pub equal: usize,
    /// Episodes in which the first is worse.
    pub worse: usize,
}

impl std::fmt::Display for ShotDifference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:+.2} ± {:.2}", self.mean, self.ci95)
    }
}

/// Differences in accuracy on one split, by number of shots.
pub type SplitDifferences = BTreeMap<usize, ShotDifference>;

/// Returns the paired differences, first minus second, of results on the same episodes.
///
/// # Errors
/// If the results differ in their numbers of shots or episodes.
pub fn compare(first: &SplitResults, second: &SplitResults) -> Result<SplitDifferences, Error> {
    let difference = |(&shot, result): (&usize, &ShotResult)| {
        let other = second.get(&shot).map_or(&[][..], |result| &result.per_episode);
        let PairedDifference { mean, ci95, better, equal, worse } =
            PairedDifference::new(&result.per_episode, other)?;
        let (mean, ci95) = (100.0 * mean, 100.0 * ci95);
        Ok((shot, ShotDifference { mean, ci95, better, equal, worse }))
    };
    first.iter().map(difference).collect()
}

/// The adaptation head that the configuration names.
pub fn head_of(config: &Config) -> Head {
    match config.test.head.as_str() {
        "prototype" => Head::Prototype,
        "nearest" => Head::NearestNeighbour,
        _ => Head::FineTune(config.test.finetune.clone()),
    }
}

/// Accuracy over `episodes` of `shot` support images a class. On a GPU classifiers are
/// fine-tuned there, those of many episodes at once; other heads stay on the CPU.
///
/// # Errors
/// Classes or images that do not suffice.
pub fn few_shot(
    config: &Config,
    bank: &FeatureBank,
    head: &Head,
    shot: usize,
    episodes: usize,
    device: &Device,
) -> Result<Accuracy, Error> {
    let sampler = sampler(config, bank.labels(), shot)?;
    let progress = Progress::new(format!("{shot}-shot"), episodes, "episodes");
    let seed = config.test.seed;
    let accuracy = match (device, head) {
        #[cfg(feature = "cuda")]
        (Device::Cuda(_), Head::FineTune(settings)) => {
            let on_episodes = |count| progress.advance(count, String::new);
            let sampler = &sampler;
            fewshot_episodes::evaluate_on_gpu(
                device,
                bank,
                sampler,
                settings,
                episodes,
                seed,
                &on_episodes,
            )
        }
        _ => evaluate(bank, &sampler, head, episodes, seed, &|| progress.advance(1, String::new)),
    };
    Ok(accuracy?)
}

/// Extracts the features of a split and evaluates every number of shots on them.
///
/// # Errors
/// Images that cannot be read; classes or images that do not suffice.
pub fn evaluate_split(
    config: &Config,
    model: &Model,
    dataset: &Dataset,
    device: &Device,
) -> Result<SplitResults, Error> {
    let bank = extract_features(config, model, dataset, device)?;
    evaluate_bank(config, &bank, &head_of(config), &config.test.head, device)
}

/// Evaluates every number of shots on features, with a head and its name.
///
/// # Errors
/// Classes or images that do not suffice.
pub fn evaluate_bank(
    config: &Config,
    bank: &FeatureBank,
    head: &Head,
    name: &str,
    device: &Device,
) -> Result<SplitResults, Error> {
    let result = |&shot: &usize| {
        let accuracy = few_shot(config, bank, head, shot, config.test.episodes, device)?;
        Ok((shot, ShotResult::new(name, accuracy)))
    };
    config.test.shots.iter().map(result).collect()
}
