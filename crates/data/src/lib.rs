//! Few-shot image data: sources, splits, archives and a deterministic parallel loader.
//!
//! - A [`SourceSpec`] describes a built-in source: class folders, mini-ImageNet, CUB, Omniglot,
//!   published JSON lists, in a folder or an archive that is read in place, or drawn
//!   [`glyphs`] that need no file at all. An [`ImageSource`] is one of your own, and
//!   [`Dataset::from_images`] takes images in memory.
//! - [`SourceSpec::open`] opens one [`Split`] of it as a [`Dataset`]: images that are decoded
//!   when they are asked for, with dense labels. Files and archives are untrusted: whatever is
//!   wrong with them is an [`Error`] that names the file.
//! - [`SourceSpec::survey`] lists what a source has and lacks, [`check_image`] tells whether an image
//!   is whole, and a [`PackWriter`] makes one file of a split that takes the place of the source.
//! - A [`Transform`] of the crate `fewshot-images` turns an image of any size into `size`×`size`
//!   pixels, at random for training and in one way for evaluation.
//! - A [`Loader`] decodes and transforms on all cores and gives each epoch's [`Batch`]es
//!   in order. They depend on the seed and the epoch, never on the number of threads.
//!
//! ```
//! use fewshot_data::{Loader, LoaderOptions, SourceKind, SourceSpec, Split, Transform};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let root = tempfile::tempdir()?;
//! # for class in ["crow", "gull", "jay", "wren"] {
//! #     std::fs::create_dir(root.path().join(class))?;
//! #     for image in ["a.png", "b.png", "c.png"] {
//! #         image::RgbImage::new(20, 10).save(root.path().join(class).join(image))?;
//! #     }
//! # }
//! let source = SourceSpec::new(SourceKind::Folders, root.path());
//! let birds = source.open(Split::Base)?;
//! assert_eq!(birds.class_names(), ["crow", "jay"]);
//!
//! let options = LoaderOptions { batch_size: 4, shuffle: true, ..LoaderOptions::default() };
//! let loader = Loader::new(birds, Transform::eval(8), options)?;
//! for batch in loader.epoch(0) {
//!     let batch = batch?;
//!     assert_eq!(batch.images.len(), batch.labels.len() * 3 * 8 * 8);
//! }
//! # Ok(())
//! # }
//! ```

mod dataset;
mod error;
mod loader;
pub mod mini_imagenet;
mod pack;
mod source;
mod split;
mod tree;

pub use fewshot_glyphs as glyphs;
pub use fewshot_images::{
    Adjustment, AugmentParams, Crop, Interpolation, MEAN, Preprocessing, STD, TrainTransform,
    Transform, adjust_brightness, adjust_contrast, adjust_saturation, center_crop, normalize,
    resize, resized_crop,
};
use image::RgbImage;

pub use crate::dataset::Dataset;
pub use crate::error::Error;
pub use crate::loader::{Batch, BatchPlan, Epoch, Loader, LoaderOptions, OnBroken, Replica};
pub use crate::pack::{PackInfo, PackWriter};
pub use crate::source::{
    ClassSurvey, ImageData, ImageSource, SourceClass, SourceImage, SourceKind, SourceSpec,
    SplitSurvey, Survey,
};
pub use crate::split::Split;
pub use crate::tree::{FileTree, StoredFile};

/// Decodes an image strictly, as [`fewshot_images::check_image`] does.
///
/// # Errors
/// [`Error::Image`] with the given name.
pub fn check_image(name: &str, bytes: Vec<u8>) -> Result<RgbImage, Error> {
    let broken = |e| Error::decode(name, e);
    let memory = fewshot_images::Encoded::open(bytes.clone()).map_err(broken)?.memory(u32::MAX);
    let _share = source::budget::SHARED.take(memory);
    fewshot_images::check_image(bytes).map_err(broken)
}
