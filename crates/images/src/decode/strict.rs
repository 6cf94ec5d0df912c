//! Strict decoding, which finds damage that decoders tolerate.

use image::{ImageFormat, RgbImage};

use super::jpeg::Jpeg;
use super::{Encoded, decode, huffman};
use crate::DecodeError;

/// Length of the PNG signature in bytes.
const PNG_SIGNATURE: usize = 8;

/// Decodes an image and refuses it if it is damaged anywhere.
///
/// [`decode`](crate::decode) is for training: it shows grey or zeros where a JPEG's data is
/// missing, and ignores what follows an image. Here, in addition, the coded data of a baseline JPEG
/// has to match its number of blocks, the segments of any JPEG have to follow each other without a
/// gap, restart markers have to be in order, all chunks of a PNG need a correct CRC-32, and the
/// file has to end where the image does. What remains undetected is damage that happens to leave
/// valid code of as many blocks: changed coefficients of a JPEG, some bytes lost within one block,
/// and seldom more than that. Images of other kinds are decoded as [`decode`](crate::decode) does it.
///
/// # Errors
/// [`DecodeError`] says what is damaged.
pub fn check_image(bytes: Vec<u8>) -> Result<RgbImage, DecodeError> {
    match image::guess_format(&bytes) {
        Ok(ImageFormat::Jpeg) => {
            // Refuses an image that is too large.
            Encoded::open(bytes.clone())?;
            huffman::check(&bytes)?;
            Ok(Jpeg::open(bytes)?.decode(u32::MAX, Vec::new(), true)?)
        }
        Ok(ImageFormat::Png) => {
            check_chunks(&bytes)?;
            decode(bytes)
        }
        _ => decode(bytes),
    }
}

/// Checks the CRC-32 of each chunk, and that nothing follows the last.
fn check_chunks(png: &[u8]) -> Result<(), String> {
    let mut rest = png.get(PNG_SIGNATURE..).unwrap_or_default();
    loop {
        let (len, after) = rest.split_first_chunk().ok_or("truncated PNG")?;
        let len = u32::from_be_bytes(*len) as usize;
        let (chunk, after) = after.split_at_checked(len + 4).ok_or("truncated PNG")?;
        let (crc, after) = after.split_first_chunk().ok_or("truncated PNG")?;
        let kind = String::from_utf8_lossy(&chunk[..4]);
        if crc32fast::hash(chunk) != u32::from_be_bytes(*crc) {
            return Err(format!("the checksum of its chunk {} is wrong", kind.escape_debug()));
        }
        if kind == "IEND" {
            return nothing_follows(after);
        }
        rest = after;
    }
}

/// Refuses bytes beyond the end of an image.
pub(super) fn nothing_follows(rest: &[u8]) -> Result<(), String> {
    match rest.len() {
        0 => Ok(()),
        count => Err(format!("{count} bytes follow the end of the image")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jpeg_encoder::{ColorType, Encoder, SamplingFactor};
    use std::io::Cursor;

    const SIDE: u16 = 61;

    fn jpeg(set: impl Fn(&mut Encoder<&mut Vec<u8>>)) -> Vec<u8> {
        let noise = (0..usize::from(SIDE).pow(2) * 3).map(|i| (i * i / 7 % 251) as u8);
        let noise: Vec<_> = noise.collect();
        let mut bytes = Vec::new();
        let mut encoder = Encoder::new(&mut bytes, 80);
        set(&mut encoder);
        encoder.encode(&noise, SIDE, SIDE, ColorType::Rgb).unwrap();
        bytes
    }

    fn png() -> Vec<u8> {
        let image = RgbImage::from_fn(30, 20, |x, y| image::Rgb([x as u8 * 8, y as u8 * 9, 7]));
        let mut bytes = Cursor::new(Vec::new());
        image.write_to(&mut bytes, ImageFormat::Png).unwrap();
        bytes.into_inner()
    }

    /// Name, whole file, and whether the coded data is followed code by code.
    fn images() -> Vec<(&'static str, Vec<u8>, bool)> {
        vec![
            ("4:4:4", jpeg(|e| e.set_sampling_factor(SamplingFactor::F_1_1)), true),
            ("4:2:0", jpeg(|e| e.set_sampling_factor(SamplingFactor::F_2_2)), true),
            ("4:1:1", jpeg(|e| e.set_sampling_factor(SamplingFactor::F_4_1)), true),
            ("restart", jpeg(|e| e.set_restart_interval(3)), true),
            ("own tables", jpeg(|e| e.set_optimized_huffman_tables(true)), true),
            ("progressive", jpeg(|e| e.set_progressive(true)), false),
            ("PNG", png(), true),
        ]
    }

    #[test]
    fn what_is_whole_is_decoded() {
        for (name, bytes, _) in images() {
            let image = check_image(bytes.clone()).unwrap();
            assert_eq!(image, decode(bytes).unwrap(), "{name}");
        }
        let grey = image::GrayImage::from_fn(33, 9, |x, y| image::Luma([(x * y) as u8]));
        let (mut png, mut jpeg) = (Cursor::new(Vec::new()), Vec::new());
        grey.write_to(&mut png, ImageFormat::Png).unwrap();
        Encoder::new(&mut jpeg, 80).encode(&grey, 33, 9, ColorType::Luma).unwrap();
        for bytes in [png.into_inner(), jpeg] {
            assert_eq!(check_image(bytes).unwrap().dimensions(), (33, 9));
        }
    }

    #[test]
    fn what_is_cut_off_or_goes_on_is_refused() {
        for (name, bytes, _) in images() {
            for cut in 0..bytes.len() {
                assert!(check_image(bytes[..cut].to_vec()).is_err(), "{name} cut at {cut}");
            }
            let error = check_image([&bytes[..], b"abc"].concat()).unwrap_err();
            assert_eq!(error.reason, "3 bytes follow the end of the image", "{name}");
        }
    }

    /// A hole within one block may leave valid code; one of several blocks leaves as many blocks
    /// only by chance.
    #[test]
    fn holes_in_the_data_are_found_though_the_end_is_there() {
        for (name, bytes, _) in images().into_iter().filter(|(_, _, followed)| *followed) {
            let positions = (bytes.len() / 3..bytes.len() - 210).step_by(5);
            let count = positions.len();
            let (mut unseen, mut unseen_early) = ([0; 4], 0);
            for at in positions {
                let early = [&bytes[..at], &[0xff, 0xd9]].concat();
                unseen_early += usize::from(check_image(early).is_ok());
                for (unseen, missing) in unseen.iter_mut().zip([1, 7, 40, 200]) {
                    let cut = [&bytes[..at], &bytes[at + missing..]].concat();
                    *unseen += usize::from(check_image(cut).is_ok());
                }
            }
            println!("{name}: {unseen:?} of {count} holes of 1, 7, 40, 200 bytes unseen");
            assert!(count >= 20 || name == "PNG", "{name}: {count}");
            assert_eq!(unseen_early, 0, "{name}");
            assert!(unseen[3] * 20 <= count, "{name}: {unseen:?} of {count}");
        }
    }

    #[test]
    fn restart_markers_are_counted() {
        let mut bytes = jpeg(|e| e.set_restart_interval(3));
        let at = bytes.windows(2).position(|pair| pair == [0xff, 0xd1]).unwrap();
        bytes[at + 1] = 0xd4;
        assert!(check_image(bytes).unwrap_err().reason.contains("restart"));
    }
}
