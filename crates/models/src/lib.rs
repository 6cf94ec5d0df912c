//! Few-shot backbones on candle: Conv4, ResNet-10, -12, -18, -34 and -50, and WRN-28-10.
//!
//! A [`Backbone`] maps images `[B, 3, S, S]` to features `[B, D]`. Parameters carry the names
//! of the published PyTorch implementation (`layer1.0.C1.weight`; [`from_published`] renames the
//! states of other programs), and start from its initialisation. Any image size works:
//! the residual networks pool globally, Conv4 flattens. A backbone of your own is a [`Network`],
//! built of [`layers`].
//!
//! A pass is either [`Pass::Eval`] (running statistics, no dropping) or [`Pass::Train`],
//! which names the random stream and the step, so that dropped units are a function of both.
//!
//! [`Parameters`] holds a model's variables, drawn from one seed by name; any other
//! [`candle_nn::VarBuilder`] serves as well.
//!
//! ```
//! use candle_core::{DType, Device, Tensor};
//! use fewshot_models::{Backbone, BackboneKind, DropOptions, Parameters, Pass};
//!
//! # fn main() -> candle_core::Result<()> {
//! let parameters = Parameters::new(0);
//! let builder = parameters.builder(DType::F32, &Device::Cpu);
//! let backbone = Backbone::new(BackboneKind::Conv4, DropOptions::default(), builder)?;
//! let images = Tensor::zeros((2, 3, 32, 32), DType::F32, &Device::Cpu)?;
//! let features = backbone.forward(&images, Pass::Eval)?;
//! assert_eq!(features.dims(), [2, BackboneKind::Conv4.features(32).unwrap()]);
//! # Ok(())
//! # }
//! ```

#![forbid(unsafe_code)]

mod architecture;
mod backbone;
mod conv4;
mod drop;
mod kind;
pub mod layers;
mod network;
mod parameters;
mod pass;
mod published;
mod resnet;
mod resnet12;
mod torchvision;
mod wide_resnet;

pub use backbone::Backbone;
pub use drop::DropOptions;
pub use kind::{BackboneKind, UnknownBackbone};
pub use network::Network;
pub use parameters::Parameters;
pub use pass::Pass;
pub use published::{UnknownState, from_published};
