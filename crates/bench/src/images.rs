//! JPEG files for both sides: mini-ImageNet's if FEWSHOT_DATA has it, else generated ones.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use fewshot_seed::stream;
use image::{Rgb, RgbImage, imageops};
use jpeg_encoder::{ColorType, Encoder, SamplingFactor};
use rand::Rng;

use super::Error;

/// Folder of mini-ImageNet under FEWSHOT_DATA.
const MINI_IMAGENET: &str = "mini-imagenet-84";
/// Side of mini-ImageNet's images, in pixels.
const SMALL: u32 = 84;
/// The usual width and height of ImageNet's photographs.
const LARGE: (u32, u32) = (500, 375);
/// Small images along each side of a large one.
const TILES: u32 = 5;
/// JPEG quality of generated images.
const QUALITY: u8 = 90;

/// Returns `count` JPEGs of 84×84 pixels: mini-ImageNet's files, or generated ones.
///
/// # Errors
/// An archive that cannot be read.
pub fn small(data: Option<&Path>, count: usize) -> Result<Vec<Vec<u8>>, Error> {
    match data.map(|data| data.join(MINI_IMAGENET).join("val.tar")) {
        Some(archive) if archive.exists() => stored(&archive, count),
        _ => (0..count as u64).map(|number| encode(&generate(number))).collect(),
    }
}

/// Returns `count` JPEGs of 500×375 pixels, each a mosaic of magnified small images, with 4:2:0
/// chroma subsampling as in photographs.
///
/// # Errors
/// As [`small`].
pub fn large(data: Option<&Path>, count: usize) -> Result<Vec<Vec<u8>>, Error> {
    let tiles = (TILES * TILES) as usize;
    let decoded = small(data, count + tiles - 1)?;
    let decoded: Vec<_> = decoded
        .iter()
        .map(|bytes| fewshot_data::check_image("val.tar", bytes.clone()))
        .collect::<Result<_, _>>()
        .map_err(|error| Error::Process(format!("val.tar has a file that is no image: {error}")))?;
    decoded.windows(tiles).map(|tiles| encode(&mosaic(tiles))).collect()
}

/// Returns the archives of mini-ImageNet's base classes; none if FEWSHOT_DATA does not have them.
pub fn base_archives(data: Option<&Path>) -> Vec<PathBuf> {
    let Some(data) = data else { return Vec::new() };
    let archives = (0..4).map(|part| data.join(MINI_IMAGENET).join(format!("base-{part}.tar")));
    archives.filter(|archive| archive.exists()).collect()
}

/// Reads the first `count` JPEGs of an archive.
fn stored(archive: &Path, count: usize) -> Result<Vec<Vec<u8>>, Error> {
    let read = || -> std::io::Result<Vec<Vec<u8>>> {
        let mut files = Vec::with_capacity(count);
        for entry in tar::Archive::new(File::open(archive)?).entries()? {
            let mut entry = entry?;
            if files.len() < count && entry.path()?.extension().is_some_and(|e| e == "jpg") {
                let mut bytes = Vec::new();
                entry.read_to_end(&mut bytes)?;
                files.push(bytes);
            }
        }
        Ok(files)
    };
    read().map_err(Error::at("read", archive))
}

fn encode(image: &RgbImage) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes, QUALITY);
    encoder.set_sampling_factor(SamplingFactor::R_4_2_0);
    let (width, height) = (image.width() as u16, image.height() as u16);
    encoder
        .encode(image, width, height, ColorType::Rgb)
        .map_err(|error| Error::Process(format!("an image cannot be encoded: {error}")))?;
    Ok(bytes)
}

/// Puts small images beside and below each other and magnifies the whole to [`LARGE`].
fn mosaic(tiles: &[RgbImage]) -> RgbImage {
    let mut mosaic = RgbImage::new(TILES * SMALL, TILES * SMALL);
    for (number, tile) in (0..).zip(tiles) {
        let (x, y) = (number % TILES * SMALL, number / TILES * SMALL);
        imageops::replace(&mut mosaic, tile, x.into(), y.into());
    }
    imageops::resize(&mosaic, LARGE.0, LARGE.1, imageops::FilterType::Lanczos3)
}

/// Draws noise whose amplitude falls with its frequency, as in photographs.
fn generate(number: u64) -> RgbImage {
    let mut rng = stream(0, "bench-image", &[number]);
    let mut pixels = vec![[128.0f32; 3]; (SMALL * SMALL) as usize];
    for octave in 0..6 {
        let cells = 2 << octave;
        let amplitude = 160.0 / cells as f32;
        let gray = Rgb([0f32; 3]);
        let mut grid = image::ImageBuffer::from_pixel(cells, cells, gray);
        grid.pixels_mut().for_each(|pixel| *pixel = Rgb(rng.random()));
        let grid = imageops::resize(&grid, SMALL, SMALL, imageops::FilterType::Triangle);
        for (sum, pixel) in pixels.iter_mut().zip(grid.pixels()) {
            for (sum, value) in sum.iter_mut().zip(pixel.0) {
                *sum += amplitude * (2.0 * value - 1.0);
            }
        }
    }
    RgbImage::from_fn(SMALL, SMALL, |x, y| {
        // The conversion stays within 0 to 255.
        Rgb(pixels[(y * SMALL + x) as usize].map(|value| value as u8))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generated_images_are_jpegs_of_their_size() {
        let size =
            |bytes: &[u8]| fewshot_data::check_image("made", bytes.to_vec()).unwrap().dimensions();
        let small = small(None, 3).unwrap();
        assert_eq!(small.len(), 3);
        assert!(small.iter().all(|bytes| size(bytes) == (SMALL, SMALL)));
        assert_ne!(small[0], small[1]);
        let large = large(None, 2).unwrap();
        assert_eq!(large.len(), 2);
        assert!(large.iter().all(|bytes| size(bytes) == LARGE));
    }
}
