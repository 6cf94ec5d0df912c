//! From the bytes of a file to RGB pixels.

mod huffman;
mod jpeg;
mod outline;
mod reader;
mod scans;
mod strict;
#[cfg(test)]
mod tests;
mod tiff;

use std::io::Cursor;

use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits, RgbImage};

use self::jpeg::Jpeg;
pub use self::strict::check_image;
use self::tiff::Tiff;
use crate::DecodeError;

/// Most pixels a side of any image.
pub(crate) const MAX_SIDE: u32 = 16_384;
/// The kinds of image that are read.
const READ: &str = "JPEG, PNG, WebP, BMP, GIF and TIFF";
/// Most bytes that decoding an image may take.
const MAX_ALLOC: u64 = 512 << 20;

/// Decodes a JPEG, PNG, WebP, BMP, GIF or TIFF, told apart by its first bytes, to RGB: alpha is dropped,
/// grey repeated and a palette looked up, as by Pillow's `convert("RGB")`. Of several frames or
/// pages it is the first.
///
/// Samples of 16 bits are scaled to 8 and rounded. Pillow, in contrast, takes the upper 8 bits of
/// colours, and makes grey samples above 255 white.
///
/// Pixels are those that the file stores: the orientation that a camera notes in EXIF is not
/// applied, as it is not by torchvision's datasets, which read images by Pillow's `Image.open`.
///
/// # Errors
/// [`DecodeError`] where the bytes are of another kind, end too early, or hold an image of more
/// than 16,384 pixels a side or of more than 512 MiB in memory.
pub fn decode(bytes: Vec<u8>) -> Result<RgbImage, DecodeError> {
    Encoded::open(bytes)?.decode_rows(u32::MAX, Vec::new())
}

/// Decodes as [`decode`] does, and turns the image as the camera notes in EXIF that it is to be seen: what
/// every viewer of photographs shows.
///
/// # Errors
/// Those of [`decode`].
pub fn decode_upright(bytes: Vec<u8>) -> Result<RgbImage, DecodeError> {
    let mut encoded = Encoded::open(bytes)?;
    let orientation = encoded.orientation();
    let image = encoded.decode_rows(u32::MAX, Vec::new())?;
    if orientation == Orientation::NoTransforms {
        return Ok(image);
    }
    let mut image = DynamicImage::ImageRgb8(image);
    image.apply_orientation(orientation);
    Ok(image.into_rgb8())
}

/// An image whose size is known and within the limits of [`decode`].
pub struct Encoded {
    width: u32,
    height: u32,
    format: Format,
}

enum Format {
    Jpeg(Jpeg),
    Tiff(Box<Tiff>),
    Other(Box<dyn ImageDecoder>),
}

impl Encoded {
    /// Reads the header of an image, whose kind is told by its first bytes.
    ///
    /// # Errors
    /// Those of [`decode`] as far as the header shows them, and a JPEG without an end.
    pub fn open(bytes: Vec<u8>) -> Result<Self, DecodeError> {
        let format = image::guess_format(&bytes);
        match format {
            Ok(ImageFormat::Jpeg) => {
                let jpeg = Jpeg::open(bytes)?;
                let (width, height) = jpeg.dimensions();
                // A progressive JPEG's coefficients take twice the room of its pixels.
                check_size(width, height, 9 * u64::from(width) * u64::from(height))?;
                Ok(Self { width, height, format: Format::Jpeg(jpeg) })
            }
            Ok(ImageFormat::Tiff) => {
                let tiff = Tiff::open(bytes)?;
                let (width, height) = (tiff.width, tiff.height);
                check_size(width, height, tiff.total_bytes())?;
                Ok(Self { width, height, format: Format::Tiff(Box::new(tiff)) })
            }
            Ok(
                format @ (ImageFormat::Png
                | ImageFormat::WebP
                | ImageFormat::Bmp
                | ImageFormat::Gif),
            ) => {
                let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
                reader.limits(limits());
                let mut decoder = reader.into_decoder().map_err(|e| e.to_string())?;
                let (width, height) = decoder.dimensions();
                check_size(width, height, decoder.total_bytes())?;
                decoder.set_limits(limits()).map_err(|e| e.to_string())?;
                Ok(Self { width, height, format: Format::Other(Box::new(decoder)) })
            }
            Ok(other) => Err(format!("{other:?}; {READ} are read, so save it as one").into()),
            Err(_) => Err(format!("no image that is read, which are {READ}").into()),
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

    /// How the camera notes that the image is to be turned; as it is where nothing is noted.
    fn orientation(&mut self) -> Orientation {
        let noted = match &mut self.format {
            Format::Jpeg(jpeg) => jpeg.orientation(),
            Format::Tiff(_) => None,
            Format::Other(decoder) => decoder.orientation().ok(),
        };
        noted.unwrap_or(Orientation::NoTransforms)
    }

    /// Most bytes that decoding the upper `rows` rows takes, the pixels included.
    pub fn memory(&self, rows: u32) -> u64 {
        let pixels = u64::from(self.width) * u64::from(self.height);
        match &self.format {
            Format::Jpeg(jpeg) => jpeg.memory(rows),
            Format::Tiff(tiff) => tiff.total_bytes() + 3 * pixels,
            Format::Other(decoder) => 2 * decoder.total_bytes() + 3 * pixels,
        }
    }

    /// Decodes the upper `rows` rows as [`decode`] does, or more of them where the format does not
    /// allow to stop there. Pixels are written into the memory of `buffer`, whose content is lost.
    ///
    /// # Errors
    /// Those of [`decode`].
    pub fn decode_rows(self, rows: u32, buffer: Vec<u8>) -> Result<RgbImage, DecodeError> {
        match self.format {
            Format::Jpeg(jpeg) => Ok(jpeg.decode(rows, buffer, false)?),
            Format::Tiff(tiff) => Ok(tiff.decode()?),
            Format::Other(decoder) => {
                let image = DynamicImage::from_decoder(decoder).map_err(|e| e.to_string())?;
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
