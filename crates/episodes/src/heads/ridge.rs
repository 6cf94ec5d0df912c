//! Ridge regression on classes.

use rand::RngCore;

use super::logistic::directions;
use super::{HeadKind, Settings};
use crate::solve::solve_spd;
use crate::subspace::Subspace;
use crate::vector::{add_scaled, dot};
use crate::{Classifier, Error, Head, LinearClassifier, Support};

/// Ridge regression of one target a class, 1 where an image is of it and -1 where not, on L2-normalized
/// features, in closed form, as Bertinetto et al. ("Meta-learning with differentiable closed-form
/// solvers", ICLR 2019) adapt to support sets.
///
/// The objective is that of scikit-learn's `RidgeClassifier`: Σ(w·x + b - y)² + α‖w‖² for each class, with
/// a bias that is not penalised.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ridge {
    /// α, the weight of the penalty: 1 is scikit-learn's default.
    pub alpha: f64,
}

impl Default for Ridge {
    fn default() -> Self {
        Self { alpha: 1.0 }
    }
}

impl Ridge {
    /// Reads `ridge_alpha`.
    ///
    /// # Errors
    ///
    /// A value that is not positive.
    pub fn from_settings<S: Settings>(settings: &mut S) -> Result<Self, S::Error> {
        let expected = "a positive finite number";
        Ok(Self { alpha: settings.number("ridge_alpha", 1.0, expected, |alpha| alpha > 0.0)? })
    }

    /// Learns the classifier of a support set.
    ///
    /// # Errors
    ///
    /// A penalty so small beside the features that rounding hides it.
    pub fn linear(&self, support: &Support) -> Result<LinearClassifier, Error> {
        let (way, dim, count) = (support.way(), support.dim(), support.labels().len());
        let (subspace, rows) = Subspace::new(&directions(support), dim);
        let width = rows.len() / count;
        let mut mean = vec![0.0; width];
        for row in rows.chunks_exact(width) {
            add_scaled(&mut mean, 1.0 / count as f64, row);
        }
        let target = |class: usize, label: usize| if class == label { 1.0 } else { -1.0 };
        // XᵀX + α and YᵀX, of centred rows X: the bias is what the means leave.
        let mut products = vec![0.0; width * width];
        let mut weights = vec![0.0; way * width];
        for (row, &label) in rows.chunks_exact(width).zip(support.labels()) {
            let centred: Vec<f64> = row.iter().zip(&mean).map(|(x, mean)| x - mean).collect();
            for (products, &x) in products.chunks_exact_mut(width).zip(&centred) {
                add_scaled(products, x, &centred);
            }
            for (class, weight) in weights.chunks_exact_mut(width).enumerate() {
                add_scaled(weight, target(class, label), &centred);
            }
        }
        (0..width).for_each(|i| products[i * width + i] += self.alpha);
        let is_definite = solve_spd(&mut products, width, &mut weights);
        if !is_definite || weights.iter().any(|weight| !weight.is_finite()) {
            let expected = "a number that the rounding errors of the support set leave visible";
            return Err(Error::Parameter { what: "ridge_alpha", got: self.alpha, expected });
        }
        let mean_target = |class: usize| {
            let targets = support.labels().iter().map(|&label| target(class, label));
            targets.sum::<f64>() / count as f64
        };
        let biases = weights.chunks_exact(width).enumerate();
        let biases =
            biases.map(|(class, weight)| mean_target(class) - dot(weight, &mean)).collect();
        Ok(LinearClassifier::of_directions(subspace.vectors(&weights), biases, dim))
    }
}

impl Head for Ridge {
    fn name(&self) -> &str {
        HeadKind::Ridge.name()
    }

    fn fit(&self, support: &Support, _: &mut dyn RngCore) -> Result<Box<dyn Classifier>, Error> {
        Ok(Box::new(self.linear(support)?))
    }
}
