//! Decoding of every image.

use std::sync::Mutex;

use fewshot_data::{Dataset, Error, check_image};
use rayon::prelude::*;
use sha2::{Digest, Sha256};

use crate::bar::Bar;

/// What reading an image has shown.
pub struct Examined {
    /// Its path.
    pub name: String,
    /// Its label in the split.
    pub class: u32,
    /// SHA-256 of its file, if that could be read.
    pub digest: Option<[u8; 32]>,
    /// Why it cannot be decoded, if so.
    pub broken: Option<String>,
}

/// A progress bar that several threads share.
pub struct Counter {
    bar: Mutex<(Bar, u64)>,
    stage: &'static str,
    total: u64,
}

impl Counter {
    pub fn new(name: &'static str, stage: &'static str, total: usize) -> Self {
        Self { bar: Mutex::new((Bar::new(name), 0)), stage, total: total as u64 }
    }

    pub fn one(&self) {
        let mut guard = self.bar.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let (bar, done) = &mut *guard;
        *done += 1;
        bar.advance(self.stage, *done, Some(self.total));
    }
}

/// Examines all images of a dataset on all cores, in its order.
pub fn examine(dataset: &Dataset, counter: &Counter) -> Vec<Examined> {
    let one = |index: usize| {
        let name = dataset.image_name(index);
        let (digest, broken) = match dataset.bytes(index) {
            Ok(bytes) => {
                let digest = Sha256::digest(&bytes).into();
                (Some(digest), check_image(&name, bytes).err().map(reason))
            }
            Err(e) => (None, Some(reason(e))),
        };
        counter.one();
        Examined { class: dataset.labels()[index], name, digest, broken }
    };
    (0..dataset.len()).into_par_iter().map(one).collect()
}

/// The reason without the image's name, which is reported beside it.
fn reason(error: Error) -> String {
    match error {
        Error::Image { reason, .. } => reason,
        other => other.to_string(),
    }
}
