//! The update rule of fine-tuning, on any coordinates.

use super::FineTune;
use crate::vector::{MIN_NORM, add_scaled, clamped_norm, dot};

/// The state of stochastic gradient descent.
pub(super) struct Descent<'a> {
    settings: &'a FineTune,
    labels: &'a [usize],
    /// `[S, width]`.
    features: Vec<f64>,
    /// `[way, width]`.
    weight: Vec<f64>,
    /// `[way, width]`, the moving average of gradients, which `torch.optim.SGD` calls its momentum
    /// buffer.
    velocity: Vec<f64>,
    width: usize,
    is_first_step: bool,
    /// Scratch of one step, `[way]`: 1 over the norm of each weight for cosine classifiers, else 1.
    inverse_norms: Vec<f64>,
    /// Scratch of one step, `[batch, way]`: `w_c · f`, or the cosine.
    products: Vec<f64>,
    /// Scratch of one step, `[batch, way]`: the gradient of the loss with respect to `products`.
    gradients: Vec<f64>,
}

impl<'a> Descent<'a> {
    /// Starts from `weight` `[way, width]` on `features` `[S, width]` of the classes `labels`
    /// `[S]`. Features have unit norm if the classifier is a cosine classifier.
    pub(super) fn new(
        settings: &'a FineTune,
        labels: &'a [usize],
        features: Vec<f64>,
        weight: Vec<f64>,
    ) -> Self {
        let width = features.len() / labels.len();
        let way = weight.len() / width;
        let batch = settings.batch_size.min(labels.len());
        Self {
            settings,
            labels,
            features,
            velocity: vec![0.0; weight.len()],
            weight,
            width,
            is_first_step: true,
            inverse_norms: vec![1.0; way],
            products: vec![0.0; batch * way],
            gradients: vec![0.0; batch * way],
        }
    }

    /// Returns the weight `[width]` of each class.
    pub(super) fn weights(&self) -> impl Iterator<Item = &[f64]> {
        self.weight.chunks_exact(self.width)
    }

    /// Updates the weights from the support rows `batch`.
    pub(super) fn step(&mut self, batch: &[usize]) {
        self.score(batch);
        self.differentiate(batch);
        self.update(batch);
    }

    /// Fills `products`, and `inverse_norms` if the classifier is a cosine classifier.
    fn score(&mut self, batch: &[usize]) {
        let way = self.inverse_norms.len();
        for (class, weight) in self.weight.chunks_exact(self.width).enumerate() {
            if self.settings.classifier.is_cosine() {
                self.inverse_norms[class] = clamped_norm(weight).recip();
            }
            for (slot, &row) in batch.iter().enumerate() {
                let feature = &self.features[row * self.width..][..self.width];
                self.products[slot * way + class] =
                    dot(weight, feature) * self.inverse_norms[class];
            }
        }
    }

    /// Fills `gradients` from `products`: the scores are `scale · (product - margin·[c = label])`,
    /// the loss is their mean cross entropy.
    ///
    /// neg-softmax also subtracts the minimum of a row from all its scores. This changes neither the
    /// cross entropy, which depends on differences of scores alone, nor its gradient: the gradients
    /// of a row sum to 0, and so does what its minimum would receive.
    fn differentiate(&mut self, batch: &[usize]) {
        let way = self.inverse_norms.len();
        let kind = self.settings.classifier;
        let scale = kind.effective_scale(self.settings.scale);
        let margin = kind.effective_margin(self.settings.margin);
        let rows = self.products.chunks_exact(way).zip(self.gradients.chunks_exact_mut(way));
        for (&row, (products, gradients)) in batch.iter().zip(rows) {
            let label = self.labels[row];
            gradients.copy_from_slice(products);
            gradients[label] -= margin;
            let max = gradients.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            gradients.iter_mut().for_each(|gradient| *gradient = (scale * (*gradient - max)).exp());
            let share = scale / batch.len() as f64;
            let sum: f64 = gradients.iter().sum();
            gradients.iter_mut().for_each(|gradient| *gradient *= share / sum);
            gradients[label] -= share;
        }
    }

    /// Moves the weights as `torch.optim.SGD` does: `g = gradient + decay·w`,
    /// `v = momentum·v + (1 - dampening)·g`, `w = w - rate·v`, but `v = g` in the first step
    /// and whenever the momentum is 0.
    fn update(&mut self, batch: &[usize]) {
        let way = self.inverse_norms.len();
        let FineTune { momentum, dampening, learning_rate, weight_decay, .. } = *self.settings;
        let is_reset = std::mem::take(&mut self.is_first_step) || momentum == 0.0;
        let (keep, take) = if is_reset { (0.0, 1.0) } else { (momentum, 1.0 - dampening) };
        let rows = self
            .weight
            .chunks_exact_mut(self.width)
            .zip(self.velocity.chunks_exact_mut(self.width));
        for (class, (weight, velocity)) in rows.enumerate() {
            // The gradient is a linear combination of the weight and the features.
            let inverse_norm = self.inverse_norms[class];
            let mut along_weight = weight_decay;
            if self.settings.classifier.is_cosine() && inverse_norm < MIN_NORM.recip() {
                // The cosine does not depend on the weight's norm: the gradient has no component
                // along the weight.
                let slots = class..batch.len() * way;
                let radial: f64 =
                    slots.step_by(way).map(|i| self.gradients[i] * self.products[i]).sum();
                along_weight -= radial * inverse_norm * inverse_norm;
            }
            for (velocity, weight) in velocity.iter_mut().zip(&*weight) {
                *velocity = keep * *velocity + take * along_weight * weight;
            }
            for (slot, &row) in batch.iter().enumerate() {
                let factor = take * self.gradients[slot * way + class] * inverse_norm;
                add_scaled(velocity, factor, &self.features[row * self.width..][..self.width]);
            }
            add_scaled(weight, -learning_rate, velocity);
        }
    }
}
