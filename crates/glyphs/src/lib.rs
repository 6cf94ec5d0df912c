//! Glyphs: a few-shot image set of 100 classes that needs no download.
//!
//! A class is a `program` of one to four strokes, like a handwritten character. An image is one
//! drawing of it: an unsteady `hand` traces the strokes, a pen (`raster`) turns them into pixels,
//! and `paint` colours ink and paper. Image `(class, index)` is a function of the seed and of these
//! two numbers: there are no files and no state, and any image can be drawn at any time, by any
//! thread.
//!
//! Ink and paper have random colours, light on dark as often as dark on light, so that comparing
//! pixels tells little about the class: only the shape of the strokes does. Classes come in families
//! of four (0 to 3, 4 to 7, …) that share all but one line or curve.
//!
//! All arithmetic is `+`, `-`, `*`, `/` and the square root of `f32`, which IEEE 754 rounds the
//! same everywhere; rotations and arcs use rational forms in place of sine and cosine. So an image
//! has the same bytes on every platform.
//!
//! ```
//! use fewshot_glyphs::{GlyphOptions, Glyphs};
//!
//! let glyphs = Glyphs::new(&GlyphOptions::default());
//! let image = glyphs.draw(7, 0);
//! assert_eq!(image.dimensions(), (48, 48));
//! assert_eq!(image, glyphs.draw(7, 0));
//! assert_ne!(image, glyphs.draw(7, 1));
//! ```

#![forbid(unsafe_code)]

mod geometry;
mod hand;
mod paint;
mod program;
mod raster;

use fewshot_seed::stream;
use image::RgbImage;

use crate::program::Program;

/// Number of classes to train on: 0 to 63.
pub const BASE_CLASSES: u32 = 64;
/// Number of classes to validate on: 64 to 79.
pub const VAL_CLASSES: u32 = 16;
/// Number of classes to test on: 80 to 99.
pub const NOVEL_CLASSES: u32 = 20;

const CLASSES: u32 = BASE_CLASSES + VAL_CLASSES + NOVEL_CLASSES;

/// Options of a set of glyphs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GlyphOptions {
    /// Seed of every class and every image.
    pub seed: u64,
    /// Side of an image, in pixels.
    pub size: u32,
    /// Number of images of a class, for datasets; [`Glyphs::draw`] has no limit.
    pub images_per_class: usize,
}

impl Default for GlyphOptions {
    fn default() -> Self {
        Self { seed: 0, size: 48, images_per_class: 100 }
    }
}

/// A set of 100 classes of glyphs.
#[derive(Clone, Debug)]
pub struct Glyphs {
    seed: u64,
    size: u32,
    programs: Vec<Program>,
}

impl Glyphs {
    /// Generates the classes.
    pub fn new(options: &GlyphOptions) -> Self {
        let programs = program::generate(options.seed, CLASSES as usize);
        Self { seed: options.seed, size: options.size, programs }
    }

    /// Draws image `index` of `class`.
    ///
    /// # Panics
    ///
    /// If `class` is not below 100.
    pub fn draw(&self, class: u32, index: u64) -> RgbImage {
        let mut rng = stream(self.seed, "glyph image", &[class.into(), index]);
        let coverage = hand::draw(&self.programs[class as usize], self.size, &mut rng);
        paint::paint(&coverage, self.size, &mut rng)
    }

    /// Returns the name of a class: `glyph_000` to `glyph_099`.
    pub fn class_name(class: u32) -> String {
        format!("glyph_{class:03}")
    }
}

#[cfg(test)]
mod tests;
