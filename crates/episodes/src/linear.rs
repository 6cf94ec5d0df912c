//! The linear classifier that most heads learn.

use fewshot_losses::ClassifierKind;

use crate::{
    Classifier, Error,
    bank::check_rows,
    vector::{clamped_norm, dot, normalize, widen},
};

/// A classifier of one weight, and perhaps a bias, per class.
#[derive(Clone, Debug, PartialEq)]
pub struct LinearClassifier {
    kind: ClassifierKind,
    scale: f64,
    /// `[way, dim]`, row-major.
    weight: Vec<f64>,
    /// `[way]`: 1 over the norm of each class's weight for cosine classifiers, else 1.
    inverse_norms: Vec<f64>,
    /// `[way]`, zero if the kind has none.
    bias: Vec<f64>,
    dim: usize,
    /// Whether features are L2-normalized first.
    normalizes: bool,
}

impl LinearClassifier {
    /// Takes weights `[way, dim]` and biases `[way]`.
    pub(crate) fn new(
        kind: ClassifierKind,
        scale: f64,
        weight: Vec<f64>,
        bias: Vec<f64>,
        dim: usize,
    ) -> Self {
        let inverse_norm = |row| if kind.is_cosine() { clamped_norm(row).recip() } else { 1.0 };
        let inverse_norms = weight.chunks_exact(dim).map(inverse_norm).collect();
        Self { kind, scale, weight, inverse_norms, bias, dim, normalizes: kind.is_cosine() }
    }

    /// Takes weights `[way, dim]` and biases `[way]` of L2-normalized features.
    pub(crate) fn of_directions(weight: Vec<f64>, bias: Vec<f64>, dim: usize) -> Self {
        let softmax = Self::new(ClassifierKind::Softmax, 1.0, weight, bias, dim);
        Self { normalizes: true, ..softmax }
    }

    /// Returns weights `[way, D]` and biases `[way]` that give the scores of an L2-normalized feature, but for
    /// a number that all classes have in common; nothing if scores depend on a feature's length.
    pub fn on_directions(&self) -> Option<(Vec<f64>, Vec<f64>)> {
        let scale = self.kind.effective_scale(self.scale);
        let rows = self.weights().zip(&self.inverse_norms);
        let weight = rows.flat_map(|(row, inverse)| row.iter().map(move |w| w * inverse * scale));
        let bias = self.bias.iter().map(|bias| bias * scale);
        self.normalizes.then(|| (weight.collect(), bias.collect()))
    }

    /// Returns the weight `[D]` of each class.
    pub fn weights(&self) -> impl ExactSizeIterator<Item = &[f64]> {
        self.weight.chunks_exact(self.dim)
    }

    /// Returns the bias of each class, `[way]`, zero if the classifier has none.
    pub fn biases(&self) -> &[f64] {
        &self.bias
    }
}

impl Classifier for LinearClassifier {
    /// The formulas of [`ClassifierKind`] without margin, because a query has no label.
    fn scores(&self, query: &[f32]) -> Result<Vec<f64>, Error> {
        check_rows("query feature", query, self.dim, 1)?;
        let mut query = widen(query);
        if self.normalizes {
            normalize(&mut query);
        }
        let rows = self.weights().zip(&self.inverse_norms).zip(&self.bias);
        let score = |((weight, inverse_norm), bias)| dot(weight, &query) * inverse_norm + bias;
        let mut scores: Vec<f64> = rows.map(score).collect();
        if self.kind.subtract_min() {
            let min = scores.iter().copied().fold(f64::INFINITY, f64::min);
            scores.iter_mut().for_each(|score| *score -= min);
        }
        let scale = self.kind.effective_scale(self.scale);
        scores.iter_mut().for_each(|score| *score *= scale);
        Ok(scores)
    }
}
