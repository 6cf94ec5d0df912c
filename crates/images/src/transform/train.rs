//! The random transform of training images.

use image::{RgbImage, imageops};
use rand::Rng;
use rand::seq::SliceRandom;

use super::geometry::{Crop, resized_crop};
use super::{adjust_brightness, adjust_contrast, adjust_saturation};
use crate::ParameterError;

/// The random part of training: torchvision's `RandomResizedCrop`, `ColorJitter` and
/// `RandomHorizontalFlip`, in this order.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainTransform {
    /// The side of transformed images, in pixels.
    pub size: usize,
    /// Smallest and largest share of the image's area that a crop takes.
    pub area: (f64, f64),
    /// Smallest and largest ratio of a crop's width to its height.
    pub ratio: (f64, f64),
    /// Brightness, contrast and saturation each get a factor from 1 - `jitter` to
    /// 1 + `jitter`, in random order. 0 leaves colours unchanged.
    pub jitter: f64,
    /// Whether one image in two is mirrored.
    pub flip: bool,
}

impl TrainTransform {
    /// Returns the published settings: crops of 8 % to 100 % of the area and of 3:4 to 4:3, jitter
    /// of 0.4, flips.
    pub fn new(size: usize) -> Self {
        Self { size, area: (0.08, 1.0), ratio: (3.0 / 4.0, 4.0 / 3.0), jitter: 0.4, flip: true }
    }

    pub(super) fn check(&self) -> Result<(), ParameterError> {
        let (min, max) = self.area;
        if !(0.0 < min && min <= max && max <= 1.0) {
            return Err(ParameterError::new("crop area", self.area, "0 < min ≤ max ≤ 1"));
        }
        let (min, max) = self.ratio;
        if !(0.0 < min && min <= max && max.is_finite()) {
            return Err(ParameterError::new("crop ratio", self.ratio, "0 < min ≤ max"));
        }
        if !(0.0..=1.0).contains(&self.jitter) {
            return Err(ParameterError::new("jitter", self.jitter, "0 to 1"));
        }
        Ok(())
    }

    /// Draws the random parameters for an image of this size.
    pub(super) fn draw(&self, width: u32, height: u32, rng: &mut impl Rng) -> AugmentParams {
        let crop = self.draw_crop(width, height, rng);
        let mut adjustments = Vec::new();
        if self.jitter > 0.0 {
            let kinds = [Adjustment::Brightness, Adjustment::Contrast, Adjustment::Saturation];
            let factor = |kind| (kind, rng.random_range(1.0 - self.jitter..=1.0 + self.jitter));
            adjustments.extend(kinds.map(factor));
            adjustments.shuffle(rng);
        }
        AugmentParams { crop, adjustments, is_mirrored: self.flip && rng.random_bool(0.5) }
    }

    /// Draws a crop of random area and ratio; after ten attempts that do not fit, returns the
    /// central crop of an allowed ratio.
    fn draw_crop(&self, width: u32, height: u32, rng: &mut impl Rng) -> Crop {
        let area = f64::from(width) * f64::from(height);
        let log_ratio = (self.ratio.0.ln(), self.ratio.1.ln());
        for _ in 0..10 {
            let target = area * rng.random_range(self.area.0..=self.area.1);
            let ratio = rng.random_range(log_ratio.0..=log_ratio.1).exp();
            let crop_width = (target * ratio).sqrt().round_ties_even() as u32;
            let crop_height = (target / ratio).sqrt().round_ties_even() as u32;
            if (1..=width).contains(&crop_width) && (1..=height).contains(&crop_height) {
                return Crop {
                    top: rng.random_range(0..=height - crop_height),
                    left: rng.random_range(0..=width - crop_width),
                    height: crop_height,
                    width: crop_width,
                };
            }
        }
        self.central_crop(width, height)
    }

    fn central_crop(&self, width: u32, height: u32) -> Crop {
        let (min, max) = self.ratio;
        let ratio = f64::from(width) / f64::from(height);
        let side =
            |length: f64, limit: u32| (length.round_ties_even() as u32).clamp(1, limit.max(1));
        let (crop_width, crop_height) = if ratio < min {
            (width, side(f64::from(width) / min, height))
        } else if ratio > max {
            (side(f64::from(height) * max, width), height)
        } else {
            (width, height)
        };
        Crop {
            top: (height.saturating_sub(crop_height)) / 2,
            left: (width.saturating_sub(crop_width)) / 2,
            height: crop_height,
            width: crop_width,
        }
    }
}

