//! The file of an album: safetensors with metadata, and nothing in it that is executed.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use fewshot_experiment::write_atomically;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::{Deserialize, Serialize};

use crate::album::{Backbone, Calibration};
use crate::classifier::Classifier;
use crate::{Album, Error, Extracted, HeadKind, HeldOut, Support};

/// The field of the metadata that says all but numbers.
const FIELD: &str = "fewshot-album";
/// Version of the format.
const VERSION: u32 = 1;
/// Longest file, in bytes: a million photos of 512 numbers and a thumbnail are shorter.
const MAX_LENGTH: u64 = 8 << 30;

#[derive(Deserialize, Serialize)]
struct Metadata {
    version: u32,
    backbone: Backbone,
    head: HeadKind,
    false_alarms: f64,
    seed: u64,
    classes: Vec<String>,
    calibration: Calibration,
    held_out: HeldOut,
    photos: Vec<PhotoEntry>,
}

#[derive(Deserialize, Serialize)]
struct PhotoEntry {
    name: String,
    label: usize,
    sha256: String,
    /// Length of its thumbnail, in bytes; they lie one after the other.
    thumbnail: usize,
}

impl Album {
    /// Writes the album to a temporary file and renames it to `path`.
    ///
    /// # Errors
    /// [`Error::Network`] for a file that cannot be written; `path` is then as it was.
    pub fn save(&self, path: &Path) -> Result<(), Error> {
        let entry = |support: &Support| PhotoEntry {
            name: support.name.clone(),
            label: support.label,
            sha256: support.extracted.sha256.clone(),
            thumbnail: support.extracted.thumbnail.len(),
        };
        let metadata = Metadata {
            version: VERSION,
            backbone: self.backbone.clone(),
            head: self.head,
            false_alarms: self.false_alarms,
            seed: self.seed,
            classes: self.classes.clone(),
            calibration: self.calibration,
            held_out: self.held_out.clone(),
            photos: self.supports.iter().map(entry).collect(),
        };
        let text = serde_json::to_string(&metadata).map_err(|e| Error::album(path, e))?;
        let (photos, classes, dim) = (self.supports.len(), self.classes.len(), self.backbone.dim);
        let features = self.supports.iter().flat_map(|support| &support.extracted.feature);
        let thumbnails: Vec<u8> =
            self.supports.iter().flat_map(|s| s.extracted.thumbnail.iter().copied()).collect();
        let tensors = [
            ("bias", Dtype::F32, vec![classes], bytes(&self.classifier.bias)),
            ("features", Dtype::F32, vec![photos, dim], bytes(features)),
            ("means", Dtype::F32, vec![classes, dim], bytes(&self.means)),
            ("thumbnails", Dtype::U8, vec![thumbnails.len()], thumbnails),
            ("weight", Dtype::F32, vec![classes, dim], bytes(&self.classifier.weight)),
        ];
        let views: BTreeMap<&str, TensorView<'_>> = tensors
            .iter()
            .map(|(name, dtype, shape, data)| {
                Ok((*name, TensorView::new(*dtype, shape.clone(), data)?))
            })
            .collect::<Result<_, safetensors::SafeTensorError>>()
            .map_err(|e| Error::album(path, e))?;
        let metadata = HashMap::from([(FIELD.to_owned(), text)]);
        let file =
            safetensors::serialize(views, Some(metadata)).map_err(|e| Error::album(path, e))?;
        Ok(write_atomically(path, &file)?)
    }

