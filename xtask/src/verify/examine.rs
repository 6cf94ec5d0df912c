//! Reads and decodes every image.

use std::sync::Mutex;

use fewshot_data::{Dataset, Error, check_image};
use rayon::prelude::*;
use sha2::{Digest, Sha256};

use crate::fetch::Bar;

/// What was found out about an image.
pub struct Examined {
    /// Where it is.
    pub name: String,
    pub class: u32,
    /// SHA-256 of its file, where that could be read.
    pub digest: Option<[u8; 32]>,
    /// Why it cannot be used.
    pub broken: Option<String>,
}

/// Counts on a bar that several threads share.
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

/// Of an image that is named beside it.
fn reason(error: Error) -> String {
    match error {
        Error::Image { reason, .. } => reason,
        other => other.to_string(),
    }
}
