//! What a network's images were brought to: a size, and numbers of a mean and a deviation.

use image::RgbImage;

use super::geometry::resized_center;
use crate::ParameterError;

/// Mean of each channel that the published code subtracts, for samples from 0 to 1.
pub const MEAN: [f32; 3] = [0.507, 0.487, 0.441];
/// Standard deviation of each channel that the published code divides by, for samples from 0 to 1.
pub const STD: [f32; 3] = [0.267, 0.257, 0.276];

/// How a network's images are resized for evaluation, and normalized.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Preprocessing {
    /// The published code's: a square of ⌊1.15 size⌋ pixels, whatever the image's shape, of which the
    /// centre is taken; [`MEAN`] and [`STD`].
    #[default]
    Published,
    /// That of torchvision's and timm's networks for ImageNet: a shorter side of ⌊size / share⌋ pixels,
    /// of which the centre is taken; ImageNet's mean and deviation.
    ImageNet {
        /// Share of the shorter side that is taken, in percent: torchvision takes 87.5.
        crop_percent: f64,
        /// How pixels between pixels are found.
        interpolation: Interpolation,
    },
}

/// How pixels between pixels are found, antialiased when shrinking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interpolation {
    /// From the neighbours in proportion to their closeness.
    Bilinear,
    /// By cubic polynomials through two neighbours on each side.
    Bicubic,
}

impl Preprocessing {
    /// Resizes an image and crops the central `size`×`size` pixels.
    pub(super) fn center(self, image: &RgbImage, size: u32) -> Result<RgbImage, ParameterError> {
        match self {
            Self::Published => {
                // In floating point as published: 100 pixels make 114, not 115.
                let side = (f64::from(size) * 1.15) as u32;
                resized_center(image, [side, side], size, Interpolation::Bilinear)
            }
            Self::ImageNet { crop_percent, interpolation } => {
                let short = (f64::from(size) / (crop_percent / 100.0)).floor().max(size.into());
                let (width, height) = image.dimensions();
                let shorter = f64::from(width.min(height).max(1));
                let sides = [width, height].map(|side| (short * f64::from(side) / shorter) as u32);
                resized_center(image, sides, size, interpolation)
            }
        }
    }

    /// Scales samples to 0…1, subtracts the mean and divides by the standard deviation: row-major
    /// `[3, height, width]`.
    pub fn normalize(self, image: &RgbImage) -> Vec<f32> {
        let mut normalized = vec![0.0; image.len()];
        self.normalize_into(image, &mut normalized);
        normalized
    }

    /// [`normalize`](Self::normalize) into a slice of as many samples as the image has.
    pub fn normalize_into(self, image: &RgbImage, normalized: &mut [f32]) {
        static PUBLISHED: Levels = levels(MEAN, STD);
        static IMAGENET: Levels = levels([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]);
        let levels = match self {
            Self::Published => &PUBLISHED,
            Self::ImageNet { .. } => &IMAGENET,
        };
        let plane = normalized.len() / 3;
        let pixels = image.as_raw().as_chunks::<3>().0;
        let planes = normalized.chunks_exact_mut(plane.max(1));
        for ((channel, plane), table) in planes.enumerate().zip(levels) {
            for (out, pixel) in plane.iter_mut().zip(pixels) {
                *out = table[usize::from(pixel[channel])];
            }
        }
    }
}

/// [`Preprocessing::normalize`] as published.
pub fn normalize(image: &RgbImage) -> Vec<f32> {
    Preprocessing::Published.normalize(image)
}

/// Normalized value of each level of each channel.
type Levels = [[f32; 256]; 3];

const fn levels(mean: [f32; 3], std: [f32; 3]) -> Levels {
    let mut tables = [[0.0; 256]; 3];
    let mut at = 0;
    while at < 3 * 256 {
        let (channel, level) = (at / 256, at % 256);
        tables[channel][level] = (level as f32 / 255.0 - mean[channel]) / std[channel];
        at += 1;
    }
    tables
}
