use crate::{Error, Support, bank::check_rows, vector::squared_distance};

/// Remembers the support set: the baseline that learns nothing, for raw pixels.
#[derive(Clone, Debug, PartialEq)]
pub struct NearestNeighbour {
    /// `[S, dim]`.
    features: Vec<f32>,
    labels: Vec<usize>,
    dim: usize,
    way: usize,
}

impl NearestNeighbour {
    /// Remembers `support`.
    pub fn fit(support: &Support) -> Self {
        Self {
            features: support.rows().flatten().copied().collect(),
            labels: support.labels().to_vec(),
            dim: support.dim(),
            way: support.way(),
        }
    }

    /// The scores of one feature `[D]`, `[way]`: minus the squared Euclidean distance to the
    /// nearest support row of each class.
    ///
    /// # Errors
    ///
    /// If the feature has another length than those of the support set, or holds a value that
    /// is not finite.
    pub fn scores(&self, query: &[f32]) -> Result<Vec<f64>, Error> {
        check_rows("query feature", query, self.dim, 1)?;
        let mut scores = vec![f64::NEG_INFINITY; self.way];
        for (row, &label) in self.features.chunks_exact(self.dim).zip(&self.labels) {
            let score = -f64::from(squared_distance(row, query));
            scores[label] = scores[label].max(score);
        }
        Ok(scores)
    }
}
