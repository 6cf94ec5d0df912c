//! Measured rows and their statistics.

use serde::Serialize;

use super::case::Pair;

/// Whether higher or lower figures are better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Better {
    /// Higher is better, as for speeds.
    Higher,
    /// Lower is better, as for times and sizes.
    Lower,
}

/// Range of some figures.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    /// Smallest figure.
    pub min: f64,
    /// Largest figure.
    pub max: f64,
}

/// A measured row.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// What was measured, with its sizes.
    pub name: String,
    /// Median of our figures.
    pub ours: f64,
    /// Median of PyTorch's figures.
    pub pytorch: Option<f64>,
    /// Unit of the figures.
    pub unit: &'static str,
    /// Median of the pairs' ratios; above 1 ours is better.
    pub ratio: Option<f64>,
    /// Whether higher or lower figures are better.
    pub better: Better,
    /// Spread of our figures.
    pub ours_spread: Spread,
    /// Spread of PyTorch's figures.
    pub pytorch_spread: Option<Spread>,
    /// Spread of the pairs' ratios.
    pub ratio_spread: Option<Spread>,
    /// Number of pairs.
    pub pairs: usize,
    /// How PyTorch computed, such as its memory format.
    pub pytorch_note: Option<String>,
}

impl Row {
    /// Computes the statistics of `pairs`; NaN if there are none.
    pub fn new(
        name: String,
        unit: &'static str,
        better: Better,
        pairs: Vec<Pair>,
        pytorch_note: Option<String>,
    ) -> Self {
        let ours: Vec<_> = pairs.iter().map(|pair| pair.0).collect();
        let theirs: Vec<_> = pairs.iter().filter_map(|pair| pair.1).collect();
        let ratio = |&(ours, theirs): &Pair| match better {
            Better::Higher => Some(ours / theirs?),
            Better::Lower => Some(theirs? / ours),
        };
        let ratios: Vec<_> = pairs.iter().filter_map(ratio).collect();
        let (ours, ours_spread) = summary(&ours).unwrap_or((f64::NAN, Spread::NAN));
        let (pytorch, pytorch_spread) = summary(&theirs).unzip();
        let (ratio, ratio_spread) = summary(&ratios).unzip();
        Self {
            name,
            ours,
            pytorch,
            unit,
            ratio,
            better,
            ours_spread,
            pytorch_spread,
            ratio_spread,
            pairs: pairs.len(),
            pytorch_note,
        }
    }
}

impl Spread {
    const NAN: Self = Self { min: f64::NAN, max: f64::NAN };
}

/// Returns median and spread, or `None` if there are no values.
fn summary(values: &[f64]) -> Option<(f64, Spread)> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let (&min, &max) = (sorted.first()?, sorted.last()?);
    let middle = sorted.len() / 2;
    let median = if sorted.len() % 2 == 1 {
        sorted[middle]
    } else {
        (sorted[middle - 1] + sorted[middle]) / 2.0
    };
    Some((median, Spread { min, max }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(better: Better, pairs: &[Pair]) -> Row {
        Row::new("r".to_owned(), "u", better, pairs.to_vec(), None)
    }

    #[test]
    fn medians_and_spreads() {
        assert_eq!(summary(&[]), None);
        assert_eq!(summary(&[3.0, 1.0, 2.0]), Some((2.0, Spread { min: 1.0, max: 3.0 })));
        assert_eq!(summary(&[4.0, 1.0, 2.0, 3.0]), Some((2.5, Spread { min: 1.0, max: 4.0 })));
    }

    #[test]
    fn the_ratio_is_above_one_where_ours_is_better() {
        // Ratios 2, 4 and 1/2: their median is not the medians' ratio, 20 / 15.
        let pairs = [(20.0, Some(10.0)), (80.0, Some(20.0)), (7.5, Some(15.0))];
        let faster = row(Better::Higher, &pairs);
        assert_eq!((faster.ours, faster.pytorch, faster.ratio), (20.0, Some(15.0), Some(2.0)));
        assert_eq!(faster.ratio_spread, Some(Spread { min: 0.5, max: 4.0 }));
        let smaller = row(Better::Lower, &pairs);
        assert_eq!(smaller.ratio, Some(0.5));
        assert_eq!(smaller.pairs, 3);
    }

    #[test]
    fn ours_alone_has_no_ratio() {
        let alone = row(Better::Lower, &[(2.0, None), (4.0, None)]);
        assert_eq!((alone.ours, alone.pytorch, alone.ratio), (3.0, None, None));
        assert_eq!((alone.pytorch_spread, alone.ratio_spread), (None, None));
    }
}
