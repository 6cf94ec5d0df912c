//! Colours of ink and paper.

use image::RgbImage;
use rand::Rng;

use super::geometry::{Point, jitter_point};
use super::raster::coverage;

/// Smallest difference of luminance between ink and paper, before shading and grain.
const CONTRAST: f32 = 0.35;
/// Largest difference of a channel of the paper from white, or from black.
const PAPER: f32 = 0.25;
/// Largest change of a channel of the paper from the middle to an edge.
const SHADE: f32 = 0.1;
/// Largest deviation of a channel of a pixel by grain.
const GRAIN: f32 = 0.1;
/// Most specks of dirt.
const MAX_SPECKS: usize = 4;

/// Red, green and blue from 0 to 1.
type Colour = [f32; 3];

/// Paints ink, which covers a fraction of each pixel, onto shaded, grainy, specked paper.
pub(super) fn paint(ink: &[f32], size: u32, rng: &mut impl Rng) -> RgbImage {
    let (paper_colour, ink_colour) = colours(rng);
    let right: Colour = shade(rng);
    let down: Colour = shade(rng);
    let dirt_colour = mix(paper_colour, rng.random(), 0.6);
    let dirt = specks(size, rng);
    let strength = rng.random_range(0.0..GRAIN) / 128.0;
    let mut image = RgbImage::new(size, size);
    rng.fill(&mut *image);

    let step = 2.0 / size as f32;
    for (index, pixel) in image.pixels_mut().enumerate() {
        let (x, y) = (index as u32 % size, index as u32 / size);
        let (u, v) = (x as f32 * step - 1.0, y as f32 * step - 1.0);
        let paper: Colour = std::array::from_fn(|c| paper_colour[c] + right[c] * u + down[c] * v);
        let colour = mix(mix(paper, dirt_colour, dirt[index]), ink_colour, ink[index]);
        for (channel, value) in pixel.0.iter_mut().zip(colour) {
            // The pixel still holds its random byte.
            let grain = (f32::from(*channel) - 127.5) * strength;
            // The cast saturates at 0 and at 255.
            *channel = ((value + grain) * 255.0 + 0.5) as u8;
        }
    }
    image
}

/// Draws the colours of paper and ink: light paper and any ink dark enough for it, or the other
/// way round.
fn colours(rng: &mut impl Rng) -> (Colour, Colour) {
    let light_paper = rng.random();
    let range = if light_paper { 1.0 - PAPER..1.0 } else { 0.0..PAPER };
    let paper: Colour = std::array::from_fn(|_| rng.random_range(range.clone()));
    loop {
        let ink = rng.random();
        let contrast = luminance(paper) - luminance(ink);
        if (if light_paper { contrast } else { -contrast }) >= CONTRAST {
            return (paper, ink);
        }
    }
}

pub(super) fn luminance([red, green, blue]: Colour) -> f32 {
    0.299 * red + 0.587 * green + 0.114 * blue
}

fn mix(under: Colour, over: Colour, share: f32) -> Colour {
    std::array::from_fn(|c| under[c] + (over[c] - under[c]) * share)
}

/// Draws the change of the paper's colour along one axis: mostly of lightness, a little of hue.
fn shade(rng: &mut impl Rng) -> Colour {
    let grey = rng.random_range(-0.7..0.7);
    std::array::from_fn(|_| SHADE * (grey + rng.random_range(-0.3f32..0.3)))
}

/// Draws the fraction of each pixel that dirt covers: dots and scratches far shorter than a stroke.
fn specks(size: u32, rng: &mut impl Rng) -> Vec<f32> {
    let side = size as f32;
    let paths: Vec<_> = (0..rng.random_range(0..=MAX_SPECKS))
        .map(|_| {
            let from = (Point::uniform(rng) + Point::new(1.0, 1.0)) * (0.5 * side);
            let scratch = jitter_point(rng, 0.05);
            vec![from, from + scratch * side]
        })
        .collect();
    coverage(&paths, side * rng.random_range(0.01..0.03), size)
}
