//! Images of every colour type become RGB; broken ones are an error.

use std::io::{Cursor, Write};

use fewshot_images::decode;
use flate2::write::ZlibEncoder;
use flate2::{Compression, Crc};
use image::{DynamicImage, ImageFormat, RgbImage};
use jpeg_encoder::{ColorType, Encoder};

fn picture(tag: u8) -> RgbImage {
    RgbImage::from_fn(24, 16, |x, y| image::Rgb([tag, (x * 10) as u8, (y * 15) as u8]))
}

fn jpeg(tag: u8) -> Vec<u8> {
    encode_jpeg(&picture(tag), 24, 16, ColorType::Rgb)
}

fn encode_jpeg(samples: &[u8], width: u16, height: u16, colour: ColorType) -> Vec<u8> {
    let mut bytes = Vec::new();
    Encoder::new(&mut bytes, 90).encode(samples, width, height, colour).unwrap();
    bytes
}

fn png(tag: u8) -> Vec<u8> {
    save(picture(tag), ImageFormat::Png)
}

fn load(bytes: &[u8]) -> Result<RgbImage, String> {
    decode(bytes.to_vec()).map_err(|e| e.to_string())
}

fn save(image: impl Into<DynamicImage>, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Vec::new();
    let image = image.into();
    image.write_to(&mut Cursor::new(&mut bytes), format).unwrap();
    bytes
}

#[test]
fn grey_alpha_and_wide_samples_become_rgb() {
    let grey = save(image::GrayImage::from_pixel(3, 2, image::Luma([77])), ImageFormat::Png);
    assert_eq!(load(&grey).unwrap().get_pixel(2, 1).0, [77; 3]);
    let grey = encode_jpeg(&[77; 81], 9, 9, ColorType::Luma);
    assert_eq!(load(&grey).unwrap().get_pixel(8, 8).0, [77; 3]);
    // Alpha is dropped, not blended.
    let alpha = image::RgbaImage::from_pixel(3, 2, image::Rgba([1, 2, 3, 0]));
    let alpha = save(alpha, ImageFormat::Png);
    assert_eq!(load(&alpha).unwrap().get_pixel(0, 0).0, [1, 2, 3]);
    let wide = image::ImageBuffer::from_pixel(3, 2, image::Luma([0x8080_u16]));
    let wide = save(DynamicImage::ImageLuma16(wide), ImageFormat::Png);
    assert_eq!(load(&wide).unwrap().get_pixel(0, 0).0, [0x80; 3]);
}

#[test]
fn what_the_image_crate_reads_is_read() {
    let picture = picture(3);
    for format in [ImageFormat::WebP, ImageFormat::Bmp] {
        assert_eq!(load(&save(picture.clone(), format)).unwrap(), picture, "{format:?}");
    }
    let tiff = |compression| {
        let mut bytes = Cursor::new(Vec::new());
        let encoder = tiff::encoder::TiffEncoder::new(&mut bytes).unwrap();
        let mut encoder = encoder.with_compression(compression);
        encoder.write_image::<tiff::encoder::colortype::RGB8>(24, 16, &picture).unwrap();
        bytes.into_inner()
    };
    use tiff::encoder::Compression::{Deflate, Lzw, Uncompressed};
    for compression in [Uncompressed, Lzw, Deflate(Default::default())] {
        assert_eq!(load(&tiff(compression)).unwrap(), picture);
    }
    // JPEG in a TIFF is refused by name: tag 259 holds the compression, 7 is JPEG.
    let mut jpeg = tiff(Uncompressed);
    let tag = jpeg.windows(4).position(|tag| tag == [3, 1, 3, 0]).unwrap();
    jpeg[tag + 8] = 7;
    let error = load(&jpeg).unwrap_err();
    assert!(error.contains("JPEG") && error.contains("PNG"), "{error}");
}

#[test]
fn the_first_frame_of_an_animation_is_read() {
    let mut bytes = Vec::new();
    let mut encoder = image::codecs::gif::GifEncoder::new(&mut bytes);
    for level in [[200, 0, 0, 255], [0, 0, 200, 255]] {
        let frame = image::RgbaImage::from_pixel(6, 5, image::Rgba(level));
        encoder.encode_frame(image::Frame::new(frame)).unwrap();
    }
    drop(encoder);
    assert_eq!(load(&bytes).unwrap(), RgbImage::from_pixel(6, 5, image::Rgb([200, 0, 0])));
}

#[test]
fn a_palette_is_looked_up() {
    let mut pixels = ZlibEncoder::new(Vec::new(), Compression::fast());
    pixels.write_all(&[0, 1, 0]).unwrap();
    let header = [0, 0, 0, 2, 0, 0, 0, 1, 8, 3, 0, 0, 0];
    let mut bytes = b"\x89PNG\r\n\x1a\n".to_vec();
    bytes.extend(png_chunk(b"IHDR", &header));
    bytes.extend(png_chunk(b"PLTE", &[0, 0, 0, 10, 20, 30]));
    bytes.extend(png_chunk(b"IDAT", &pixels.finish().unwrap()));
    bytes.extend(png_chunk(b"IEND", &[]));
    let image = load(&bytes).unwrap();
    assert_eq!(image.as_raw()[..], [10, 20, 30, 0, 0, 0]);
}

