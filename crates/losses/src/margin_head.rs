//! The classifier over base classes.

use candle_core::{Result as TensorResult, Tensor};
use candle_nn::{Init, VarBuilder};
use fewshot_ops::{MarginOptions, l2_normalize, linear, margin_scores};

use crate::{ClassifierKind, Error};

/// A classifier's scale and margin, checked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Margin {
    scale: f64,
    margin: f64,
}

impl Margin {
    /// `scale` (the inverse temperature s of the paper's equation 1) must be positive and
    /// finite; `margin` (its m) finite and of any sign: negative is the paper's proposal.
    ///
    /// # Errors
    /// [`Error::Parameter`] naming the value.
    pub fn new(scale: f64, margin: f64) -> Result<Self, Error> {
        if !(scale.is_finite() && scale > 0.0) {
            let expected = "a positive finite number";
            return Err(Error::Parameter { what: "scale", got: scale, expected });
        }
        if !margin.is_finite() {
            let expected = "a finite number of any sign";
            return Err(Error::Parameter { what: "margin", got: margin, expected });
        }
        Ok(Self { scale, margin })
    }
}

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
        match self.kind {
            ClassifierKind::Softmax => linear(features, &self.weight, self.bias.as_ref()),
            ClassifierKind::Cosine | ClassifierKind::NegCosine => {
                linear(&l2_normalize(features)?, &l2_normalize(&self.weight)?, None)
            }
            ClassifierKind::NegSoftmax => linear(features, &self.weight, None),
        }
    }

    /// What of the products makes the scores of this kind.
    fn options(&self) -> MarginOptions {
        let Margin { scale, margin } = self.margin;
        MarginOptions {
            scale: if self.kind.has_scale() { scale } else { 1.0 },
            margin: if self.kind.has_margin() { margin } else { 0.0 },
            subtract_min: self.kind == ClassifierKind::NegSoftmax,
        }
    }
}
