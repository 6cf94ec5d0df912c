//! Transforms from an image of any size to `size`×`size` pixels, to the pixel as torchvision on
//! Pillow images.

mod color;
mod geometry;
mod train;

use image::RgbImage;
use rand::Rng;

pub use self::color::{adjust_brightness, adjust_contrast, adjust_saturation};
pub use self::geometry::{Crop, center_crop, resize, resized_crop};
pub use self::train::{Adjustment, AugmentParams, TrainTransform};
use crate::ParameterError;

/// Mean of each channel that [`normalize`] subtracts, for samples from 0 to 1.
pub const MEAN: [f32; 3] = [0.507, 0.487, 0.441];
/// Standard deviation of each channel that [`normalize`] divides by, for samples from 0 to 1.
pub const STD: [f32; 3] = [0.267, 0.257, 0.276];

/// Largest side of transformed images, in pixels.
const MAX_SIZE: usize = 4096;

/// The steps between decoding and normalization.
#[derive(Clone, Debug, PartialEq)]
pub struct Transform(Kind);

#[derive(Clone, Debug, PartialEq)]
enum Kind {
    Train(TrainTransform),
    Eval { size: usize },
}

impl Transform {
    /// Random crop, colour jitter and flip. Its parameters are checked by [`Self::check`].
    pub fn train(options: TrainTransform) -> Self {
        Self(Kind::Train(options))
    }

    /// Resizes to a square of ⌊1.15 `size`⌋ pixels, whatever the image's shape, and crops the
    /// central `size`×`size`.
    pub fn eval(size: usize) -> Self {
        Self(Kind::Eval { size })
    }

    /// The side of transformed images, in pixels.
    pub fn size(&self) -> usize {
        match &self.0 {
            Kind::Train(options) => options.size,
            Kind::Eval { size } => *size,
        }
    }

    /// Checks the parameters.
    ///
    /// # Errors
    /// [`ParameterError`] names the parameter that is out of range.
    pub fn check(&self) -> Result<(), ParameterError> {
        if !(1..=MAX_SIZE).contains(&self.size()) {
            return Err(ParameterError::new("image size", self.size(), "1 to 4096 pixels"));
        }
        match &self.0 {
            Kind::Train(options) => options.check(),
            Kind::Eval { .. } => Ok(()),
        }
    }

    /// Transforms an image, up to but without [`normalize`]. Evaluation draws nothing from `rng`.
    ///
    /// # Errors
    /// [`ParameterError`] where [`Self::check`] fails or the image has no pixels.
    pub fn apply(&self, image: &RgbImage, rng: &mut impl Rng) -> Result<RgbImage, ParameterError> {
        self.check()?;
        self.apply_with(image, &self.draw(image.width(), image.height(), rng))
    }

    /// Draws the random parameters that [`Self::apply`] uses for an image of this size. For
    /// evaluation they are the whole image, unchanged.
    pub fn draw(&self, width: u32, height: u32, rng: &mut impl Rng) -> AugmentParams {
        match &self.0 {
            Kind::Train(options) => options.draw(width, height, rng),
            Kind::Eval { .. } => AugmentParams {
                crop: Crop::whole(width, height),
                adjustments: Vec::new(),
                is_mirrored: false,
            },
        }
    }

    /// Transforms an image by parameters that [`Self::draw`] gave for its size. `image` may lack
    /// the rows below the crop.
    ///
    /// # Errors
    /// [`ParameterError`] where the crop reaches beyond the image.
    pub fn apply_with(
        &self,
        image: &RgbImage,
        params: &AugmentParams,
    ) -> Result<RgbImage, ParameterError> {
        let size = self.size() as u32;
        match &self.0 {
            Kind::Train(_) => params.apply(image, size),
            Kind::Eval { .. } => geometry::resized_center(image, size),
        }
    }
}

/// Scales samples to 0…1, subtracts [`MEAN`] and divides by [`STD`]: row-major
/// `[3, height, width]`.
pub fn normalize(image: &RgbImage) -> Vec<f32> {
    let mut normalized = vec![0.0; image.len()];
    normalize_into(image, &mut normalized);
    normalized
}

/// Normalized value of each level of each channel.
static NORMALIZED: [[f32; 256]; 3] = {
    let mut tables = [[0.0; 256]; 3];
    let mut at = 0;
    while at < 3 * 256 {
        let (channel, level) = (at / 256, at % 256);
        tables[channel][level] = (level as f32 / 255.0 - MEAN[channel]) / STD[channel];
        at += 1;
    }
    tables
};

/// [`normalize`] into a slice of as many samples as the image has.
pub fn normalize_into(image: &RgbImage, normalized: &mut [f32]) {
    let plane = normalized.len() / 3;
    let pixels = image.as_raw().as_chunks::<3>().0;
    let planes = normalized.chunks_exact_mut(plane.max(1));
    for ((channel, plane), table) in planes.enumerate().zip(&NORMALIZED) {
        for (out, pixel) in plane.iter_mut().zip(pixels) {
            *out = table[usize::from(pixel[channel])];
        }
    }
}