fn png_chunk(kind: &[u8; 4], content: &[u8]) -> Vec<u8> {
    let mut checksum = Crc::new();
    checksum.update(kind);
    checksum.update(content);
    let len = (content.len() as u32).to_be_bytes();
    [&len, &kind[..], content, &checksum.sum().to_be_bytes()].concat()
}

#[test]
fn inverted_cmyk_is_multiplied_by_black() {
    let image = load(&cmyk_jpeg([200, 100, 50, 128])).unwrap();
    let pixel = image.get_pixel(3, 3).0;
    for (sample, expected) in pixel.into_iter().zip([100, 50, 25]) {
        assert!(i16::from(sample).abs_diff(expected) <= 1, "{pixel:?}");
    }
}

/// 8×8 pixels of one colour, stored inverted as Adobe does and says in its marker.
fn cmyk_jpeg(inverted: [u8; 4]) -> Vec<u8> {
    let mut bytes = vec![0xff, 0xd8];
    let mut segment = |marker: u8, content: &[u8]| {
        let [high, low] = (content.len() as u16 + 2).to_be_bytes();
        bytes.extend([0xff, marker, high, low]);
        bytes.extend(content);
    };
    segment(0xee, b"Adobe\0\x64\0\0\0\0\0");
    // A step of 8 makes the DC coefficient the level itself, less 128.
    segment(0xdb, &[[0].as_slice(), &[8; 64]].concat());
    let components = (1..=4).flat_map(|id| [id, 0x11, 0]);
    let frame: Vec<u8> = [8, 0, 8, 0, 8, 4].into_iter().chain(components).collect();
    segment(0xc0, &frame);
    // DC: nine codes of 4 bits, each its own size. AC: one bit, the end of the block.
    let dc = [[0x00, 0, 0, 0, 9].as_slice(), &[0; 12], &[0, 1, 2, 3, 4, 5, 6, 7, 8]].concat();
    segment(0xc4, &dc);
    segment(0xc4, &[[0x10, 1].as_slice(), &[0; 15], &[0]].concat());
    let selectors = (1..=4).flat_map(|id| [id, 0]);
    let scan: Vec<u8> = [4].into_iter().chain(selectors).chain([0, 63, 0]).collect();
    segment(0xda, &scan);

    let mut bits = String::new();
    for level in inverted {
        let difference = i32::from(level) - 128;
        let size = 32 - difference.unsigned_abs().leading_zeros() as usize;
        let code = if difference < 0 { difference + (1 << size) - 1 } else { difference };
        bits += &format!("{size:04b}");
        if size > 0 {
            bits += &format!("{code:0size$b}");
        }
        bits += "0";
    }
    bits += &"1".repeat(bits.len().next_multiple_of(8) - bits.len());
    for byte in bits.as_bytes().chunks(8) {
        bytes.push(u8::from_str_radix(std::str::from_utf8(byte).unwrap(), 2).unwrap());
    }
    bytes.extend([0xff, 0xd9]);
    bytes
}

#[test]
fn an_image_cut_anywhere_is_an_error() {
    for bytes in [jpeg(1), png(1)] {
        assert!(load(&bytes).is_ok());
        for cut in (0..bytes.len() - 12).step_by(7) {
            let error = load(&bytes[..cut]).unwrap_err();
            assert!(error.starts_with("broken image: "), "{error}");
        }
    }
}

#[test]
fn the_end_of_a_thumbnail_is_not_the_end_of_its_image() {
    let thumbnail = jpeg(2);
    let mut bytes = jpeg(1);
    let mut exif = vec![0xff, 0xe5];
    exif.extend((thumbnail.len() as u16 + 2).to_be_bytes());
    exif.extend(&thumbnail);
    bytes.splice(2..2, exif);
    assert!(load(&bytes).is_ok());
    assert!(load(&bytes[..bytes.len() - 40]).is_err());
}

#[test]
fn the_format_is_that_of_the_bytes() {
    assert_eq!(load(&png(3)).unwrap(), picture(3));
    for bytes in [&b""[..], b"text"] {
        assert!(load(bytes).unwrap_err().contains("JPEG, PNG, WebP, BMP, GIF and TIFF"));
    }
    assert!(load(b"qoif\0\0\0\x01\0\0\0\x01\x03\0").unwrap_err().contains("Qoi; "));
}

#[test]
fn images_of_absurd_size_are_refused_before_they_are_decoded() {
    let mut bytes = png(0);
    let mut header = bytes[16..29].to_vec();
    header[..4].copy_from_slice(&100_000u32.to_be_bytes());
    bytes.splice(8..33, png_chunk(b"IHDR", &header));
    assert!(load(&bytes).is_err());

    let mut bytes = jpeg(0);
    let frame = bytes.windows(2).position(|marker| marker == [0xff, 0xc0]).unwrap();
    for (side, refused) in [([0xff, 0xff], "a side"), ([0x3f, 0xff], "bytes to decode")] {
        bytes[frame + 5..frame + 7].copy_from_slice(&side);
        bytes[frame + 7..frame + 9].copy_from_slice(&side);
        let error = load(&bytes).unwrap_err();
        assert!(error.contains(refused), "{error}");
    }
}
