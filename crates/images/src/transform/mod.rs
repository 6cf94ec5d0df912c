//! Transforms from an image of any size to `size`×`size` pixels, to the pixel as torchvision on
//! Pillow images.

mod color;
mod geometry;
mod preprocessing;
mod train;

use image::RgbImage;
use rand::Rng;

pub use self::color::{adjust_brightness, adjust_contrast, adjust_saturation};
pub use self::geometry::{Crop, center_crop, resize, resized_crop};
pub use self::preprocessing::{Interpolation, MEAN, Preprocessing, STD, normalize};
pub use self::train::{Adjustment, AugmentParams, TrainTransform};
use crate::ParameterError;

/// Largest side of transformed images, in pixels.
const MAX_SIZE: usize = 4096;

/// The steps between decoding and normalization.
#[derive(Clone, Debug, PartialEq)]
pub struct Transform(Kind);

#[derive(Clone, Debug, PartialEq)]
enum Kind {
    Train(TrainTransform),
    Eval { size: usize, preprocessing: Preprocessing },
}

impl Transform {
    /// Random crop, colour jitter and flip. Its parameters are checked by [`Self::check`].
    pub fn train(options: TrainTransform) -> Self {
        Self(Kind::Train(options))
    }

    /// Resizes to a square of ⌊1.15 `size`⌋ pixels, whatever the image's shape, and crops the
    /// central `size`×`size`.
    pub fn eval(size: usize) -> Self {
        Self::eval_for(size, Preprocessing::Published)
    }

    /// Crops the centre, `size`×`size` pixels, of an image that is resized as a network's images
    /// were.
    pub fn eval_for(size: usize, preprocessing: Preprocessing) -> Self {
        Self(Kind::Eval { size, preprocessing })
    }

    /// The side of transformed images, in pixels.
    pub fn size(&self) -> usize {
        match &self.0 {
            Kind::Train(options) => options.size,
            Kind::Eval { size, .. } => *size,
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
            Kind::Eval { preprocessing, .. } => preprocessing.center(image, size),
        }
    }
}
