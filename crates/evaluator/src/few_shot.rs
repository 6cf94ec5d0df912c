//! Few-shot accuracy: adapts a head to the support set of each episode.

use std::collections::BTreeMap;

use candle_core::Device;
use fewshot_data::Dataset;
use fewshot_episodes::{Accuracy, FeatureBank, Head, PairedDifference, evaluate};
use fewshot_experiment::{Config, Error, Model, Progress, sampler};
use serde::{Deserialize, Serialize};

use crate::{episode_features, feature_mean};

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

/// Evaluates `head` on `episodes` episodes of `shot` support images per class. On a GPU the head's
/// GPU implementation is used, if it has one.
///
/// # Errors
/// If classes or images do not suffice, or the head fails.
pub fn few_shot(
    config: &Config,
    bank: &FeatureBank,
    head: &dyn Head,
    shot: usize,
    episodes: usize,
    device: &Device,
) -> Result<Accuracy, Error> {
    let sampler = sampler(config, bank.labels(), shot)?;
    let progress = Progress::new(format!("{shot}-shot"), episodes, "episodes");
    let advance = |count| progress.advance(count, String::new);
    let seed = config.test.seed;
    let accuracy = match device {
        #[cfg(feature = "cuda")]
        Device::Cuda(_) => fewshot_episodes::evaluate_on_gpu(
            device, bank, &sampler, head, episodes, seed, &advance,
        ),
        _ => evaluate(bank, &sampler, head, episodes, seed, &|| advance(1)),
    };
    Ok(accuracy?)
}

/// Extracts the features of a split and evaluates the configuration's head on them, for every
/// number of shots.
///
/// # Errors
/// If images cannot be read, or classes or images do not suffice.
pub fn evaluate_split(
    config: &Config,
    model: &Model,
    dataset: &Dataset,
    device: &Device,
) -> Result<SplitResults, Error> {
    let mean = feature_mean(config, model, device)?;
    let bank = episode_features(config, model, dataset, mean.as_deref(), device)?;
    evaluate_bank(config, &bank, &*config.test.head, device)
}

/// Evaluates `head` on features, for every number of shots.
///
/// # Errors
/// If classes or images do not suffice, or the head fails.
pub fn evaluate_bank(
    config: &Config,
    bank: &FeatureBank,
    head: &dyn Head,
    device: &Device,
) -> Result<SplitResults, Error> {
    let result = |&shot: &usize| {
        let accuracy = few_shot(config, bank, head, shot, config.test.episodes, device)?;
        Ok((shot, ShotResult::new(head.name(), accuracy)))
    };
    config.test.shots.iter().map(result).collect()
}
