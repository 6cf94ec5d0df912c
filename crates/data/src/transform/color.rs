use image::RgbImage;

/// Blends with black: 0 is black, 1 the image itself, more than 1 brighter.
pub fn adjust_brightness(image: &mut RgbImage, factor: f64) {
    blend_with_level(image, 0, factor);
}

/// Blends with the mean grey of the image: 0 is that grey, 1 the image itself.
pub fn adjust_contrast(image: &mut RgbImage, factor: f64) {
    let pixels = image.as_raw().as_chunks::<3>().0;
    let sum: u64 = pixels.iter().map(|pixel| u64::from(luma(pixel))).sum();
    let mean = sum as f64 / pixels.len().max(1) as f64;
    blend_with_level(image, (mean + 0.5) as u8, factor);
}

/// Blends each pixel with its grey: 0 is a grey image, 1 the image itself.
pub fn adjust_saturation(image: &mut RgbImage, factor: f64) {
    let factor = factor as f32;
    for pixel in image.as_chunks_mut::<3>().0 {
        let grey = luma(pixel);
        *pixel = pixel.map(|sample| blend(grey, sample, factor));
    }
}

/// Grey as Pillow's `convert("L")`: ITU-R 601-2 in 16-bit fixed point.
fn luma(&[r, g, b]: &[u8; 3]) -> u8 {
    let weighted = 19_595 * u32::from(r) + 38_470 * u32::from(g) + 7_471 * u32::from(b);
    ((weighted + 0x8000) >> 16) as u8
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

/// In single precision, and truncated, as Pillow's blend. `as` clips to 0…255.
fn blend(from: u8, to: u8, factor: f32) -> u8 {
    (f32::from(from) + factor * (f32::from(to) - f32::from(from))) as u8
}
