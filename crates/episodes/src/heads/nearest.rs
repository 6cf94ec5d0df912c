//! The nearest support image, by Euclidean distance.

use rand::RngCore;

use super::HeadKind;
use crate::{Classifier, Error, Head, Support, bank::check_rows, vector::squared_distance};

/// Chooses the class of the nearest support row: a baseline that learns nothing, which also takes
/// raw pixels as features.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NearestNeighbor;

impl Head for NearestNeighbor {
    fn name(&self) -> &str {
        HeadKind::NearestNeighbor.name()
    }

    fn fit(&self, support: &Support, _: &mut dyn RngCore) -> Result<Box<dyn Classifier>, Error> {
        Ok(Box::new(Memory {
            features: support.rows().flatten().copied().collect(),
            labels: support.labels().to_vec(),
            dim: support.dim(),
            way: support.way(),
        }))
    }
}

/// A support set, remembered.
struct Memory {
    /// `[S, dim]`, row-major.
    features: Vec<f32>,
    /// `[S]`
    labels: Vec<usize>,
    dim: usize,
    way: usize,
}

impl Classifier for Memory {
    /// Minus the squared distance to the nearest support row of each class.
    fn scores(&self, query: &[f32]) -> Result<Vec<f64>, Error> {
        check_rows("query feature", query, self.dim, 1)?;
        let mut scores = vec![f64::NEG_INFINITY; self.way];
        for (row, &label) in self.features.chunks_exact(self.dim).zip(&self.labels) {
            let score = -f64::from(squared_distance(row, query));
            scores[label] = scores[label].max(score);
        }
        Ok(scores)
    }
}
