//! The classifier over base classes.

use candle_core::{Result as TensorResult, Tensor};
use candle_nn::{Init, VarBuilder};
use fewshot_ops::{MarginOptions, l2_normalize, linear, margin_scores};

use crate::{ClassifierKind, Error, Margin};

/// Turns features `[B, D]` into scores `[B, C]`, with a margin at the label in training.
#[derive(Clone, Debug)]
pub struct MarginHead {
    kind: ClassifierKind,
    margin: Margin,
    weight: Tensor,
    bias: Option<Tensor>,
}

impl MarginHead {
    /// Takes `weight [C, D]` (and, for softmax, `bias [C]`) from `parameters`, or has them
    /// drawn from U(-1/√D, 1/√D), the initialisation of the published `lib/metric.py`.
    ///
    /// Scale and margin count only for the classifiers that have them
    /// ([`ClassifierKind::has_scale`], [`ClassifierKind::has_margin`]).
    ///
    /// # Errors
    /// Parameters that are absent or of another shape.
    pub fn new(
        kind: ClassifierKind,
        features: usize,
        classes: usize,
        margin: Margin,
        parameters: VarBuilder,
    ) -> Result<Self, Error> {
        let bound = 1.0 / (features.max(1) as f64).sqrt();
        let init = Init::Uniform { lo: -bound, up: bound };
        let weight = parameters.get_with_hints((classes, features), "weight", init)?;
        let bias = kind.has_bias().then(|| parameters.get_with_hints(classes, "bias", init));
        Ok(Self { kind, margin, weight, bias: bias.transpose()? })
    }

    /// Which classifier this is.
    pub fn kind(&self) -> ClassifierKind {
        self.kind
    }

    /// Scores for training, `[B, C]`: the margin is subtracted at each row's label.
    ///
    /// `labels` is `[B]` of `u32`.
    ///
    /// # Errors
    /// Shapes that do not fit, or a label outside the classes.
    pub fn training_scores(&self, features: &Tensor, labels: &Tensor) -> Result<Tensor, Error> {
        Ok(margin_scores(&self.products(features)?, Some(labels), self.options())?)
    }

    /// Scores without labels, `[B, C]`, as for classifying: no margin.
    ///
    /// # Errors
    /// Shapes that do not fit.
    pub fn scores(&self, features: &Tensor) -> Result<Tensor, Error> {
        Ok(margin_scores(&self.products(features)?, None, self.options())?)
    }

    /// Products of features with each class's weight, `[B, C]`.
    fn products(&self, features: &Tensor) -> TensorResult<Tensor> {
        if self.kind.is_cosine() {
            linear(&l2_normalize(features)?, &l2_normalize(&self.weight)?, self.bias.as_ref())
        } else {
            linear(features, &self.weight, self.bias.as_ref())
        }
    }

    /// How scores follow from products.
    fn options(&self) -> MarginOptions {
        MarginOptions {
            scale: self.margin.scale(self.kind),
            margin: self.margin.margin(self.kind),
            subtract_min: self.kind.subtract_min(),
        }
    }
}
