//! The backbones by name.

use std::{fmt, str::FromStr};

/// Which network computes the features.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BackboneKind {
    /// Four convolutions of 64 channels, features flattened.
    Conv4,
    /// The published ResNet-18 with one block a stage, 512 features.
    ResNet10,
    /// Four stages of three convolutions, leaky ReLU, 640 features (MetaOptNet's).
    ResNet12,
    /// 512 features.
    ResNet18,
    /// WideResNet of depth 28 and width 10, 640 features.
    Wrn28_10,
}

impl BackboneKind {
    /// All of them, smallest first.
    pub const ALL: [Self; 5] =
        [Self::Conv4, Self::ResNet10, Self::ResNet12, Self::ResNet18, Self::Wrn28_10];

    /// The name in configurations.
    pub fn name(self) -> &'static str {
        match self {
            Self::Conv4 => "conv4",
            Self::ResNet10 => "resnet10",
            Self::ResNet12 => "resnet12",
            Self::ResNet18 => "resnet18",
            Self::Wrn28_10 => "wrn28-10",
        }
    }

    /// Length of a feature for images of side `image_size`, in pixels; `None` where the
    /// network pools such images away to nothing.
    pub fn features(self, image_size: usize) -> Option<usize> {
        if image_size < self.smallest_image() {
            return None;
        }
        Some(match self {
            Self::Conv4 => 64 * (image_size / 16).pow(2),
            Self::ResNet10 | Self::ResNet18 => 512,
            Self::ResNet12 | Self::Wrn28_10 => 640,
        })
    }

    /// Side of the images that this network is published with, in pixels. Conv4's features have
    /// as many numbers as the image size makes them, so that theirs decides.
    pub fn usual_image_size(self, features: usize) -> usize {
        match self {
            Self::Conv4 => match (features / 64).isqrt() {
                5 => 84,
                side => 16 * side.max(1),
            },
            Self::ResNet12 => 84,
            Self::ResNet10 | Self::ResNet18 => 224,
            Self::Wrn28_10 => 80,
        }
    }

    /// Side of the smallest image that leaves a feature, in pixels.
    pub fn smallest_image(self) -> usize {
        match self {
            Self::Conv4 | Self::ResNet12 => 16,
            Self::ResNet10 | Self::ResNet18 | Self::Wrn28_10 => 1,
        }
    }
}

impl fmt::Display for BackboneKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// No backbone has this name.
#[derive(Debug, thiserror::Error)]
#[error("unknown backbone `{0}`: expected conv4, resnet10, resnet12, resnet18 or wrn28-10")]
pub struct UnknownBackbone(String);

impl FromStr for BackboneKind {
    type Err = UnknownBackbone;

    fn from_str(name: &str) -> Result<Self, UnknownBackbone> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.name() == name)
            .ok_or_else(|| UnknownBackbone(name.to_owned()))
    }
}
