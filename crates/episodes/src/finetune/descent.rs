use super::FineTune;
use crate::{
    classifier::compares_directions,
    vector::{MIN_NORM, add_scaled, clamped_norm, dot},
};

/// Stochastic gradient descent under way: the weights and all that a step needs.
pub(super) struct Descent<'a> {
    settings: &'a FineTune,
    labels: &'a [usize],
    /// `[S, width]`.
    features: Vec<f64>,
    /// `[way, width]`.
    weight: Vec<f64>,
    /// `[way, width]`, the moving average of gradients that `torch.optim.SGD` calls its
    /// momentum buffer.
    velocity: Vec<f64>,
    width: usize,
    first: bool,
    /// Scratch of one step: the factor of each weight's length, `[way]`.
    inverse_norms: Vec<f64>,
    /// Scratch of one step: `w_c · f`, or the cosine, `[batch, way]`.
    products: Vec<f64>,
    /// Scratch of one step: the gradient of the loss by `products`, `[batch, way]`.
    slopes: Vec<f64>,
}

impl<'a> Descent<'a> {
    /// Starts from `weight` `[way, width]` on `features` `[S, width]` of the classes `labels`
    /// `[S]`; features are of unit length for the classifiers that compare directions.
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
            first: true,
            inverse_norms: vec![1.0; way],
            products: vec![0.0; batch * way],
            slopes: vec![0.0; batch * way],
        }
    }

    /// The weight of each class, `[width]`.
    pub(super) fn weights(&self) -> impl Iterator<Item = &[f64]> {
        self.weight.chunks_exact(self.width)
    }

    /// One update from the support rows `batch`.
    pub(super) fn step(&mut self, batch: &[usize]) {
        self.score(batch);
        self.slope(batch);
        self.update(batch);
    }

    /// Fills `products`, and `inverse_norms` where the classifier compares directions.
    fn score(&mut self, batch: &[usize]) {
        let way = self.inverse_norms.len();
        for (class, weight) in self.weight.chunks_exact(self.width).enumerate() {
            if compares_directions(self.settings.classifier) {
                self.inverse_norms[class] = clamped_norm(weight).recip();
            }
            for (slot, &row) in batch.iter().enumerate() {
                let feature = &self.features[row * self.width..][..self.width];
                self.products[slot * way + class] =
                    dot(weight, feature) * self.inverse_norms[class];
            }
        }
    }

    /// Fills `slopes` from `products`: the scores are `scale · (product - margin·[c = label])`,
    /// the loss is their mean cross entropy.
    ///
    /// neg-softmax also subtracts a row's minimum from all its scores. Cross entropy does not
    /// change when all scores of a row move together, so neither value nor gradient has a
    /// trace of it: the slopes of a row sum to 0, and so does what its minimum would receive.
    fn slope(&mut self, batch: &[usize]) {
        let way = self.inverse_norms.len();
        let kind = self.settings.classifier;
        let scale = if kind.has_scale() { self.settings.scale } else { 1.0 };
        let margin = if kind.has_margin() { self.settings.margin } else { 0.0 };
        let rows = self.products.chunks_exact(way).zip(self.slopes.chunks_exact_mut(way));
        for (&row, (products, slopes)) in batch.iter().zip(rows) {
            let label = self.labels[row];
            slopes.copy_from_slice(products);
            slopes[label] -= margin;
            let most = slopes.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            slopes.iter_mut().for_each(|slope| *slope = (scale * (*slope - most)).exp());
            let share = scale / batch.len() as f64;
            let sum: f64 = slopes.iter().sum();
            slopes.iter_mut().for_each(|slope| *slope *= share / sum);
            slopes[label] -= share;
        }
    }

    /// Moves the weights as `torch.optim.SGD` does: `g = gradient + decay·w`,
    /// `v = momentum·v + (1 - dampening)·g`, `w = w - rate·v`, but `v = g` in the first step
    /// and whenever the momentum is 0.
    fn update(&mut self, batch: &[usize]) {
        let way = self.inverse_norms.len();
        let FineTune { momentum, dampening, learning_rate, weight_decay, .. } = *self.settings;
        let fresh = std::mem::take(&mut self.first) || momentum == 0.0;
        let (keep, take) = if fresh { (0.0, 1.0) } else { (momentum, 1.0 - dampening) };
        let rows = self
            .weight
            .chunks_exact_mut(self.width)
            .zip(self.velocity.chunks_exact_mut(self.width));
        for (class, (weight, velocity)) in rows.enumerate() {
            // Every part of the gradient is a multiple of the weight or of a feature.
            let inverse_norm = self.inverse_norms[class];
            let mut along_weight = weight_decay;
            if compares_directions(self.settings.classifier) && inverse_norm < MIN_NORM.recip() {
                // A direction does not change with its weight's length: the gradient by the
                // weight has no part along it.
                let slots = class..batch.len() * way;
                let radial: f64 =
                    slots.step_by(way).map(|i| self.slopes[i] * self.products[i]).sum();
                along_weight -= radial * inverse_norm * inverse_norm;
            }
            for (velocity, weight) in velocity.iter_mut().zip(&*weight) {
                *velocity = keep * *velocity + take * along_weight * weight;
            }
            for (slot, &row) in batch.iter().enumerate() {
                let factor = take * self.slopes[slot * way + class] * inverse_norm;
                add_scaled(velocity, factor, &self.features[row * self.width..][..self.width]);
            }
            add_scaled(weight, -learning_rate, velocity);
        }
    }
}
