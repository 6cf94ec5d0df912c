//! The registry of backbones.

use std::collections::BTreeMap;
use std::sync::Arc;

use candle_core::Result;
use candle_nn::VarBuilder;
use strum::VariantArray as _;

use crate::architecture::Architecture;
use crate::{DropOptions, Network, conv4, resnet, resnet12, wide_resnet};

/// Which network computes the features.
///
/// Parsed from and displayed as its name in configurations (`wrn28-10`).
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Hash,
    strum::Display,
    strum::EnumString,
    strum::IntoStaticStr,
    strum::VariantArray,
)]
#[strum(serialize_all = "lowercase", parse_err_ty = UnknownBackbone, parse_err_fn = unknown)]
pub enum BackboneKind {
    /// Four convolutions of 64 channels, features flattened.
    Conv4,
    /// The published ResNet-18 with one block a stage, 512 features.
    ResNet10,
    /// Four stages of three convolutions, leaky ReLU, 640 features (MetaOptNet's).
    ResNet12,
    /// Four stages of two blocks of two convolutions, 512 features.
    ResNet18,
    /// Stages of three, four, six and three blocks of two convolutions, 512 features.
    ResNet34,
    /// Stages of three, four, six and three blocks of three convolutions, 2048 features.
    ResNet50,
    /// WideResNet of depth 28 and width 10, 640 features.
    #[strum(serialize = "wrn28-10")]
    Wrn28_10,
}

impl BackboneKind {
    /// All of them, smallest first.
    pub const ALL: [Self; Self::VARIANTS.len()] = *Self::VARIANTS.first_chunk().unwrap();

    /// The one place that leads from a kind to its network.
    fn architecture(self) -> &'static Architecture {
        match self {
            Self::Conv4 => &conv4::CONV4,
            Self::ResNet10 => &resnet::RESNET10,
            Self::ResNet12 => &resnet12::RESNET12,
            Self::ResNet18 => &resnet::RESNET18,
            Self::ResNet34 => &resnet::RESNET34,
            Self::ResNet50 => &resnet::RESNET50,
            Self::Wrn28_10 => &wide_resnet::WRN28_10,
        }
    }

    /// The name in configurations.
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// Returns all names as a list in words: `a, b or c`.
    pub fn names() -> String {
        let names = Self::ALL.map(Self::name);
        let (last, others) = names.split_last().unwrap_or((&"", &[]));
        format!("{} or {last}", others.join(", "))
    }

    /// Length of a feature for images of side `image_size`, in pixels; `None` where the
    /// network pools such images away to nothing.
    pub fn features(self, image_size: usize) -> Option<usize> {
        let Architecture { features, smallest_image, .. } = self.architecture();
        (image_size >= *smallest_image).then(|| features(image_size))
    }

    /// Side of the images that this network is published with, in pixels. The length of Conv4's
    /// features depends on the image size, so that `features`, their length, decides.
    pub fn usual_image_size(self, features: usize) -> usize {
        (self.architecture().usual_image_size)(features)
    }

    /// Side of the smallest image that leaves a feature, in pixels.
    pub fn smallest_image(self) -> usize {
        self.architecture().smallest_image
    }

    /// The other name under which a published state lists a parameter, if it lists it twice.
    pub fn second_name(self, name: &str) -> Option<String> {
        (self.architecture().second_names.as_ref()?.of)(name)
    }

    /// Whether some network's published state has this name for a parameter that it also lists
    /// under another.
    pub(crate) fn is_second_name(name: &str) -> bool {
        let second_names = |kind: Self| kind.architecture().second_names.as_ref();
        Self::ALL.into_iter().filter_map(second_names).any(|second| (second.contains)(name))
    }

    /// A parameter that tells this network's states from those of the others.
    pub(crate) fn signature(self) -> &'static str {
        self.architecture().signature
    }

    /// Recognises the network whose parameters a state holds, among others, behind `prefix`.
    pub fn of_state<T>(state: &BTreeMap<String, T>, prefix: &str) -> Option<Self> {
        let has_signature =
            |kind: &Self| state.contains_key(&format!("{prefix}{}", kind.architecture().signature));
        Self::ALL.into_iter().rev().find(has_signature)
    }

    /// Builds the network.
    pub(crate) fn build(
        self,
        drop: DropOptions,
        parameters: VarBuilder,
    ) -> Result<Arc<dyn Network>> {
        (self.architecture().build)(drop, parameters)
    }
}

/// No backbone has this name.
#[derive(Debug, thiserror::Error)]
#[error("unknown backbone `{got}`: expected {}", BackboneKind::names())]
pub struct UnknownBackbone {
    got: String,
}

fn unknown(name: &str) -> UnknownBackbone {
    UnknownBackbone { got: name.to_owned() }
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device};

    use super::*;
    use crate::{Backbone, Parameters};

    #[test]
    fn names_parse_back_and_errors_list_them() {
        for kind in BackboneKind::ALL {
            assert_eq!(kind.name().parse::<BackboneKind>().unwrap(), kind);
            assert_eq!(kind.to_string(), kind.name());
        }
        assert_eq!(
            "resnet19".parse::<BackboneKind>().unwrap_err().to_string(),
            "unknown backbone `resnet19`: expected conv4, resnet10, resnet12, \
             resnet18, resnet34, resnet50 or wrn28-10"
        );
    }

    #[test]
    fn networks_are_known_by_their_names() {
        for kind in BackboneKind::ALL {
            let parameters = Parameters::new(0);
            let builder = parameters.builder(DType::F32, &Device::Cpu).pp("feature");
            Backbone::new(kind, DropOptions::default(), builder).unwrap();
            assert_eq!(BackboneKind::of_state(&parameters.all(), "feature."), Some(kind));
        }
        assert_eq!(BackboneKind::of_state::<()>(&BTreeMap::new(), ""), None);
    }
}
