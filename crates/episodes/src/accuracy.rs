/// Mean accuracy over episodes and its 95 % interval, as fractions from 0 to 1.
#[derive(Clone, Debug, PartialEq)]
pub struct Accuracy {
    /// The mean over episodes.
    pub mean: f64,
    /// Half the width of the 95 % interval: the paper's number after ±.
    pub ci95: f64,
    /// The accuracy of each episode, in order.
    pub per_episode: Vec<f64>,
}

impl Accuracy {
    /// Mean and interval of the given episodes; both are NaN if there are none.
    ///
    /// The interval is `1.96 σ / √n` with the population standard deviation σ, as the
    /// published `main.py` has it.
    pub fn from_episodes(per_episode: Vec<f64>) -> Self {
        let n = per_episode.len() as f64;
        let mean = per_episode.iter().sum::<f64>() / n;
        let variance = per_episode.iter().map(|a| (a - mean).powi(2)).sum::<f64>() / n;
        Self { mean, ci95: 1.96 * variance.sqrt() / n.sqrt(), per_episode }
    }
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
}
