//! Detects the form of the user's copy, and finds its images.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use fewshot_data::mini_imagenet::{self, Class, FoundImage};
use fewshot_progress::warn;

use super::cache::Cache;

/// The images found of each of the 100 classes.
pub struct Input {
    /// One entry per class, in the published order.
    pub classes: Vec<Found>,
    /// Pickled caches; they are read again when their images are written.
    pub caches: Vec<PathBuf>,
    /// Approximate bytes that the images will take on disk.
    pub on_disk: u64,
}

/// The images found of a class.
pub struct Found {
    /// The published class.
    pub class: Class,
    /// Images that are files.
    pub images: Vec<FoundImage>,
    /// The cache that holds the class instead, and how many images of it.
    pub cached: Option<(PathBuf, usize)>,
}

impl Found {
    /// Returns the number of images.
    pub fn count(&self) -> usize {
        self.images.len() + self.cached.as_ref().map_or(0, |(_, count)| *count)
    }
}

/// Bytes of a block of common file systems.
const BLOCK: u64 = 4_096;

impl Input {
    /// Searches all paths; reads no image.
    pub fn find(from: &[PathBuf]) -> Result<Self, String> {
        let (mut caches, mut roots) = (Vec::new(), Vec::new());
        for path in from {
            let pickles = pickles(path)?;
            if pickles.is_empty() {
                roots.push(path.clone());
            }
            caches.extend(pickles);
        }
        let found = mini_imagenet::find(&roots).map_err(|e| e.to_string())?;
        let found = found.into_iter();
        let classes =
            found.map(|found| Found { class: found.class, images: found.images, cached: None });
        let mut input = Self { classes: classes.collect(), caches: Vec::new(), on_disk: 0 };
        for path in caches {
            input.add_cache(path)?;
        }
        let images = input.classes.iter().flat_map(|found| &found.images);
        input.on_disk += images.map(|image| image.size().next_multiple_of(BLOCK)).sum::<u64>();
        Ok(input)
    }

    fn add_cache(&mut self, path: PathBuf) -> Result<(), String> {
        let cache = read_cache(&path)?;
        let per_image = (cache.bytes_per_image() as u64).next_multiple_of(BLOCK);
        for (wnid, indices) in cache.classes() {
            let found = self.classes.iter_mut().find(|found| found.class.wnid == wnid);
            let found = found.ok_or_else(|| format!("{}: class {wnid}", path.display()))?;
            if found.count() > 0 {
                let first = match (&found.cached, found.images.first()) {
                    (Some((first, _)), _) => first.display().to_string(),
                    (None, Some(image)) => image.origin(),
                    (None, None) => String::new(),
                };
                let path = path.display();
                return Err(format!("{path}: class {wnid} is in {first}, too; give one of them"));
            }
            found.cached = Some((path.clone(), indices.len()));
            self.on_disk += per_image * indices.len() as u64;
        }
        self.caches.push(path);
        Ok(())
    }
}

/// Reads a pickled cache.
pub fn read_cache(path: &Path) -> Result<Cache, String> {
    warn(format_args!("mini-imagenet: reading {}", path.display()));
    let bytes = std::fs::read(path).map_err(|e| e.to_string());
    bytes.and_then(Cache::from_bytes).map_err(|e| format!("{}: {e}", path.display()))
}

/// Returns the pickles at a path: the file itself, or those directly in the folder.
fn pickles(path: &Path) -> Result<Vec<PathBuf>, String> {
    let failed = |e: std::io::Error| format!("{}: {e}", path.display());
    if !path.is_dir() {
        let is_pickle = has_pickle_name(path) || path.is_file() && begins_as_pickle(path);
        return Ok(if is_pickle { vec![path.to_owned()] } else { Vec::new() });
    }
    let mut pickles = Vec::new();
    for entry in std::fs::read_dir(path).map_err(failed)? {
        let file = entry.map_err(failed)?.path();
        if has_pickle_name(&file) && file.is_file() {
            pickles.push(file);
        }
    }
    pickles.sort();
    Ok(pickles)
}

fn has_pickle_name(path: &Path) -> bool {
    let extension = path.extension().unwrap_or_default();
    ["pkl", "pickle"].iter().any(|known| extension.eq_ignore_ascii_case(known))
}

fn begins_as_pickle(path: &Path) -> bool {
    let mut start = [0; 2];
    let read = File::open(path).and_then(|mut file| file.read_exact(&mut start));
    read.is_ok() && matches!(start, [0x80, 2..=5])
}
