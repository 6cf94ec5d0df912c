//! What each backbone says of itself.

use std::sync::Arc;

use candle_core::Result;
use candle_nn::VarBuilder;

use crate::{DropOptions, Network};

/// The description of one backbone, which stands in the backbone's own file.
pub struct Architecture {
    /// Length of a feature for images of a side of at least `smallest_image`, in pixels.
    pub features: fn(image_size: usize) -> usize,
    /// Side of the images that the network is published with, in pixels, for a network whose
    /// features have this length.
    pub usual_image_size: fn(features: usize) -> usize,
    /// Side of the smallest image that leaves a feature, in pixels.
    pub smallest_image: usize,
    /// Name of a parameter that this network has and no backbone before it in
    /// [`BackboneKind::ALL`](crate::BackboneKind::ALL).
    pub signature: &'static str,
    /// How the published state lists parameters a second time, if it does.
    pub second_names: Option<SecondNames>,
    /// Builds the network from its parameters.
    pub build: Build,
}

/// Builds a network from its parameters.
pub type Build = fn(DropOptions, VarBuilder) -> Result<Arc<dyn Network>>;

/// Names under which a published state lists parameters a second time.
pub struct SecondNames {
    /// The second name of a parameter, if it has one.
    pub of: fn(name: &str) -> Option<String>,
    /// Whether a name is such a second name.
    pub contains: fn(name: &str) -> bool,
}
