//! Accuracy, on photos that were left out and on others.

use serde::{Deserialize, Serialize};

use crate::Confusion;
use crate::calibration::{calibration_error, wilson};

/// What an album found out about itself on photos that it left out.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct HeldOut {
    /// For each photo the class that it was taken for by a classifier that had not seen it, and that class's
    /// probability; `None` for the only photo of a class.
    pub answers: Vec<Option<(usize, f32)>>,
    /// Expected calibration error of probabilities at temperature 1 and as calibrated.
    pub calibration_errors: (f32, f32),
}

/// Accuracy on labelled photos.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Checked {
    /// Number of photos.
    pub photos: usize,
    /// Share that was labelled right, and its 95 % interval by Wilson's score.
    pub accuracy: (f64, f64, f64),
    /// Share that was called unknown though its class is known.
    pub false_alarms: f64,
    /// Expected calibration error.
    pub calibration_error: f64,
    /// Number of photos of each tenth of confidence, their mean confidence, and the share that was right.
    pub reliability: Vec<(usize, f64, f64)>,
    /// Which classes are taken for which.
    pub confusion: Confusion,
    /// Number of photos of classes that the album does not have, and the share that was called unknown.
    pub strangers: Option<(usize, f64)>,
}

impl Checked {
    /// Takes for each photo its class, the class that it was taken for, that class's probability, and
    /// whether it was called unknown.
    pub(crate) fn new(classes: &[String], answers: &[(usize, usize, f64, bool)]) -> Self {
        let right = answers.iter().filter(|(class, taken_for, ..)| class == taken_for).count();
        let unknown = answers.iter().filter(|(.., is_unknown)| *is_unknown).count();
        let confident: Vec<(f64, bool)> =
            answers.iter().map(|(class, taken, p, _)| (*p, class == taken)).collect();
        let bin = |number: usize| {
            let in_bin = confident.iter().filter(|(p, _)| ((p * 10.0) as usize).min(9) == number);
            let (mut count, mut sum, mut right) = (0, 0.0, 0);
            for (probability, is_right) in in_bin {
                count += 1;
                sum += probability;
                right += usize::from(*is_right);
            }
            let of = count.max(1) as f64;
            (count, sum / of, right as f64 / of)
        };
        Self {
            photos: answers.len(),
            accuracy: wilson(right, answers.len()),
            false_alarms: unknown as f64 / answers.len().max(1) as f64,
            calibration_error: calibration_error(&confident),
            reliability: (0..10).map(bin).collect(),
            confusion: Confusion::new(
                classes,
                answers.iter().map(|(class, taken, ..)| (*class, *taken)),
            ),
            strangers: None,
        }
    }

    /// One line with accuracy and its interval.
    pub fn summary(&self) -> String {
        let (share, low, high) = self.accuracy;
        format!(
            "{:.1} % of {} photos right (95 % interval {:.1} to {:.1})",
            100.0 * share,
            self.photos,
            100.0 * low,
            100.0 * high
        )
    }
}
