//! Figures of each margin over seeds.

use evaluator::analysis::{Analysis, Value};
use serde::Serialize;
use statrs::distribution::{ContinuousCDF, StudentsT};

/// A measure of one margin: every seed's, and what they have in common.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Point {
    /// Name of the curve.
    pub curve: String,
    /// Margin in training.
    pub margin: f64,
    /// Name of the split.
    pub split: String,
    /// What is measured, with its unit.
    pub measure: String,
    /// The measure of each seed's training.
    pub seeds: Vec<SeedValue>,
    /// Over seeds.
    pub value: Summary,
    /// Difference from margin 0, over seeds; none at margin 0.
    pub difference: Option<Summary>,
}

/// A measure of one training.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct SeedValue {
    /// Seed of the training.
    pub seed: u64,
    /// The value; of accuracy the mean over episodes.
    pub value: f64,
    /// Half the width of the 95 % interval of accuracy, over episodes.
    pub ci95: Option<f64>,
    /// Difference from the training with margin 0 of the same seed, for accuracy on the same episodes.
    pub difference: Option<f64>,
    /// Half the width of the 95 % interval of the difference in accuracy, over episodes.
    pub difference_ci95: Option<f64>,
}

/// Mean of several trainings.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// Mean over seeds.
    pub mean: f64,
    /// Half the width of its 95 % interval by Student's t over seeds; none for a single seed.
    pub ci95: Option<f64>,
}

impl Summary {
    /// Returns mean and interval of the values of several seeds; nothing if there are none.
    pub fn new(values: &[f64]) -> Option<Self> {
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count;
        match values.len() {
            0 => None,
            1 => Some(Self { mean, ci95: None }),
            _ => {
                let squares: f64 = values.iter().map(|value| (value - mean) * (value - mean)).sum();
                let deviation = (squares / (count - 1.0)).sqrt();
                let student = StudentsT::new(0.0, 1.0, count - 1.0).ok()?;
                Some(Self {
                    mean,
                    ci95: Some(student.inverse_cdf(0.975) * deviation / count.sqrt()),
                })
            }
        }
    }

    /// Formats mean and interval with a number of decimals; `signed` shows a plus, too.
    pub fn show(&self, decimals: usize, signed: bool) -> String {
        let mean = match signed {
            true => format!("{:+.decimals$}", self.mean),
            false => format!("{:.decimals$}", self.mean),
        };
        self.ci95.map_or_else(|| mean.clone(), |ci95| format!("{mean} ± {ci95:.decimals$}"))
    }
}

/// Returns the points of a curve. Each analysis holds the trainings of one seed, that with margin 0
/// first.
pub fn points(curve: &str, analyses: &[(u64, Analysis)]) -> Vec<Point> {
    let mut points: Vec<Point> = Vec::new();
    for (seed, analysis) in analyses {
        for measure in analysis.measures() {
            let at_zero = measure.values.first().copied().flatten();
            for (checkpoint, value) in analysis.checkpoints.iter().zip(&measure.values) {
                let Some(value) = value else { continue };
                let is_same = |point: &&mut Point| {
                    point.margin == checkpoint.margin
                        && point.split == measure.split
                        && point.measure == measure.name
                };
                let seed_value = seed_value(*seed, checkpoint.margin, value, at_zero);
                match points.iter_mut().find(is_same) {
                    Some(point) => point.seeds.push(seed_value),
                    None => points.push(Point {
                        curve: curve.to_owned(),
                        margin: checkpoint.margin,
                        split: measure.split.clone(),
                        measure: measure.name.clone(),
                        seeds: vec![seed_value],
                        value: Summary { mean: 0.0, ci95: None },
                        difference: None,
                    }),
                }
            }
        }
    }
    for point in &mut points {
        let values: Vec<f64> = point.seeds.iter().map(|seed| seed.value).collect();
        point.value = Summary::new(&values).unwrap_or(point.value);
        let differences: Vec<f64> = point.seeds.iter().filter_map(|seed| seed.difference).collect();
        point.difference = Summary::new(&differences);
    }
    points
}

fn seed_value(seed: u64, margin: f64, value: &Value, at_zero: Option<Value>) -> SeedValue {
    let paired = value.difference.map(|difference| difference.0);
    let difference =
        paired.or_else(|| Some(value.value - at_zero?.value)).filter(|_| margin != 0.0);
    SeedValue {
        seed,
        value: value.value,
        ci95: value.ci95,
        difference,
        difference_ci95: value.difference.map(|difference| difference.1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Student's t for two degrees of freedom at 97.5 % is 4.3027 (any table).
    #[test]
    fn an_interval_over_three_seeds_is_students() {
        let summary = Summary::new(&[1.0, 2.0, 3.0]).unwrap();
        assert_eq!(summary.mean, 2.0);
        assert!((summary.ci95.unwrap() - 4.302_653 / 3.0f64.sqrt()).abs() < 1e-5);
        assert_eq!(summary.show(2, true), "+2.00 ± 2.48");
        assert_eq!(Summary::new(&[1.5]), Some(Summary { mean: 1.5, ci95: None }));
        assert_eq!(Summary::new(&[1.5]).unwrap().show(1, false), "1.5");
        assert_eq!(Summary::new(&[]), None);
    }
}
