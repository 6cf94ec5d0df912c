//! Mean accuracy over episodes, and differences in it, with their 95 % intervals.

use std::cmp::Ordering;

use crate::Error;

/// Accuracy over episodes, in fractions from 0 to 1.
#[derive(Clone, Debug, PartialEq)]
pub struct Accuracy {
    /// Mean over episodes.
    pub mean: f64,
    /// Half the width of the 95 % interval: the number after ± in the paper.
    pub ci95: f64,
    /// Accuracy of each episode, in order.
    pub per_episode: Vec<f64>,
}

impl Accuracy {
    /// Computes mean and interval of the given episodes; both are NaN if there are none.
    ///
    /// The interval is `1.96 σ / √n` with the population standard deviation σ, as in the
    /// published `main.py`.
    pub fn from_episodes(per_episode: Vec<f64>) -> Self {
        let (mean, ci95) = mean_and_ci95(&per_episode);
        Self { mean, ci95, per_episode }
    }
}

/// Difference in accuracy of two classifiers on the same episodes.
///
/// The difficulty of an episode affects both classifiers and cancels out, so that the interval is
/// narrower than those of the two accuracies.
#[derive(Clone, Debug, PartialEq)]
pub struct PairedDifference {
    /// Mean over episodes of the first accuracy minus the second, from -1 to 1.
    pub mean: f64,
    /// Half the width of the 95 % interval, `1.96 σ / √n` as for [`Accuracy`].
    pub ci95: f64,
    /// Number of episodes in which the first is better.
    pub better: usize,
    /// Number of episodes in which both are equally good.
    pub equal: usize,
    /// Number of episodes in which the first is worse.
    pub worse: usize,
}

impl PairedDifference {
    /// Compares accuracies, where those at the same index belong to the same episode.
    ///
    /// # Errors
    ///
    /// If the numbers of accuracies differ.
    pub fn new(first: &[f64], second: &[f64]) -> Result<Self, Error> {
        if first.len() != second.len() {
            let (expected, got) = (first.len(), second.len());
            return Err(Error::Length { what: "accuracies to compare", expected, got });
        }
        let pairs = || first.iter().zip(second);
        let (mean, ci95) = mean_and_ci95(&pairs().map(|(a, b)| a - b).collect::<Vec<_>>());
        let count = |order| pairs().filter(|(a, b)| a.partial_cmp(b) == Some(order)).count();
        let [better, equal, worse] =
            [Ordering::Greater, Ordering::Equal, Ordering::Less].map(count);
        Ok(Self { mean, ci95, better, equal, worse })
    }
}

/// Returns the mean of one value per episode, and half the width of its 95 % interval.
fn mean_and_ci95(values: &[f64]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / n;
    (mean, 1.96 * variance.sqrt() / n.sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interval_of_known_numbers() {
        // Deviations of 0.1 and 0.3, twice each: σ = √0.05.
        let accuracy = Accuracy::from_episodes(vec![0.2, 0.4, 0.6, 0.8]);
        assert!((accuracy.mean - 0.5).abs() < 1e-12);
        assert!((accuracy.ci95 - 1.96 * 0.05_f64.sqrt() / 2.0).abs() < 1e-12);
        assert_eq!(accuracy.per_episode.len(), 4);
    }

    #[test]
    fn one_episode_has_no_spread_and_none_no_mean() {
        let one = Accuracy::from_episodes(vec![0.7]);
        assert_eq!((one.mean, one.ci95), (0.7, 0.0));
        assert!(Accuracy::from_episodes(vec![]).mean.is_nan());
    }

    #[test]
    fn differences_of_known_numbers() {
        // Differences of 0.2, 0, 0 and -0.1 about 0.025: their squared deviations are
        // 0.030625, 0.000625 twice and 0.015625, which makes σ² = 0.011875.
        let difference =
            PairedDifference::new(&[0.5, 0.75, 0.25, 0.5], &[0.3, 0.75, 0.25, 0.6]).unwrap();
        assert!((difference.mean - 0.025).abs() < 1e-12);
        assert!((difference.ci95 - 1.96 * 0.011875_f64.sqrt() / 2.0).abs() < 1e-12);
        assert_eq!((difference.better, difference.equal, difference.worse), (1, 2, 1));
    }

    #[test]
    fn nothing_differs_from_itself_and_what_is_not_paired_is_refused() {
        let same = PairedDifference::new(&[0.1, 0.7, 0.3], &[0.1, 0.7, 0.3]).unwrap();
        let nothing = PairedDifference { mean: 0.0, ci95: 0.0, better: 0, equal: 3, worse: 0 };
        assert_eq!(same, nothing);
        let refused = PairedDifference::new(&[0.1, 0.2], &[0.1]).unwrap_err();
        assert_eq!(refused.to_string(), "accuracies to compare: expected 2 values, got 1");
    }
}
