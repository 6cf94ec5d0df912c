//! One type for all backbones.

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;
use fewshot_ops::{Tape, TapeContext};

use crate::conv4::Conv4;
use crate::resnet::ResNet;
use crate::resnet12::ResNet12;
use crate::wide_resnet::WideResNet;
use crate::{BackboneKind, DropOptions};

/// How a forward pass treats batch statistics and dropping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pass {
    /// Running statistics; nothing is dropped.
    Eval,
    /// Batch statistics, which also move the running ones; units are dropped.
    Train {
        /// The experiment's seed.
        seed: u64,
        /// Training forwards that came before: the random stream's position, and how far
        /// DropBlock's rate has come.
        forward: u64,
    },
}

/// A network from images `[B, 3, S, S]` to features `[B, D]`.
#[derive(Clone)]
pub struct Backbone {
    kind: BackboneKind,
    network: Network,
}

#[derive(Clone)]
enum Network {
    Conv4(Conv4),
    ResNet(ResNet),
    ResNet12(ResNet12),
    Wide(WideResNet),
}

impl Backbone {
    /// Builds the network from `parameters`. Conv4 has no residual block to drop after and
    /// ignores `drop`.
    ///
    /// # Errors
    /// Parameters that are absent or of another shape.
    pub fn new(kind: BackboneKind, drop: DropOptions, parameters: VarBuilder) -> Result<Self> {
        let network = match kind {
            BackboneKind::Conv4 => Network::Conv4(Conv4::new(parameters)?),
            BackboneKind::ResNet10 => Network::ResNet(ResNet::new(1, drop, parameters)?),
            BackboneKind::ResNet18 => Network::ResNet(ResNet::new(2, drop, parameters)?),
            BackboneKind::ResNet12 => Network::ResNet12(ResNet12::new(drop, parameters)?),
            BackboneKind::Wrn28_10 => Network::Wide(WideResNet::new(drop, parameters)?),
        };
        Ok(Self { kind, network })
    }

    /// Which network this is.
    pub fn kind(&self) -> BackboneKind {
        self.kind
    }

    /// Features `[B, D]` of images `[B, 3, S, S]`; D is [`BackboneKind::features`].
    ///
    /// # Errors
    /// Another shape, images too small for the network, or in training a batch that leaves
    /// a batch norm fewer than two values a channel.
    pub fn forward(&self, images: &Tensor, pass: Pass) -> Result<Tensor> {
        self.forward_with(images, pass, &TapeContext::new())
    }

    /// As [`forward`](Self::forward), with the settings of a tape context, which can then compute
    /// the gradients of a loss ([`TapeContext::backward`]).
    ///
    /// # Errors
    /// As [`forward`](Self::forward).
    pub fn forward_with(
        &self,
        images: &Tensor,
        pass: Pass,
        context: &TapeContext,
    ) -> Result<Tensor> {
        let mut tape = Tape::with_context(context);
        let images = tape.input(images)?;
        let features = match &self.network {
            Network::Conv4(network) => network.forward(&mut tape, &images, pass),
            Network::ResNet(network) => network.forward(&mut tape, &images, pass),
            Network::ResNet12(network) => network.forward(&mut tape, &images, pass),
            Network::Wide(network) => network.forward(&mut tape, &images, pass),
        };
        tape.finish(features?)?.flatten_from(1)
    }
}
