//! TIFFs, by the tiff crate itself: by way of the image crate it comes with a JPEG decoder of its own,
//! an older one than ours. A TIFF of JPEG data is refused.

use std::io::Cursor;

use image::{DynamicImage, ImageBuffer, RgbImage};
use tiff::decoder::{Decoder, DecodingResult, Limits};
use tiff::{ColorType, TiffError};

use super::MAX_ALLOC;

/// A TIFF whose header is read.
pub(super) struct Tiff {
    decoder: Decoder<Cursor<Vec<u8>>>,
    pub width: u32,
    pub height: u32,
    colour: ColorType,
}

impl Tiff {
    pub(super) fn open(bytes: Vec<u8>) -> Result<Self, String> {
        let read = || -> Result<Self, TiffError> {
            let mut limits = Limits::default();
            limits.decoding_buffer_size = MAX_ALLOC as usize;
            let mut decoder = Decoder::new(Cursor::new(bytes))?.with_limits(limits);
            let ((width, height), colour) = (decoder.dimensions()?, decoder.colortype()?);
            Ok(Self { decoder, width, height, colour })
        };
        read().map_err(|e| e.to_string())
    }

    /// Bytes of the decoded samples.
    pub(super) fn total_bytes(&self) -> u64 {
        let bytes = u64::from(self.colour.num_samples()) * u64::from(self.colour.bit_depth() / 8);
        u64::from(self.width) * u64::from(self.height) * bytes.max(1)
    }

    pub(super) fn decode(mut self) -> Result<RgbImage, String> {
        use ColorType::{Gray, GrayA, RGB, RGBA};
        use DecodingResult::{U8, U16};
        let (width, height) = (self.width, self.height);
        let samples = self.decoder.read_image().map_err(|e| match e {
            TiffError::UnsupportedError(e) => format!("{e}; save it as PNG"),
            e => e.to_string(),
        })?;
        macro_rules! image {
            ($kind:ident, $samples:expr) => {
                ImageBuffer::from_raw(width, height, $samples).map(DynamicImage::$kind)
            };
        }
        let image = match (self.colour, samples) {
            (Gray(8), U8(samples)) => image!(ImageLuma8, samples),
            (GrayA(8), U8(samples)) => image!(ImageLumaA8, samples),
            (RGB(8), U8(samples)) => image!(ImageRgb8, samples),
            (RGBA(8), U8(samples)) => image!(ImageRgba8, samples),
            (Gray(16), U16(samples)) => image!(ImageLuma16, samples),
            (GrayA(16), U16(samples)) => image!(ImageLumaA16, samples),
            (RGB(16), U16(samples)) => image!(ImageRgb16, samples),
            (RGBA(16), U16(samples)) => image!(ImageRgba16, samples),
            (other, _) => {
                return Err(format!(
                    "a TIFF of {other:?}; grey and RGB of 8 or 16 bits are read, \
                                    so save it as PNG"
                ));
            }
        };
        Ok(image.ok_or("too few samples; save it as PNG")?.into_rgb8())
    }
}