    /// Reads an album.
    ///
    /// # Errors
    /// [`Error::Album`] for a file that is none, or is damaged.
    pub fn load(path: &Path) -> Result<Self, Error> {
        let bad = |reason: &dyn std::fmt::Display| Error::album(path, reason);
        let meta = std::fs::metadata(path).map_err(|e| bad(&e))?;
        if !meta.is_file() || meta.len() > MAX_LENGTH {
            return Err(bad(&"no album, which `fewshot fit` makes"));
        }
        let bytes = std::fs::read(path).map_err(|e| bad(&e))?;
        let is_none = |e: safetensors::SafeTensorError| {
            bad(&format!("no album, which `fewshot fit` makes, or a damaged one: {e}"))
        };
        let (_, header) = SafeTensors::read_metadata(&bytes).map_err(is_none)?;
        let text = header.metadata().as_ref().and_then(|fields| fields.get(FIELD));
        let text = text.ok_or_else(|| bad(&"no album, which `fewshot fit` makes"))?;
        let metadata: Metadata = serde_json::from_str(text).map_err(|e| bad(&e))?;
        if metadata.version != VERSION {
            let reason =
                format!("of version {}, and this program knows {VERSION}", metadata.version);
            return Err(bad(&reason));
        }
        let tensors = SafeTensors::deserialize(&bytes).map_err(is_none)?;
        let (photos, classes) = (metadata.photos.len(), metadata.classes.len());
        let dim = metadata.backbone.dim;
        let numbers = |name: &str, shape: &[usize]| -> Result<Vec<f32>, Error> {
            let view = tensors.tensor(name).map_err(|e| bad(&e))?;
            if view.dtype() != Dtype::F32 || view.shape() != shape {
                return Err(bad(&format!("`{name}` is {:?}, expected {shape:?}", view.shape())));
            }
            let numbers: Vec<f32> =
                view.data().as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
            match numbers.iter().all(|number| number.is_finite()) {
                true => Ok(numbers),
                false => Err(bad(&format!("`{name}` holds a number that is not finite"))),
            }
        };
        if dim == 0 || classes < 2 || metadata.photos.iter().any(|photo| photo.label >= classes) {
            return Err(bad(&"its classes do not fit its photos"));
        }
        let is_sound = |answer: &(usize, f32)| answer.0 < classes && answer.1.is_finite();
        if metadata.held_out.answers.len() != photos
            || !metadata.held_out.answers.iter().flatten().all(is_sound)
            || metadata.calibration.temperature <= 0.0
            || !metadata.calibration.temperature.is_finite()
        {
            return Err(bad(&"what it says of itself does not fit its photos"));
        }
        let features = numbers("features", &[photos, dim])?;
        let thumbnails = tensors.tensor("thumbnails").map_err(|e| bad(&e))?;
        let lengths = metadata.photos.iter().map(|photo| photo.thumbnail);
        let total = lengths.fold(0usize, usize::saturating_add);
        if thumbnails.dtype() != Dtype::U8 || thumbnails.data().len() != total {
            return Err(bad(&"its thumbnails do not fit its photos"));
        }
        let mut rest = thumbnails.data();
        let support = |(photo, feature): (PhotoEntry, &[f32])| {
            let (thumbnail, after) = rest.split_at(photo.thumbnail);
            rest = after;
            let (sha256, thumbnail) = (photo.sha256, thumbnail.to_vec());
            let extracted = Extracted { sha256, feature: feature.to_vec(), thumbnail };
            Support { name: photo.name, label: photo.label, extracted }
        };
        let weight = numbers("weight", &[classes, dim])?;
        let classifier = Classifier { weight, bias: numbers("bias", &[classes])? };
        Ok(Self {
            head: metadata.head,
            false_alarms: metadata.false_alarms,
            seed: metadata.seed,
            supports: metadata
                .photos
                .into_iter()
                .zip(features.chunks_exact(dim))
                .map(support)
                .collect(),
            classifier,
            means: numbers("means", &[classes, dim])?,
            calibration: metadata.calibration,
            held_out: metadata.held_out,
            broken: Vec::new(),
            classes: metadata.classes,
            backbone: metadata.backbone,
        })
    }
}

fn bytes<'n>(numbers: impl IntoIterator<Item = &'n f32>) -> Vec<u8> {
    numbers.into_iter().flat_map(|number| number.to_le_bytes()).collect()
}
