//! Decoding of untrusted images, and transforms to the pixel as torchvision on Pillow.
//!
//! - [`decode`] turns the bytes of a file into RGB pixels. Sizes are limited before anything is
//!   allocated, and whatever the bytes are, the answer is an image or a [`DecodeError`].
//!   [`Encoded`] tells an image's size first and decodes no more rows than a crop needs;
//!   [`check_image`] also finds damage that decoders tolerate.
//! - A [`Transform`] turns an image of any size into `size`×`size` pixels, at random for training
//!   and in one way for evaluation; [`normalize`] turns those into the numbers that a network
//!   takes. Each step is a function of its own, too: [`resize`], [`resized_crop`],
//!   [`center_crop`], [`adjust_brightness`], [`adjust_contrast`], [`adjust_saturation`].
//!
//! ```
//! use fewshot_images::{TrainTransform, Transform, decode, normalize};
//! use rand::{SeedableRng, rngs::StdRng};
//!
//! let mut file = std::io::Cursor::new(Vec::new());
//! image::RgbImage::new(30, 20).write_to(&mut file, image::ImageFormat::Png)?;
//! let mut file = file.into_inner();
//!
//! let photo = decode(file.clone())?;
//! let mut rng = StdRng::seed_from_u64(0);
//! let evaluated = Transform::eval(8).apply(&photo, &mut rng)?;
//! let augmented = Transform::train(TrainTransform::new(8)).apply(&photo, &mut rng)?;
//! assert_eq!((evaluated.dimensions(), augmented.dimensions()), ((8, 8), (8, 8)));
//! assert_eq!(normalize(&augmented).len(), 3 * 8 * 8);
//!
//! file.truncate(file.len() / 2);
//! assert!(decode(file).unwrap_err().to_string().starts_with("broken image: "));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod decode;
mod error;
mod transform;

pub use decode::{Encoded, check_image, decode, decode_upright};
pub use error::{DecodeError, ParameterError};
pub use transform::{
    Adjustment, AugmentParams, Crop, Interpolation, MEAN, Preprocessing, STD, TrainTransform,
    Transform, adjust_brightness, adjust_contrast, adjust_saturation, center_crop, normalize,
    resize, resized_crop,
};
