//! The backbone and the margin head that a configuration describes.

use std::collections::BTreeMap;

use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use fewshot_losses::{Margin, MarginHead};
use fewshot_models::{Backbone, DropOptions, Parameters};

use crate::{Config, Error};

/// A network with its classifier over base classes, and the parameters of both under the
/// published names: `feature.…` and `classifier.…`.
#[derive(Clone)]
pub struct Model {
    /// All tensors that a checkpoint holds.
    pub parameters: Parameters,
    /// Maps images `[B, 3, S, S]` to features `[B, D]`.
    pub backbone: Backbone,
    head: Option<MarginHead>,
    /// Outputs of the classifier; `None` for a backbone alone.
    outputs: Option<usize>,
}

impl Model {
    /// Initializes a model from the configuration's seed.
    ///
    /// # Errors
    /// [`Error::Value`] for fewer `method.outputs` than `base_classes`.
    pub fn new(config: &Config, base_classes: usize, device: &Device) -> Result<Self, Error> {
        let outputs = config.method.outputs.unwrap_or(base_classes);
        if outputs < base_classes {
            return Err(Error::Value {
                key: "method.outputs".to_owned(),
                got: outputs.to_string(),
                expected: format!("at least the {base_classes} base classes, or 0 for as many"),
            });
        }
        let parameters = Parameters::new(config.seed);
        let builder = parameters.builder(DType::F32, device);
        Self::build(config, Some(outputs), parameters, builder)
    }

    /// Builds the model of given tensors: with a classifier, if some of them are its parameters.
    ///
    /// # Errors
    /// Tensors that are absent or of another shape, as those of another backbone are.
    pub fn from_tensors(
        config: &Config,
        tensors: &BTreeMap<String, Tensor>,
        device: &Device,
    ) -> Result<Self, Error> {
        let has_classifier = tensors.keys().any(|name| name.starts_with("classifier."));
        let weight = tensors.get("classifier.weight");
        let outputs = weight.and_then(|weight| weight.dims().first().copied()).unwrap_or(1);
        let parameters = Parameters::new(config.seed);
        let builder = parameters.builder(DType::F32, device);
        let model = Self::build(config, has_classifier.then_some(outputs), parameters, builder)?;
        model.parameters.load(tensors)?;
        Ok(model)
    }

    /// Returns the classifier, which maps features `[B, D]` to scores of base classes `[B, C]`.
    ///
    /// # Errors
    /// [`Error::NoClassifier`] for a backbone alone.
    pub fn head(&self) -> Result<&MarginHead, Error> {
        self.head.as_ref().ok_or(Error::NoClassifier)
    }

    /// Returns the number of outputs of the classifier, if there is one.
    pub fn outputs(&self) -> Option<usize> {
        self.outputs
    }

    /// Returns a copy for evaluation of the current parameters. It shares their storage but
    /// records no gradients, so that a forward pass keeps no intermediate results.
    ///
    /// # Errors
    /// None for the configuration that the model was built by.
    pub fn frozen(&self, config: &Config, device: &Device) -> Result<Self, Error> {
        let builder = self.parameters.frozen_builder(DType::F32, device);
        Self::build(config, self.outputs, self.parameters.clone(), builder)
    }

    fn build(
        config: &Config,
        outputs: Option<usize>,
        parameters: Parameters,
        builder: VarBuilder,
    ) -> Result<Self, Error> {
        let method = &config.method;
        let drop = DropOptions { rate: method.drop_rate, block_size: method.dropblock_size };
        let backbone = Backbone::new(method.backbone, drop, builder.pp("feature"))?;
        let features = method.backbone.features(method.image_size).unwrap_or_default();
        let margin = Margin::new(method.scale, method.margin)?;
        let builder = builder.pp("classifier");
        let head = outputs
            .map(|outputs| MarginHead::new(method.classifier, features, outputs, margin, builder))
            .transpose()?;
        Ok(Self { parameters, backbone, head, outputs })
    }
}
