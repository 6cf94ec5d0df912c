//! One type for all backbones.

use std::sync::Arc;

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;
use fewshot_ops::TapeContext;

use crate::{BackboneKind, DropOptions, Network, Pass};

/// A network from images `[B, 3, S, S]` to features `[B, D]`.
#[derive(Clone)]
pub struct Backbone {
    kind: BackboneKind,
    network: Arc<dyn Network>,
}

impl Backbone {
    /// Builds the network from `parameters`. Conv4 has no residual block to drop after and
    /// ignores `drop`.
    ///
    /// # Errors
    /// Parameters that are absent or of another shape.
    pub fn new(kind: BackboneKind, drop: DropOptions, parameters: VarBuilder) -> Result<Self> {
        Ok(Self { kind, network: kind.build(drop, parameters)? })
    }

    /// Which network this is.
    pub fn kind(&self) -> BackboneKind {
        self.kind
    }

    /// Computes features `[B, D]` of images `[B, 3, S, S]`; D is [`BackboneKind::features`].
    ///
    /// # Errors
    /// Another shape, images too small for the network, or in training a batch that leaves
    /// a batch norm fewer than two values a channel.
    pub fn forward(&self, images: &Tensor, pass: Pass) -> Result<Tensor> {
        self.forward_with(images, pass, &TapeContext::new())
    }

    /// Computes what [`forward`](Self::forward) does with the settings of a tape context, which
    /// can then compute the gradients of a loss ([`TapeContext::backward`]).
    ///
    /// # Errors
    /// Those of [`forward`](Self::forward).
    pub fn forward_with(
        &self,
        images: &Tensor,
        pass: Pass,
        context: &TapeContext,
    ) -> Result<Tensor> {
        self.network.features(images, pass, context)
    }
}
