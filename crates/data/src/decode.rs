use std::io::Cursor;

use image::codecs::jpeg::JpegDecoder;
use image::codecs::png::PngDecoder;
use image::{DynamicImage, ImageDecoder, ImageFormat, Limits, RgbImage};

/// The most pixels a side of any image.
pub(crate) const MAX_SIDE: u32 = 16_384;
const MAX_ALLOC: u64 = 512 << 20;

/// Decodes a JPEG or PNG, told apart by its first bytes, to RGB. Alpha is dropped, grey
/// repeated and a palette looked up, as by Pillow's `convert("RGB")`.
///
/// The error says what is wrong; whoever knows the image's name adds it.
pub(crate) fn decode(bytes: &[u8]) -> Result<RgbImage, String> {
    match image::guess_format(bytes) {
        Ok(ImageFormat::Jpeg) => {
            // The decoder fills what is missing with grey and reports success.
            if !reaches_end_of_image(bytes) {
                return Err("truncated JPEG".into());
            }
            let decoder = JpegDecoder::new(Cursor::new(bytes)).map_err(|e| e.to_string())?;
            // A progressive JPEG's coefficients take twice the room of its pixels.
            to_rgb(decoder, 3)
        }
        Ok(ImageFormat::Png) => {
            let decoder =
                PngDecoder::with_limits(Cursor::new(bytes), limits()).map_err(|e| e.to_string())?;
            to_rgb(decoder, 1)
        }
        _ => Err("neither JPEG nor PNG".into()),
    }
}

fn to_rgb(mut decoder: impl ImageDecoder, working_copies: u64) -> Result<RgbImage, String> {
    let (width, height) = decoder.dimensions();
    if width.max(height) > MAX_SIDE {
        return Err(format!("{width}×{height} pixels, more than the limit of {MAX_SIDE} a side"));
    }
    let needed = decoder.total_bytes().saturating_mul(working_copies);
    if needed > MAX_ALLOC {
        return Err(format!(
            "{width}×{height} pixels take {needed} bytes to decode, more than the limit of {MAX_ALLOC}"
        ));
    }
    decoder.set_limits(limits()).map_err(|e| e.to_string())?;
    let image = DynamicImage::from_decoder(decoder).map_err(|e| e.to_string())?;
    Ok(image.into_rgb8())
}

fn limits() -> Limits {
    let mut limits = Limits::default();
    limits.max_image_width = Some(MAX_SIDE);
    limits.max_image_height = Some(MAX_SIDE);
    limits.max_alloc = Some(MAX_ALLOC);
    limits
}

/// Whether a JPEG's markers run on to its end-of-image marker. Segments are stepped over by
/// their length, so that the marker of an embedded thumbnail does not count.
fn reaches_end_of_image(jpeg: &[u8]) -> bool {
    let mut rest = jpeg;
    while let Some(start) = rest.iter().position(|&byte| byte == 0xff) {
        rest = &rest[start..];
        let Some(code) = rest.iter().position(|&byte| byte != 0xff) else {
            return false;
        };
        let marker = rest[code];
        rest = &rest[code + 1..];
        match marker {
            0xd9 => return true,
            // A stuffed byte of scan data, or a marker without a segment.
            0x00 | 0x01 | 0xd0..=0xd8 => {}
            _ => {
                let [high, low, ..] = *rest else { return false };
                let length = usize::from(u16::from_be_bytes([high, low]));
                rest = rest.get(length..).unwrap_or_default();
            }
        }
    }
    false
}
