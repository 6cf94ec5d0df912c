//! Resizes images that are larger than a training needs.

use std::io::Cursor;

use fewshot_data::{Error, resize};
use image::{ImageFormat, RgbImage};
use jpeg_encoder::{ColorType, Encoder, SamplingFactor};

/// JPEG quality of resized images.
const QUALITY: u8 = 95;

/// Returns a smaller file of the image if its shorter side has more than `side` pixels.
pub fn shrunk(file: &[u8], image: &RgbImage, side: u32) -> Result<Option<Vec<u8>>, Error> {
    let (width, height) = image.dimensions();
    let shorter = width.min(height);
    if shorter <= side {
        return Ok(None);
    }
    // Rounded to the nearest: each side is off by at most half a pixel.
    let scaled = |length: u32| {
        let doubled = 2 * u64::from(length) * u64::from(side);
        ((doubled + u64::from(shorter)) / (2 * u64::from(shorter))) as u32
    };
    let small = resize(image, scaled(width), scaled(height))?;
    let encoded = match image::guess_format(file) {
        Ok(ImageFormat::Png) => png(&small),
        _ => jpeg(&small),
    };
    let unencoded = |reason| Error::Image { image: format!("{width}×{height} pixels"), reason };
    encoded.map(Some).map_err(unencoded)
}

/// Encodes a JPEG of full colour resolution.
pub fn jpeg(image: &RgbImage) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes, QUALITY);
    encoder.set_sampling_factor(SamplingFactor::R_4_4_4);
    // At most 16,384 a side.
    let (width, height) = (image.width() as u16, image.height() as u16);
    encoder.encode(image, width, height, ColorType::Rgb).map_err(|e| e.to_string())?;
    Ok(bytes)
}

fn png(image: &RgbImage) -> Result<Vec<u8>, String> {
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, ImageFormat::Png).map_err(|e| e.to_string())?;
    Ok(bytes.into_inner())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_larger_is_made_smaller_and_stays_what_it_is() {
        let image = RgbImage::from_fn(300, 200, |x, y| image::Rgb([x as u8, y as u8, 90]));
        for (file, format) in
            [(jpeg(&image).unwrap(), ImageFormat::Jpeg), (png(&image).unwrap(), ImageFormat::Png)]
        {
            assert_eq!(shrunk(&file, &image, 200).unwrap(), None);
            let small = shrunk(&file, &image, 101).unwrap().unwrap();
            assert_eq!(image::guess_format(&small).unwrap(), format);
            let small = fewshot_data::check_image("small", small).unwrap();
            assert_eq!(small.dimensions(), (152, 101));
            let expected = resize(&image, 152, 101).unwrap();
            let furthest = small.iter().zip(expected.iter()).map(|(a, b)| a.abs_diff(*b)).max();
            assert!(furthest <= Some(6), "{furthest:?}");
        }
    }
}
