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

    /// Scores for training as [`training_scores`](Self::training_scores) gives them, and the scores
    /// without margin as [`scores`](Self::scores) gives them, of the same products. The latter have
    /// no gradient: they tell how well the training's images would be classified.
    ///
    /// # Errors
    /// Shapes that do not fit, or a label outside the classes.
    pub fn training_and_plain_scores(
        &self,
        features: &Tensor,
        labels: &Tensor,
    ) -> Result<(Tensor, Tensor), Error> {
        let (products, options) = (self.products(features)?, self.options());
        let training = margin_scores(&products, Some(labels), options)?;
        let plain = match options.margin {
            0.0 => training.detach(),
            _ => margin_scores(&products.detach(), None, options)?,
        };
        Ok((training, plain))
    }

    /// Whether training scores differ from those without labels.
    pub fn has_margin(&self) -> bool {
        self.options().margin != 0.0
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

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{DType, Device, Var};
    use candle_nn::VarMap;

    /// Each is what its own function gives, and so is the gradient of the trained one.
    #[test]
    fn plain_scores_come_beside_those_that_are_trained() {
        let values = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let features = Tensor::new(&[[0.3f32, -1.2, 0.7], [1.0, 0.2, -0.4]], &Device::Cpu).unwrap();
        let features = Var::from_tensor(&features).unwrap();
        let labels = Tensor::new(&[1u32, 3], &Device::Cpu).unwrap();
        for kind in ClassifierKind::ALL {
            for margin in [-0.3, 0.0, 0.2] {
                let variables = VarMap::new();
                let parameters = VarBuilder::from_varmap(&variables, DType::F32, &Device::Cpu);
                let options = Margin::new(5.0, margin).unwrap();
                let head = MarginHead::new(kind, 3, 4, options, parameters).unwrap();
                let (training, plain) = head.training_and_plain_scores(&features, &labels).unwrap();
                let alone = head.training_scores(&features, &labels).unwrap();
                assert_eq!(values(&training), values(&alone), "{kind} {margin}");
                assert_eq!(
                    values(&plain),
                    values(&head.scores(&features).unwrap()),
                    "{kind} {margin}"
                );
                assert_eq!(
                    head.has_margin(),
                    values(&training) != values(&plain),
                    "{kind} {margin}"
                );
                let gradient = |scores: &Tensor| {
                    let loss = fewshot_ops::cross_entropy(scores, &labels).unwrap();
                    values(&loss.backward().unwrap().get(&features).unwrap().clone())
                };
                assert_eq!(gradient(&training), gradient(&alone), "{kind} {margin}");
                assert!(plain.sum_all().unwrap().backward().unwrap().get(&features).is_none());
            }
        }
    }
}
