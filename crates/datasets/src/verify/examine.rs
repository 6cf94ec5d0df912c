//! Decoding of every image.

use fewshot_data::{Dataset, Error, check_image};
use fewshot_progress::Progress;
use rayon::prelude::*;
use sha2::{Digest, Sha256};

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

/// Examines all images of a dataset on all cores, in its order.
pub fn examine(dataset: &Dataset, progress: &Progress) -> Vec<Examined> {
    let one = |index: usize| {
        let name = dataset.image_name(index);
        let (digest, broken) = match dataset.bytes(index) {
            Ok(bytes) => {
                let digest = Sha256::digest(&bytes).into();
                (Some(digest), check_image(&name, bytes).err().map(reason))
            }
            Err(e) => (None, Some(reason(e))),
        };
        progress.advance(1, String::new);
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
