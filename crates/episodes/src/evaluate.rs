use crate::{Accuracy, Episode, Error, FeatureBank, Head, Sampler, Support};
use fewshot_seed::stream;
use rayon::prelude::*;

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
    if episodes == 0 {
        return Err(Error::Parameter { what: "episodes", got: 0.0, expected: "at least 1" });
    }
    if !sampler.is_of(bank.labels()) {
        return Err(Error::OtherLabels);
    }
    let one = |n| {
        let mut rng = stream(seed, "finetune", &[n]);
        let accuracy = accuracy(bank, &sampler.episode(n), head, &mut rng);
        on_episode();
        accuracy
    };
    let per_episode = (0..episodes as u64).into_par_iter().map(one).collect::<Result<_, _>>()?;
    Ok(Accuracy::from_episodes(per_episode))
}

/// The share of the episode's queries that `head` gets right.
fn accuracy(
    bank: &FeatureBank,
    episode: &Episode,
    head: &Head,
    rng: &mut impl rand::Rng,
) -> Result<f64, Error> {
    let way = episode.classes.len();
    let (shot, query) = (episode.support.len() / way, episode.query.len() / way);
    let features: Vec<f32> =
        episode.support.iter().flat_map(|&image| bank.feature(image)).copied().collect();
    let labels: Vec<usize> = (0..way * shot).map(|row| row / shot).collect();
    let fitted = head.fit(&Support::new(&features, bank.dim(), &labels, way)?, rng)?;
    let mut right = 0;
    for (row, &image) in episode.query.iter().enumerate() {
        right += usize::from(fitted.predict(bank.feature(image))? == row / query);
    }
    Ok(right as f64 / episode.query.len() as f64)
}
