//! Decoded training images that stay in a GPU's memory and are augmented there for each batch.

use candle_core::{DType, Device, Result, Tensor, bail};

use super::{Gpu, NumberType, address, empty, launch};
use crate::launch::LaunchShape;

/// Words of `ImageParams` in images.cu.
const WORDS: usize = 12;

/// Images of any sizes in a GPU's memory, as bytes.
pub struct Images {
    device: Device,
    chunks: Vec<Tensor>,
    images: Vec<Image>,
    /// Normalized value of each level of each channel, `[3, 256]`.
    levels: Tensor,
}

struct Image {
    address: u64,
    width: u32,
    height: u32,
}

/// Augmentation of one image: a crop is resized, its colors are adjusted, and it may be mirrored.
#[derive(Clone, Copy, Debug)]
pub struct AugmentParams {
    /// Index of the image, in the order in which images were [added](Images::add).
    pub image: usize,
    /// First row and column of the crop.
    pub start: [u32; 2],
    /// Height and width of the crop.
    pub size: [u32; 2],
    /// Color adjustments, in the order in which they are applied, each with its factor.
    pub adjustments: [(Adjustment, f32); 3],
    /// Whether it is mirrored.
    pub is_mirrored: bool,
}

/// A color adjustment; a factor of 1 changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Adjustment {
    /// No change, whatever the factor.
    Nothing,
    /// Blends the image with black.
    Brightness,
    /// Blends the image with its mean gray level.
    Contrast,
    /// Blends each pixel with its gray level.
    Saturation,
}

impl Images {
    /// Creates an empty set of images. `levels` `[3 · 256]` are the normalized values of each level
    /// of each channel.
    ///
    /// # Errors
    /// A device that is no GPU.
    pub fn new(levels: &[f32], device: &Device) -> Result<Self> {
        Gpu::of(device)?;
        let levels = Tensor::from_slice(levels, (3, 256), device)?;
        Ok(Self { device: device.clone(), chunks: Vec::new(), images: Vec::new(), levels })
    }

    /// Adds images of these widths and heights; `samples` holds one after the other, each
    /// row-major `[height, width, 3]`.
    ///
    /// # Errors
    /// Another number of samples; an image without pixels; out of memory.
    pub fn add(&mut self, sizes: &[(u32, u32)], samples: Vec<u8>) -> Result<()> {
        let bytes = |&(width, height): &(u32, u32)| 3 * u64::from(width) * u64::from(height);
        let total: u64 = sizes.iter().map(bytes).sum();
        if total != samples.len() as u64 || sizes.iter().any(|size| bytes(size) == 0) {
            bail!("images of {total} samples, but there are {}; each needs a pixel", samples.len())
        }
        if samples.is_empty() {
            return Ok(());
        }
        let count = samples.len();
        let chunk = Tensor::from_vec(samples, count, &self.device)?;
        let mut next = address(&chunk)?;
        for size in sizes {
            self.images.push(Image { address: next, width: size.0, height: size.1 });
            next += bytes(size);
        }
        self.chunks.push(chunk);
        Ok(())
    }

    /// Returns the bytes of all images.
    pub fn bytes(&self) -> usize {
        self.chunks.iter().map(Tensor::elem_count).sum()
    }

    /// Returns augmented and normalized images `[B, 3, size, size]` of `dtype`, one for each of
    /// `params`.
    ///
    /// # Errors
    /// An index without an image; a crop that exceeds its image; a number type that kernels do not
    /// take; out of memory.
    pub fn apply(&self, params: &[AugmentParams], size: usize, dtype: DType) -> Result<Tensor> {
        let (gpu, number_type) = (Gpu::of(&self.device)?, NumberType::of(dtype)?);
        let mut words = Vec::with_capacity(params.len() * WORDS);
        for image in params {
            words.extend_from_slice(&self.image_params(image)?);
        }
        let y = empty((params.len(), 3, size, size), dtype, &self.device)?;
        if params.is_empty() || size == 0 {
            return Ok(y);
        }
        let table = Tensor::from_vec(words, (params.len(), WORDS), &self.device)?;
        let scratch = empty(y.elem_count(), DType::U8, &self.device)?;
        launch!(
            gpu,
            number_type,
            "augment_images",
            LaunchShape { grid: (params.len() as u32, 1, 1), block: (256, 1, 1) },
            address(&table)?,
            address(&self.levels)?,
            address(&scratch)?,
            address(&y)?,
            size as u32
        );
        Ok(y)
    }

    /// Returns the words of `ImageParams` of images.cu.
    fn image_params(&self, params: &AugmentParams) -> Result<[u32; WORDS]> {
        let ([top, left], [height, width]) = (params.start, params.size);
        let fits = |start: u32, length: u32, side: u32| {
            length > 0 && start.checked_add(length).is_some_and(|end| end <= side)
        };
        let image = self
            .images
            .get(params.image)
            .filter(|image| fits(top, height, image.height) && fits(left, width, image.width));
        let Some(image) = image else {
            bail!("{params:?} of {} images: no such image or crop", self.images.len())
        };
        let pixel = u64::from(top) * u64::from(image.width) + u64::from(left);
        let first = image.address + 3 * pixel;
        let [a, b, c] = params.adjustments;
        Ok([
            first as u32,
            (first >> 32) as u32,
            image.width,
            height,
            width,
            u32::from(params.is_mirrored),
            a.0 as u32,
            b.0 as u32,
            c.0 as u32,
            a.1.to_bits(),
            b.1.to_bits(),
            c.1.to_bits(),
        ])
    }
}
