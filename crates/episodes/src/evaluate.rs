use fewshot_seed::stream;
use rayon::prelude::*;

use crate::{Accuracy, Episode, Error, FeatureBank, Head, Sampler, Support};

/// Fits `head` to each of the first `episodes` of `sampler` and measures its accuracy on
/// their queries.
///
/// Episodes run on rayon's current thread pool, whose size does not change the result:
/// episode `n` draws from `stream(seed, "finetune", &[n])` alone. `on_episode` is called
/// after each episode, from the thread that did it.
///
/// # Errors
///
/// If `episodes` is 0, if `sampler` was made for other labels than those of `bank`, or if
/// fine-tuning fails as [`finetune::adapt`](crate::finetune::adapt) says.
pub fn evaluate(
    bank: &FeatureBank,
    sampler: &Sampler,
    head: &Head,
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

/// Whether episodes can be drawn.
pub(crate) fn check(bank: &FeatureBank, sampler: &Sampler, episodes: usize) -> Result<(), Error> {
    if episodes == 0 {
        return Err(Error::Parameter { what: "episodes", got: 0.0, expected: "at least 1" });
    }
    if !sampler.is_of(bank.labels()) {
        return Err(Error::OtherLabels);
    }
    Ok(())
}

/// The share of the episode's queries that `head` gets right.
fn accuracy(
    bank: &FeatureBank,
    episode: &Episode,
    head: &Head,
    rng: &mut impl rand::Rng,
) -> Result<f64, Error> {
    let fitted = support_of(bank, episode, |support| head.fit(support, rng))?;
    let query = episode.query.len() / episode.classes.len();
    let guesses = episode.query.iter().map(|&image| fitted.predict(bank.feature(image)));
    Ok(share_right(guesses.collect::<Result<Vec<_>, _>>()?, query))
}

/// What `fit` makes of an episode's support set.
pub(crate) fn support_of<T>(
    bank: &FeatureBank,
    episode: &Episode,
    fit: impl FnOnce(&Support) -> Result<T, Error>,
) -> Result<T, Error> {
    let way = episode.classes.len();
    let shot = episode.support.len() / way;
    let features: Vec<f32> =
        episode.support.iter().flat_map(|&image| bank.feature(image)).copied().collect();
    let labels: Vec<usize> = (0..way * shot).map(|row| row / shot).collect();
    fit(&Support::new(&features, bank.dim(), &labels, way)?)
}

/// The share of guesses that are right, of `query` for each class in turn.
pub(crate) fn share_right(
    guesses: impl IntoIterator<Item = usize, IntoIter: ExactSizeIterator>,
    query: usize,
) -> f64 {
    let guesses = guesses.into_iter();
    let count = guesses.len();
    let right = guesses.enumerate().filter(|&(row, guess)| guess == row / query).count();
    right as f64 / count as f64
}

/// The place of the largest score; the first one of several.
pub(crate) fn best(scores: &[f64]) -> usize {
    let better = |best, class| if scores[class] > scores[best] { class } else { best };
    (0..scores.len()).fold(0, better)
}
