//! JPEGs, decoded by zune-jpeg and no further down than needed.

use image::RgbImage;
use image::metadata::Orientation;
use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use super::outline::{Frame, Outline};
use super::reader::Reader;

/// A JPEG whose segments run on to the end-of-image marker.
pub(super) struct Jpeg {
    bytes: Vec<u8>,
    width: u32,
    height: u32,
    frame: Option<Frame>,
}

impl Jpeg {
    pub(super) fn open(bytes: Vec<u8>) -> Result<Self, String> {
        let Outline { complete, frame, refusal } = Outline::of(&bytes);
        // The decoder fills what is missing with grey and reports success.
        if !complete {
            return Err("truncated JPEG".into());
        }
        if let Some(refusal) = refusal {
            return Err(refusal);
        }
        let (width, height) = match &frame {
            Some(frame) => (frame.width.into(), frame.height.into()),
            None => dimensions(&decoder(&bytes, false)?)?,
        };
        Ok(Self { bytes, width, height, frame })
    }

    pub(super) fn dimensions(&self) -> (u32, u32) {
        (self.width, self.height)
    }

    /// How the image is to be turned, if EXIF says.
    pub(super) fn orientation(&self) -> Option<Orientation> {
        let decoder = decoder(&self.bytes, false).ok()?;
        Orientation::from_exif_chunk(decoder.exif()?)
    }

    /// Most bytes that decoding the upper `rows` rows takes: where all coefficients are kept until the end,
    /// they take twice the room of the pixels.
    pub(super) fn memory(&self, rows: u32) -> u64 {
        match &self.frame {
            Some(frame) => 3 * u64::from(self.width) * u64::from(frame.rows_to_decode(rows)),
            None => 9 * u64::from(self.width) * u64::from(self.height),
        }
    }

    /// Decodes the upper `rows` rows, or more where the JPEG does not allow to stop there: most of
    /// a loader's time goes into decoding, and a random crop seldom reaches the bottom.
    pub(super) fn decode(
        mut self,
        rows: u32,
        buffer: Vec<u8>,
        strict: bool,
    ) -> Result<RgbImage, String> {
        let mut height = self.height;
        if let Some(frame) = &self.frame {
            // The decoder cannot decode a region, but it stops at the height in the header.
            let shorter = frame.rows_to_decode(rows);
            self.bytes[frame.height_at.clone()].copy_from_slice(&shorter.to_be_bytes());
            height = shorter.into();
        }
        let mut decoder = decoder(&self.bytes, strict)?;
        if dimensions(&decoder)? != (self.width, height) {
            return Err("a header that can be read in two ways".into());
        }
        let len = decoder.output_buffer_size().ok_or("too large")?;
        let mut pixels = buffer;
        // Zeros, because a broken image may leave pixels out.
        pixels.clear();
        pixels.resize(len, 0);
        decoder.decode_into(&mut pixels).map_err(|e| e.to_string())?;
        RgbImage::from_raw(self.width, height, pixels).ok_or_else(|| "too few pixels".into())
    }
}

/// A decoder that has read the headers. A strict one reports missing data where it notices it,
/// instead of filling it in.
fn decoder(jpeg: &[u8], strict: bool) -> Result<JpegDecoder<Reader<'_>>, String> {
    let options = DecoderOptions::default()
        .jpeg_set_out_colorspace(ColorSpace::RGB)
        .set_strict_mode(strict)
        .set_max_width(u16::MAX.into())
        .set_max_height(u16::MAX.into());
    let mut decoder = JpegDecoder::new_with_options(Reader::new(jpeg), options);
    decoder.decode_headers().map_err(|e| e.to_string())?;
    Ok(decoder)
}

fn dimensions(decoder: &JpegDecoder<Reader<'_>>) -> Result<(u32, u32), String> {
    let (width, height) = decoder.dimensions().ok_or("no dimensions")?;
    let side = |length: usize| u32::try_from(length).map_err(|e| e.to_string());
    Ok((side(width)?, side(height)?))
}
