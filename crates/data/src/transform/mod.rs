//! From an image of any size to `size`×`size` pixels, to the pixel as torchvision does it
//! on Pillow images.

mod color;
mod geometry;
mod train;

use image::RgbImage;
use rand::Rng;

pub use self::color::{adjust_brightness, adjust_contrast, adjust_saturation};
pub use self::geometry::{Crop, center_crop, resize, resized_crop};
pub use self::train::{Adjustment, AugmentParams, TrainTransform};
use crate::Error;

/// The mean of each channel of normalized images, of samples from 0 to 1.
pub const MEAN: [f32; 3] = [0.507, 0.487, 0.441];
/// The standard deviation of each channel of normalized images, of samples from 0 to 1.
pub const STD: [f32; 3] = [0.267, 0.257, 0.276];

const MAX_SIZE: usize = 4096;

/// What happens to an image between decoding and the batch.
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

    /// Whether the parameters make sense.
    ///
    /// # Errors
    /// [`Error::Parameter`] names the parameter that does not.
    pub fn check(&self) -> Result<(), Error> {
        if !(1..=MAX_SIZE).contains(&self.size()) {
            return Err(Error::parameter("image size", self.size(), "1 to 4096 pixels"));
        }
        match &self.0 {
            Kind::Train(options) => options.check(),
            Kind::Eval { .. } => Ok(()),
        }
    }

    /// Transforms an image, up to but without [`normalize`]. Evaluation draws nothing from
    /// `rng`.
    ///
    /// # Errors
    /// [`Error::Parameter`] where [`Self::check`] fails or the image has no pixels.
    pub fn apply(&self, image: &RgbImage, rng: &mut impl Rng) -> Result<RgbImage, Error> {
        self.check()?;
        self.apply_with(image, &self.draw(image.width(), image.height(), rng))
    }

    /// All that [`Self::apply`] leaves to chance for an image of this size. Of evaluation that
    /// is nothing.
    pub(crate) fn draw(&self, width: u32, height: u32, rng: &mut impl Rng) -> AugmentParams {
        match &self.0 {
            Kind::Train(options) => options.draw(width, height, rng),
            Kind::Eval { .. } => AugmentParams {
                crop: Crop::whole(width, height),
                adjustments: Vec::new(),
                is_mirrored: false,
            },
        }
    }

    /// The rest. Nothing but the crop needs to be there of the image.
    pub(crate) fn apply_with(
        &self,
        image: &RgbImage,
        params: &AugmentParams,
    ) -> Result<RgbImage, Error> {
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

/// The normalized value of each level of each channel.
static NORMALISED: [[f32; 256]; 3] = {
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
pub(crate) fn normalize_into(image: &RgbImage, normalized: &mut [f32]) {
    let plane = normalized.len() / 3;
    let pixels = image.as_raw().as_chunks::<3>().0;
    let planes = normalized.chunks_exact_mut(plane.max(1));
    for ((channel, plane), table) in planes.enumerate().zip(&NORMALISED) {
        for (out, pixel) in plane.iter_mut().zip(pixels) {
            *out = table[usize::from(pixel[channel])];
        }
    }
}
