use fewshot_losses::ClassifierKind;

use crate::{
    Error,
    bank::check_rows,
    vector::{clamped_norm, dot, normalize, widen},
};

/// A classifier that is done learning: features in, scores out.
#[derive(Clone, Debug, PartialEq)]
pub struct Classifier {
    kind: ClassifierKind,
    scale: f64,
    /// `[way, dim]`.
    weight: Vec<f64>,
    /// The factor that takes the length of each class's weight out of its product with a
    /// feature, `[way]`; one where the kind does not compare directions.
    inverse_norms: Vec<f64>,
    /// `[way]`, zero where the kind has none.
    bias: Vec<f64>,
    dim: usize,
}

impl Classifier {
    /// From weights `[way, dim]` and biases `[way]`.
    pub(crate) fn new(
        kind: ClassifierKind,
        scale: f64,
        weight: Vec<f64>,
        bias: Vec<f64>,
        dim: usize,
    ) -> Self {
        let inverse_norm = |row| match compares_directions(kind) {
            true => clamped_norm(row).recip(),
            false => 1.0,
        };
        let inverse_norms = weight.chunks_exact(dim).map(inverse_norm).collect();
        Self { kind, scale, weight, inverse_norms, bias, dim }
    }

    /// The weight of each class, `[D]`.
    pub fn weights(&self) -> impl ExactSizeIterator<Item = &[f64]> {
        self.weight.chunks_exact(self.dim)
    }

    /// The bias of each class, `[way]`, zero where the classifier has none.
    pub fn biases(&self) -> &[f64] {
        &self.bias
    }

    /// The scores of one feature `[D]`, `[way]`: the formulas of [`ClassifierKind`] without
    /// margin, because a query has no label.
    ///
    /// # Errors
    ///
    /// If the feature has another length than those that the classifier learned from, or holds
    /// a value that is not finite.
    pub fn scores(&self, query: &[f32]) -> Result<Vec<f64>, Error> {
        check_rows("query feature", query, self.dim, 1)?;
        let mut query = widen(query);
        if compares_directions(self.kind) {
            normalize(&mut query);
        }
        let rows = self.weights().zip(&self.inverse_norms).zip(&self.bias);
        let score = |((weight, inverse_norm), bias)| dot(weight, &query) * inverse_norm + bias;
        let mut scores: Vec<f64> = rows.map(score).collect();
        if self.kind == ClassifierKind::NegSoftmax {
            let least = scores.iter().copied().fold(f64::INFINITY, f64::min);
            scores.iter_mut().for_each(|score| *score -= least);
        }
        if self.kind.has_scale() {
            scores.iter_mut().for_each(|score| *score *= self.scale);
        }
        Ok(scores)
    }
}

/// Whether a kind scores by the cosine, and so ignores the length of weights and features.
pub(crate) fn compares_directions(kind: ClassifierKind) -> bool {
    matches!(kind, ClassifierKind::Cosine | ClassifierKind::NegCosine)
}
