//! Accuracy of a head over many episodes.

use fewshot_seed::stream;
use rand::RngCore;
use rayon::prelude::*;

use crate::{Accuracy, Episode, Error, FeatureBank, Head, Sampler, Support};

/// Fits `head` to each of the first `episodes` of `sampler` and measures its accuracy on
/// their queries.
///
/// Episodes run on rayon's current thread pool, whose size does not change the result: the head
/// draws from `stream(seed, "finetune", &[n])` in episode `n`. `on_episode` is called after each
/// episode, by the thread that evaluated it.
///
/// # Errors
///
/// If `episodes` is 0, if `sampler` was made for other labels than those of `bank`, or if the head
/// fails ([`Head::fit`]).
pub fn evaluate(
    bank: &FeatureBank,
    sampler: &Sampler,
    head: &dyn Head,
    episodes: usize,
    seed: u64,
    on_episode: &(dyn Fn() + Sync),
) -> Result<Accuracy, Error> {
    check(bank, sampler, episodes)?;
    let one = |n| {
        let mut rng = stream(seed, "finetune", &[n]);
        let accuracy = accuracy(bank, &sampler.episode(n), head, &mut rng);
        on_episode();
        accuracy
    };
    let per_episode = (0..episodes as u64).into_par_iter().map(one).collect::<Result<_, _>>()?;
    Ok(Accuracy::from_episodes(per_episode))
}

/// Evaluates `head` as [`evaluate`] does, on the GPU `device` if the head has a GPU implementation.
///
/// `on_episodes` receives a number of episodes that have been evaluated.
///
/// # Errors
///
/// Those of [`evaluate`], and [`Error::Gpu`].
#[cfg(feature = "cuda")]
pub fn evaluate_on_gpu(
    device: &candle_core::Device,
    bank: &FeatureBank,
    sampler: &Sampler,
    head: &dyn Head,
    episodes: usize,
    seed: u64,
    on_episodes: &(dyn Fn(usize) + Sync),
) -> Result<Accuracy, Error> {
    check(bank, sampler, episodes)?;
    // The GPU has one feature of each image.
    let on_gpu = (!bank.has_support_features())
        .then(|| head.evaluate_on_gpu(device, bank, sampler, episodes, seed, on_episodes));
    on_gpu
        .flatten()
        .unwrap_or_else(|| evaluate(bank, sampler, head, episodes, seed, &|| on_episodes(1)))
}

/// Checks that episodes can be drawn.
fn check(bank: &FeatureBank, sampler: &Sampler, episodes: usize) -> Result<(), Error> {
    if episodes == 0 {
        return Err(Error::Parameter { what: "episodes", got: 0.0, expected: "at least 1" });
    }
    if !sampler.is_of(bank.labels()) {
        return Err(Error::OtherLabels);
    }
    Ok(())
}

/// Fits `head` to the episode's support set and returns its accuracy on the queries.
fn accuracy(
    bank: &FeatureBank,
    episode: &Episode,
    head: &dyn Head,
    rng: &mut dyn RngCore,
) -> Result<f64, Error> {
    let classifier = support_of(bank, episode, |support| head.fit(support, rng))?;
    let queries = episode.query.len() / episode.classes.len();
    let predict = |&image: &usize| classifier.predict(bank.feature(image));
    let predictions = episode.query.iter().map(predict).collect::<Result<Vec<_>, _>>()?;
    Ok(accuracy_of(predictions, queries))
}

/// Calls `fit` with the support set of an episode.
pub(crate) fn support_of<T>(
    bank: &FeatureBank,
    episode: &Episode,
    fit: impl FnOnce(&Support) -> Result<T, Error>,
) -> Result<T, Error> {
    let way = episode.classes.len();
    let shot = episode.support.len() / way;
    let features: Vec<f32> =
        episode.support.iter().flat_map(|&image| bank.support_feature(image)).copied().collect();
    let labels: Vec<usize> = (0..way * shot).map(|row| row / shot).collect();
    fit(&Support::new(&features, bank.dim(), &labels, way)?)
}

/// Returns the share of `predictions` that are right, where the first `queries` are of class 0, the
/// next of class 1 and so on.
pub(crate) fn accuracy_of(
    predictions: impl IntoIterator<Item = usize, IntoIter: ExactSizeIterator>,
    queries: usize,
) -> f64 {
    let predictions = predictions.into_iter();
    let count = predictions.len();
    let is_correct = |&(row, class): &(usize, usize)| class == row / queries;
    let correct = predictions.enumerate().filter(is_correct).count();
    correct as f64 / count as f64
}