/// Parameters that a [`TrainTransform`] drew for one image.
#[derive(Clone, Debug, PartialEq)]
pub struct AugmentParams {
    /// The part of the image that is resized to the transformed image.
    pub crop: Crop,
    /// Changes of colour, each with its factor, in the order in which they are made.
    pub adjustments: Vec<(Adjustment, f64)>,
    /// Whether the image is mirrored in the end.
    pub is_mirrored: bool,
}

/// A change of colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Adjustment {
    /// [`adjust_brightness`]
    Brightness,
    /// [`adjust_contrast`]
    Contrast,
    /// [`adjust_saturation`]
    Saturation,
}

impl AugmentParams {
    /// Returns the augmented image, `size`×`size` pixels. `image` may lack the rows below the crop.
    ///
    /// # Errors
    /// [`ParameterError`] where the crop reaches beyond the image.
    pub fn apply(&self, image: &RgbImage, size: u32) -> Result<RgbImage, ParameterError> {
        let Crop { top, left, height, width } = self.crop;
        let mut image = resized_crop(image, top, left, height, width, size)?;
        for &(adjustment, factor) in &self.adjustments {
            match adjustment {
                Adjustment::Brightness => adjust_brightness(&mut image, factor),
                Adjustment::Contrast => adjust_contrast(&mut image, factor),
                Adjustment::Saturation => adjust_saturation(&mut image, factor),
            }
        }
        if self.is_mirrored {
            imageops::flip_horizontal_in_place(&mut image);
        }
        Ok(image)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fewshot_seed::stream;

    #[test]
    fn crops_are_of_the_area_and_ratio_asked_for() {
        let options = TrainTransform::new(84);
        for index in 0..2_000 {
            let crop = options.draw_crop(200, 160, &mut stream(0, "augment", &[0, index]));
            let share = f64::from(crop.width * crop.height) / (200.0 * 160.0);
            let ratio = f64::from(crop.width) / f64::from(crop.height);
            assert!((0.075..=1.0).contains(&share), "{crop:?}");
            assert!((0.72..=1.39).contains(&ratio), "{crop:?}");
            assert!(crop.left + crop.width <= 200 && crop.top + crop.height <= 160);
        }
    }

    #[test]
    fn images_too_long_for_any_attempt_are_cropped_centrally() {
        let options = TrainTransform { area: (1.0, 1.0), ..TrainTransform::new(84) };
        let draw = |w, h| options.draw_crop(w, h, &mut stream(0, "augment", &[]));
        let wide = Crop { top: 0, left: 93, height: 10, width: 13 };
        assert_eq!(draw(200, 10), wide);
        let tall = Crop { top: 93, left: 0, height: 13, width: 10 };
        assert_eq!(draw(10, 200), tall);
    }

    #[test]
    fn one_pixel_is_enough() {
        let image = RgbImage::from_pixel(1, 1, image::Rgb([9, 8, 7]));
        let options = TrainTransform { jitter: 0.0, ..TrainTransform::new(4) };
        let params = options.draw(1, 1, &mut stream(0, "augment", &[]));
        let image = params.apply(&image, 4).unwrap();
        assert!(image.pixels().all(|pixel| pixel.0 == [9, 8, 7]));
    }

    #[test]
    fn senseless_parameters_are_refused() {
        let good = TrainTransform::new(84);
        assert!(good.check().is_ok());
        for bad in [
            TrainTransform { area: (0.0, 1.0), ..good.clone() },
            TrainTransform { area: (0.5, f64::NAN), ..good.clone() },
            TrainTransform { ratio: (2.0, 1.0), ..good.clone() },
            TrainTransform { jitter: -0.1, ..good.clone() },
            TrainTransform { jitter: f64::NAN, ..good.clone() },
        ] {
            assert!(bad.check().is_err(), "{bad:?}");
        }
    }
}
