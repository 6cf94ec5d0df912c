//! From the bytes of a file to RGB pixels.

mod huffman;
mod jpeg;
mod outline;
mod reader;
mod strict;
#[cfg(test)]
mod tests;

use std::io::Cursor;

use image::codecs::png::PngDecoder;
use image::{DynamicImage, ImageDecoder, ImageFormat, Limits, RgbImage};

use self::jpeg::Jpeg;
pub use self::strict::check_image;
use crate::DecodeError;

/// Most pixels a side of any image.
pub(crate) const MAX_SIDE: u32 = 16_384;
/// Most bytes that decoding an image may take.
const MAX_ALLOC: u64 = 512 << 20;

/// Decodes a JPEG or PNG, told apart by its first bytes, to RGB: alpha is dropped, grey repeated
/// and a palette looked up, as by Pillow's `convert("RGB")`.
///
/// # Errors
/// [`DecodeError`] where the bytes are no JPEG or PNG, end too early, or hold an image of more
/// than 16,384 pixels a side or of more than 512 MiB in memory.
pub fn decode(bytes: Vec<u8>) -> Result<RgbImage, DecodeError> {
    Encoded::open(bytes)?.decode_rows(u32::MAX, Vec::new())
}

/// An image whose size is known and within the limits of [`decode`].
pub struct Encoded {
    width: u32,
    height: u32,
    format: Format,
}

enum Format {
    Jpeg(Jpeg),
    Png(Box<PngDecoder<Cursor<Vec<u8>>>>),
}

impl Encoded {
    /// Reads the header of a JPEG or PNG, told apart by its first bytes.
    ///
    /// # Errors
    /// Those of [`decode`] as far as the header shows them, and a JPEG without an end.
    pub fn open(bytes: Vec<u8>) -> Result<Self, DecodeError> {
        match image::guess_format(&bytes) {
            Ok(ImageFormat::Jpeg) => {
                let jpeg = Jpeg::open(bytes)?;
                let (width, height) = jpeg.dimensions();
                // A progressive JPEG's coefficients take twice the room of its pixels.
                check_size(width, height, 9 * u64::from(width) * u64::from(height))?;
                Ok(Self { width, height, format: Format::Jpeg(jpeg) })
            }
            Ok(ImageFormat::Png) => {
                let mut png = PngDecoder::with_limits(Cursor::new(bytes), limits())
                    .map_err(|e| e.to_string())?;
                let (width, height) = png.dimensions();
                check_size(width, height, png.total_bytes())?;
                png.set_limits(limits()).map_err(|e| e.to_string())?;
                Ok(Self { width, height, format: Format::Png(Box::new(png)) })
            }
            _ => Err("neither JPEG nor PNG".to_owned().into()),
        }
    }

    /// Width in pixels.
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Height in pixels.
    pub fn height(&self) -> u32 {
        self.height
    }

    /// Decodes the upper `rows` rows as [`decode`] does, or more of them where the format does not
    /// allow to stop there. Pixels are written into the memory of `buffer`, whose content is lost.
    ///
    /// # Errors
    /// Those of [`decode`].
    pub fn decode_rows(self, rows: u32, buffer: Vec<u8>) -> Result<RgbImage, DecodeError> {
        match self.format {
            Format::Jpeg(jpeg) => Ok(jpeg.decode(rows, buffer, false)?),
            Format::Png(png) => {
                let image = DynamicImage::from_decoder(*png).map_err(|e| e.to_string())?;
                Ok(image.into_rgb8())
            }
        }
    }
}

/// Refuses an image of more than 16,384 pixels a side, or that takes more than 512 MiB to decode.
fn check_size(width: u32, height: u32, needed: u64) -> Result<(), String> {
    if width.max(height) > MAX_SIDE {
        return Err(format!("{width}×{height} pixels, more than the limit of {MAX_SIDE} a side"));
    }
    if needed > MAX_ALLOC {
        return Err(format!(
            "{width}×{height} pixels take {needed} bytes to decode, more than the limit of {MAX_ALLOC}"
        ));
    }
    Ok(())
}

fn limits() -> Limits {
    let mut limits = Limits::default();
    limits.max_image_width = Some(MAX_SIDE);
    limits.max_image_height = Some(MAX_SIDE);
    limits.max_alloc = Some(MAX_ALLOC);
    limits
}
