//! Photos turned into features.

use std::collections::HashMap;
use std::io::Cursor;

use fewshot_images::{Transform, decode_upright, resize};
use fewshot_progress::Progress;
use image::RgbImage;
use image::imageops::thumbnail;
use rayon::prelude::*;
use sha2::{Digest, Sha256};

use crate::{Error, Network, Photo};

/// Photos that are decoded at a time.
const BATCH: usize = 64;
/// Longest side of a thumbnail, in pixels.
const THUMBNAIL: u32 = 96;

/// What is kept of a photo.
#[derive(Clone, Debug, PartialEq)]
pub struct Extracted {
    /// SHA-256 of its file.
    pub sha256: String,
    /// Its feature `[D]`, L2-normalised.
    pub feature: Vec<f32>,
    /// A small JPEG of it; empty where none was asked for.
    pub thumbnail: Vec<u8>,
}

/// What photos are turned into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Features alone, to label photos.
    Features,
    /// Features, and thumbnails for an album or a report.
    Thumbnails,
}

/// A photo that has been read and decoded.
enum Decoded {
    /// Its feature is known.
    Known(Extracted),
    New {
        sha256: String,
        image: RgbImage,
        thumbnail: Vec<u8>,
    },
}

/// Extracts the features of photos, in their order; the error of each that is broken stands in its
/// place. Those whose content is in `known`, by its SHA-256, are not computed again.
///
/// # Errors
/// A network that fails.
pub fn extract(
    network: &Network,
    photos: &[Photo],
    known: &HashMap<String, Extracted>,
    wanted: Wanted,
) -> Result<Vec<Result<Extracted, Error>>, Error> {
    let progress = Progress::new("features", photos.len(), "photos");
    let mut all = Vec::with_capacity(photos.len());
    for batch in photos.chunks(BATCH) {
        let decoded: Vec<Result<Decoded, Error>> = batch
            .par_iter()
            .map(|photo| decode(network, &photo.name, photo.read()?, known, wanted))
            .collect();
        let images: Vec<RgbImage> = decoded
            .iter()
            .filter_map(|decoded| match decoded {
                Ok(Decoded::New { image, .. }) => Some(image.clone()),
                _ => None,
            })
            .collect();
        let features = if images.is_empty() { Vec::new() } else { network.features(&images)? };
        let mut features = features.into_iter();
        all.extend(decoded.into_iter().map(|decoded| {
            Ok(match decoded? {
                Decoded::Known(extracted) => extracted,
                Decoded::New { sha256, thumbnail, .. } => {
                    Extracted { sha256, feature: features.next().unwrap_or_default(), thumbnail }
                }
            })
        }));
        progress.advance(batch.len(), String::new);
    }
    Ok(all)
}

/// Extracts the feature of one photo from the bytes of its file.
///
/// # Errors
/// [`Error::Broken`] about `name`; a network that fails.
pub fn extract_one(network: &Network, name: &str, bytes: Vec<u8>) -> Result<Extracted, Error> {
    match decode(network, name, bytes, &HashMap::new(), Wanted::Thumbnails)? {
        Decoded::Known(extracted) => Ok(extracted),
        Decoded::New { sha256, image, thumbnail } => {
            let feature = network.features(&[image])?.pop().unwrap_or_default();
            Ok(Extracted { sha256, feature, thumbnail })
        }
    }
}

fn decode(
    network: &Network,
    name: &str,
    bytes: Vec<u8>,
    known: &HashMap<String, Extracted>,
    wanted: Wanted,
) -> Result<Decoded, Error> {
    let broken = |reason: String| Error::Broken { name: name.to_owned(), reason };
    let sha256: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    if let Some(extracted) = known.get(&sha256) {
        return Ok(Decoded::Known(extracted.clone()));
    }
    let image = decode_upright(bytes).map_err(|e| broken(e.to_string()))?;
    let thumbnail = match wanted {
        Wanted::Features => Vec::new(),
        Wanted::Thumbnails => small(&image).map_err(broken)?,
    };
    let transform = Transform::eval_for(network.image_size(), network.preprocessing());
    // Nothing is drawn at random.
    let mut rng = fewshot_seed::stream(0, "photos", &[]);
    let image = transform.apply(&image, &mut rng).map_err(|e| broken(e.to_string()))?;
    Ok(Decoded::New { sha256, image, thumbnail })
}

/// A JPEG of at most [`THUMBNAIL`] pixels a side.
fn small(image: &RgbImage) -> Result<Vec<u8>, String> {
    let longest = image.width().max(image.height()).max(1);
    let side = |length: u32| {
        let scaled = u64::from(length) * u64::from(THUMBNAIL.min(longest)) / u64::from(longest);
        (scaled as u32).max(1)
    };
    let (width, height) = (side(image.width()), side(image.height()));
    let small = match longest > 8 * THUMBNAIL {
        // Averages of whole pixels, which is quick for large photos.
        true => thumbnail(image, width, height),
        false => resize(image, width, height).map_err(|e| e.to_string())?,
    };
    let mut jpeg = Cursor::new(Vec::new());
    let encoder = jpeg_encoder::Encoder::new(&mut jpeg, 80);
    encoder
        .encode(small.as_raw(), width as u16, height as u16, jpeg_encoder::ColorType::Rgb)
        .map_err(|e| e.to_string())?;
    Ok(jpeg.into_inner())
}
