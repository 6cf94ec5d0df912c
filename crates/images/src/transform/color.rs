//! Brightness, contrast and saturation as Pillow adjusts them.

use image::RgbImage;
use pulp::Arch;

/// Blends with black: factor 0 gives black, 1 the image itself, more than 1 a brighter one.
pub fn adjust_brightness(image: &mut RgbImage, factor: f64) {
    blend_with_level(image, 0, factor);
}

/// Blends with the mean grey of the image: factor 0 gives that grey, 1 the image itself.
pub fn adjust_contrast(image: &mut RgbImage, factor: f64) {
    let pixels = image.as_raw().as_chunks::<3>().0;
    let sum = Arch::new().dispatch(
        #[inline(always)]
        || sum_of_luma(pixels),
    );
    let mean = sum as f64 / pixels.len().max(1) as f64;
    blend_with_level(image, (mean + 0.5) as u8, factor);
}

/// Blends each pixel with its grey: factor 0 gives a grey image, 1 the image itself.
pub fn adjust_saturation(image: &mut RgbImage, factor: f64) {
    let pixels = image.as_chunks_mut::<3>().0;
    let mut planes = vec![0; 3 * pixels.len()];
    // One dispatch each: in one function, the compiler vectorises none of them.
    let arch = Arch::new();
    arch.dispatch(
        #[inline(always)]
        || split(pixels, &mut planes),
    );
    arch.dispatch(
        #[inline(always)]
        || blend_with_luma(&mut planes, factor as f32),
    );
    arch.dispatch(
        #[inline(always)]
        || join(&planes, pixels),
    );
}

/// Grey as Pillow's `convert("L")`: ITU-R 601-2 in 16-bit fixed point.
#[inline(always)]
fn luma([r, g, b]: [u8; 3]) -> u8 {
    let weighted = 19_595 * u32::from(r) + 38_470 * u32::from(g) + 7_471 * u32::from(b);
    ((weighted + 0x8000) >> 16) as u8
}

#[inline(always)]
fn sum_of_luma(pixels: &[[u8; 3]]) -> u64 {
    // Sums of 32 bits take half the room in a vector register.
    let row = |row: &[[u8; 3]]| row.iter().map(|&pixel| u32::from(luma(pixel))).sum::<u32>();
    pixels.chunks(1 << 16).map(|pixels| u64::from(row(pixels))).sum()
}

/// `[pixels, 3]` to `[3, pixels]`.
#[inline(always)]
fn split(pixels: &[[u8; 3]], planes: &mut [u8]) {
    let (red, rest) = planes.split_at_mut(pixels.len());
    let (green, blue) = rest.split_at_mut(pixels.len());
    for (((pixel, r), g), b) in pixels.iter().zip(red).zip(green).zip(blue) {
        [*r, *g, *b] = *pixel;
    }
}

/// `[3, pixels]` to `[pixels, 3]`.
#[inline(always)]
fn join(planes: &[u8], pixels: &mut [[u8; 3]]) {
    let (red, rest) = planes.split_at(pixels.len());
    let (green, blue) = rest.split_at(pixels.len());
    for (((pixel, r), g), b) in pixels.iter_mut().zip(red).zip(green).zip(blue) {
        *pixel = [*r, *g, *b];
    }
}

#[inline(always)]
fn blend_with_luma(planes: &mut [u8], factor: f32) {
    let (red, rest) = planes.split_at_mut(planes.len() / 3);
    let (green, blue) = rest.split_at_mut(red.len());
    for ((r, g), b) in red.iter_mut().zip(green).zip(blue) {
        let grey = luma([*r, *g, *b]);
        *r = blend(grey, *r, factor);
        *g = blend(grey, *g, factor);
        *b = blend(grey, *b, factor);
    }
}

fn blend_with_level(image: &mut RgbImage, level: u8, factor: f64) {
    let factor = factor as f32;
    let mut table = [0; 256];
    for (sample, blended) in (0..=255).zip(&mut table) {
        *blended = blend(level, sample, factor);
    }
    for sample in image.iter_mut() {
        *sample = table[usize::from(*sample)];
    }
}

/// Blends in single precision, clips to 0…255 and truncates, as Pillow's blend.
#[inline(always)]
#[expect(clippy::manual_clamp, reason = "`clamp` passes NaN on")]
fn blend(from: u8, to: u8, factor: f32) -> u8 {
    let blended = f32::from(from) + factor * (f32::from(to) - f32::from(from));
    // Of NaN and a number, `max` is the number.
    let clipped = blended.max(0.0).min(255.0);
    // SAFETY: `clipped` is from 0 to 255 and never NaN. `as` would check both again, which keeps
    // the compiler from vectorising it.
    unsafe { clipped.to_int_unchecked::<i32>() as u8 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image() -> RgbImage {
        RgbImage::from_fn(211, 97, |x, y| image::Rgb([(x * 3) as u8, (y * 5) as u8, (x * y) as u8]))
    }

    #[test]
    fn a_blend_is_clipped_and_truncated_as_a_cast_does() {
        let factors = [-1e30, -0.5, 0.0, 0.6, 0.999_999_9, 1.0, 1.4, 3e38];
        for factor in factors.into_iter().chain([f32::INFINITY, f32::NEG_INFINITY, f32::NAN]) {
            for (from, to) in (0..=255).flat_map(|from| (0..=255).map(move |to| (from, to))) {
                let difference = f32::from(to) - f32::from(from);
                let expected = (f32::from(from) + factor * difference) as u8;
                assert_eq!(blend(from, to, factor), expected, "{from}, {to}, {factor}");
            }
        }
    }

    #[test]
    fn saturation_is_the_same_without_vectors() {
        let (mut adjusted, mut expected) = (image(), image());
        adjust_saturation(&mut adjusted, 1.3);
        for pixel in expected.as_chunks_mut::<3>().0 {
            let grey = luma(*pixel);
            *pixel = pixel.map(|sample| blend(grey, sample, 1.3));
        }
        assert_eq!(adjusted, expected);

        let mut planes = vec![0; expected.len()];
        let mut portable = image();
        let pixels = portable.as_chunks_mut::<3>().0;
        split(pixels, &mut planes);
        blend_with_luma(&mut planes, 1.3);
        join(&planes, pixels);
        assert_eq!(portable, expected);
    }

    #[test]
    fn the_sum_of_luma_is_the_same_without_vectors() {
        let image = RgbImage::from_pixel(300, 301, image::Rgb([255, 254, 253]));
        let pixels = image.as_raw().as_chunks::<3>().0;
        let expected: u64 = pixels.iter().map(|&pixel| u64::from(luma(pixel))).sum();
        assert_eq!(sum_of_luma(pixels), expected);
        let vectors = Arch::new().dispatch(
            #[inline(always)]
            || sum_of_luma(pixels),
        );
        assert_eq!(vectors, expected);
    }
}
