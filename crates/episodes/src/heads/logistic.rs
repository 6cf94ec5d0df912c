//! Multinomial logistic regression.

use rand::RngCore;

use super::{HeadKind, Settings};
use crate::solve::minimize;
use crate::subspace::Subspace;
use crate::vector::{add_scaled, dot, normalize, widen};
use crate::{Classifier, Error, Head, LinearClassifier, Support};

/// Multinomial logistic regression with an L2 penalty on L2-normalized features, as Tian et al.
/// ("Rethinking Few-Shot Image Classification", ECCV 2020) adapt to support sets.
///
/// The objective is scikit-learn's: ½ Σ‖w‖² + C Σ cross-entropy, with a bias that is not penalised.
/// It is minimised by L-BFGS, in the space that the support set spans, to 1e-7 rather than
/// to scikit-learn's tolerance.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Logistic {
    /// C, the inverse of the penalty's weight: 1 is scikit-learn's default.
    pub c: f64,
}

/// Largest element of the gradient at which the minimum is reached: no weight is farther from it than that,
/// because of the penalty.
const TOLERANCE: f64 = 1e-7;
/// Most iterations.
const ITERATIONS: usize = 1_000;

impl Default for Logistic {
    fn default() -> Self {
        Self { c: 1.0 }
    }
}

impl Logistic {
    /// Reads `logistic_c`.
    ///
    /// # Errors
    ///
    /// A value that is not positive.
    pub fn from_settings<S: Settings>(settings: &mut S) -> Result<Self, S::Error> {
        let c = settings.number("logistic_c", 1.0, "a positive finite number", |c| c > 0.0)?;
        Ok(Self { c })
    }

    /// Learns the classifier of a support set.
    pub fn linear(&self, support: &Support) -> LinearClassifier {
        let (way, dim) = (support.way(), support.dim());
        let (subspace, rows) = Subspace::new(&directions(support), dim);
        let width = rows.len() / support.labels().len();
        let mut scores = vec![0.0; way];
        // Weights `[way, width]`, then biases `[way]`.
        let found = minimize(
            vec![0.0; way * (width + 1)],
            TOLERANCE,
            ITERATIONS,
            |parameters, gradient| {
                let (weights, biases) = parameters.split_at(way * width);
                gradient.fill(0.0);
                let mut loss = 0.0;
                for (row, &label) in rows.chunks_exact(width).zip(support.labels()) {
                    for (class, score) in scores.iter_mut().enumerate() {
                        *score = dot(&weights[class * width..][..width], row) + biases[class];
                    }
                    loss += cross_entropy(&mut scores, label);
                    // What were scores are now derivatives of the loss with respect to them.
                    for (class, &derivative) in scores.iter().enumerate() {
                        let of_class = &mut gradient[class * width..][..width];
                        add_scaled(of_class, self.c * derivative, row);
                        gradient[way * width + class] += self.c * derivative;
                    }
                }
                add_scaled(&mut gradient[..way * width], 1.0, weights);
                self.c * loss + dot(weights, weights) / 2.0
            },
        );
        let (weights, biases) = found.split_at(way * width);
        LinearClassifier::of_directions(subspace.vectors(weights), biases.to_vec(), dim)
    }
}

impl Head for Logistic {
    fn name(&self) -> &str {
        HeadKind::Logistic.name()
    }

    fn fit(&self, support: &Support, _: &mut dyn RngCore) -> Result<Box<dyn Classifier>, Error> {
        Ok(Box::new(self.linear(support)))
    }
}

/// Returns the rows of a support set, L2-normalized, `[S, dim]`.
pub(super) fn directions(support: &Support) -> Vec<f64> {
    let mut all = Vec::with_capacity(support.rows().len() * support.dim());
    for row in support.rows() {
        let mut row = widen(row);
        normalize(&mut row);
        all.extend(row);
    }
    all
}

/// Returns the cross-entropy of scores `[way]`, and puts its derivatives in their place.
fn cross_entropy(scores: &mut [f64], label: usize) -> f64 {
    let max = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let of_label = scores[label] - max;
    let mut sum = 0.0;
    for score in scores.iter_mut() {
        *score = (*score - max).exp();
        sum += *score;
    }
    scores.iter_mut().for_each(|score| *score /= sum);
    scores[label] -= 1.0;
    sum.ln() - of_label
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Against central differences.
    #[test]
    fn derivatives_are_those_of_the_cross_entropy() {
        let scores = [0.3, -1.2, 2.0, 0.7];
        let mut derivatives = scores;
        let loss = cross_entropy(&mut derivatives, 1);
        let sum: f64 = scores.iter().map(|score| f64::exp(*score)).sum();
        assert!((loss - (sum.ln() + 1.2)).abs() < 1e-12);
        for (i, derivative) in derivatives.into_iter().enumerate() {
            let at = |by: f64| {
                let mut moved = scores;
                moved[i] += by;
                cross_entropy(&mut moved, 1)
            };
            assert!((derivative - (at(1e-5) - at(-1e-5)) / 2e-5).abs() < 1e-8);
        }
    }
}
