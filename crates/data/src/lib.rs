//! Few-shot image data: sources, splits, archives, transforms and a deterministic parallel loader.
//!
//! - A [`SourceSpec`] says what lies where: class folders, mini-ImageNet, CUB, Omniglot,
//!   published JSON lists, in a folder or an archive that is read in place, or drawn
//!   [`glyphs`] that need no file at all.
//! - [`SourceSpec::open`] gives one [`Split`] of it as a [`Dataset`]: images that are decoded
//!   when asked for, with dense labels. Files and archives are untrusted: whatever is wrong
//!   with them is an [`Error`] that names the file.
//! - [`SourceSpec::survey`] tells what a source holds and lacks, [`check_image`] whether an image
//!   is whole, and a [`PackWriter`] makes one file of a split that stands for the source.
//! - A [`Transform`] makes an image of any size into `size`×`size` pixels, at random for
//!   training and in one way for evaluation, to the pixel as torchvision does on Pillow.
//! - A [`Loader`] decodes and transforms on all cores and hands out each epoch's [`Batch`]es
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
mod decode;
mod error;
pub mod glyphs;
mod loader;
pub mod mini_imagenet;
mod pack;
mod source;
mod split;
mod transform;
mod tree;

pub use dataset::Dataset;
pub use decode::check_image;
pub use error::Error;
pub use loader::{Batch, DrawnBatch, Epoch, Loader, LoaderOptions, OnBroken, Replica};
pub use pack::{PackInfo, PackWriter};
pub use source::{ClassSurvey, SourceKind, SourceSpec, SplitSurvey, Survey};
pub use split::Split;
pub use transform::{
    Adjustment, AugmentParams, Crop, MEAN, STD, TrainTransform, Transform, adjust_brightness,
    adjust_contrast, adjust_saturation, center_crop, normalize, resize, resized_crop,
};
