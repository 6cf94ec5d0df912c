//! Probabilities that mean what they say.

/// Lowest and highest temperature that is looked for.
const RANGE: (f64, f64) = (1e-3, 1e3);

/// Returns the probabilities of scores at a temperature.
pub(crate) fn probabilities(scores: &[f64], temperature: f64) -> Vec<f64> {
    let max = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let weights: Vec<f64> = scores.iter().map(|s| ((s - max) / temperature).exp()).collect();
    let sum: f64 = weights.iter().sum();
    weights.into_iter().map(|weight| weight / sum).collect()
}

/// Returns the temperature at which the true classes of held-out photos are the most probable (Guo et
/// al., ICML 2017), by golden-section search over its logarithm; 1 if there are none.
pub(crate) fn temperature(held_out: &[(Vec<f64>, usize)]) -> f64 {
    if held_out.is_empty() {
        return 1.0;
    }
    let loss = |log: f64| -> f64 {
        let of = |(scores, label): &(Vec<f64>, usize)| {
            -probabilities(scores, log.exp())[*label].max(1e-300).ln()
        };
        held_out.iter().map(of).sum()
    };
    let ratio = (5f64.sqrt() - 1.0) / 2.0;
    let (mut low, mut high) = (RANGE.0.ln(), RANGE.1.ln());
    let (mut a, mut b) = (high - ratio * (high - low), low + ratio * (high - low));
    let (mut at_a, mut at_b) = (loss(a), loss(b));
    while high - low > 1e-4 {
        if at_a <= at_b {
            (high, b, at_b) = (b, a, at_a);
            a = high - ratio * (high - low);
            at_a = loss(a);
        } else {
            (low, a, at_a) = (a, b, at_b);
            b = low + ratio * (high - low);
            at_b = loss(b);
        }
    }
    ((low + high) / 2.0).exp()
}

/// Returns the value that a share of `values` lies below.
pub(crate) fn quantile(values: &mut [f64], share: f64) -> Option<f64> {
    values.sort_unstable_by(f64::total_cmp);
    let index = (share * values.len() as f64) as usize;
    values.get(index.min(values.len().saturating_sub(1))).copied()
}

/// Expected calibration error: the mean difference of confidence and accuracy over ten bins of equal
/// width, weighed by their numbers of photos. Takes confidences and whether each was right.
pub(crate) fn calibration_error(answers: &[(f64, bool)]) -> f64 {
    let mut bins = [(0.0, 0.0, 0usize); 10];
    for (confidence, is_right) in answers {
        let bin = &mut bins[((confidence * 10.0) as usize).min(9)];
        bin.0 += confidence;
        bin.1 += f64::from(u8::from(*is_right));
        bin.2 += 1;
    }
    let gap: f64 = bins.iter().map(|(confidence, right, _)| (confidence - right).abs()).sum();
    gap / answers.len().max(1) as f64
}

/// Mean and 95 % interval of a share, by Wilson's score.
pub(crate) fn wilson(right: usize, count: usize) -> (f64, f64, f64) {
    let n = count.max(1) as f64;
    let (share, z) = (right as f64 / n, 1.96);
    let centre = (share + z * z / (2.0 * n)) / (1.0 + z * z / n);
    let half = z / (1.0 + z * z / n) * (share * (1.0 - share) / n + z * z / (4.0 * n * n)).sqrt();
    (share, (centre - half).max(0.0), (centre + half).min(1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of two classes whose scores differ by 1, right in three of four cases: the log odds are ln 3, so that
    /// the temperature is 1 / ln 3.
    #[test]
    fn the_temperature_makes_confidence_accuracy() {
        let mut held_out = vec![(vec![1.0, 0.0], 0); 3];
        held_out.push((vec![1.0, 0.0], 1));
        let temperature = temperature(&held_out);
        assert!((temperature - 1.0 / 3f64.ln()).abs() < 1e-3, "{temperature}");
        let confidence = probabilities(&[1.0, 0.0], temperature)[0];
        assert!((confidence - 0.75).abs() < 1e-4);
        let answers: Vec<_> = held_out.iter().map(|(_, label)| (confidence, *label == 0)).collect();
        assert!(calibration_error(&answers) < 1e-3);
        assert!((calibration_error(&[(1.0, false), (1.0, true)]) - 0.5).abs() < 1e-12);
        assert_eq!(super::temperature(&[]), 1.0);
    }

    /// R's `binom.confint(9, 10, methods = "wilson")` gives 0.5958 to 0.9821.
    #[test]
    fn intervals_are_wilsons() {
        let (share, low, high) = wilson(9, 10);
        assert!(
            (share - 0.9).abs() < 1e-12
                && (low - 0.5958).abs() < 1e-4
                && (high - 0.9821).abs() < 1e-4
        );
        let (_, low, high) = wilson(0, 3);
        assert!(low == 0.0 && high < 1.0);
    }

    #[test]
    fn quantiles_are_of_the_sorted_values() {
        assert_eq!(quantile(&mut [3.0, 1.0, 2.0, 5.0, 4.0], 0.2), Some(2.0));
        assert_eq!(quantile(&mut [3.0], 0.05), Some(3.0));
        assert_eq!(quantile(&mut [], 0.05), None);
    }
}
