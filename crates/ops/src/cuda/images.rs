//! Decoded images that are kept on a GPU, and varied there for each batch.

use candle_core::{DType, Device, Result, Tensor, bail};

use super::{Gpu, Numbers, address, empty, launch};
use crate::launch::Shape;

/// Words of `Picture` in the source.
const WORDS: usize = 12;

/// Images of any sizes in a GPU's memory, as bytes.
pub struct Images {
    device: Device,
    chunks: Vec<Tensor>,
    images: Vec<Image>,
    /// `[3, 256]`, what each level of each channel becomes.
    levels: Tensor,
}

struct Image {
    address: u64,
    width: u32,
    height: u32,
}

/// How one image is varied: a crop is resized, then its colours are adjusted, then it may be
/// mirrored.
#[derive(Clone, Copy, Debug)]
pub struct AugmentParams {
    /// Which image, by the order in which they were [added](Images::add).
    pub image: usize,
    /// Rows above the crop and columns to its left.
    pub start: [u32; 2],
    /// Rows and columns of the crop.
    pub size: [u32; 2],
    /// Adjustments in their order, each with its factor.
    pub adjustments: [(Adjustment, f32); 3],
    /// Whether it is mirrored.
    pub is_mirrored: bool,
}

/// A change of colours; a factor of 1 changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Adjustment {
    /// Whatever the factor.
    Nothing,
    /// A blend with black.
    Brightness,
    /// A blend with the image's mean grey.
    Contrast,
    /// A blend of each pixel with its grey.
    Saturation,
}

impl Images {
    /// None yet. `levels` `[3 · 256]` holds the normalized value of each level of each channel.
    ///
    /// # Errors
    /// A device that is no GPU.
    pub fn new(levels: &[f32], device: &Device) -> Result<Self> {
        Gpu::of(device)?;
        let levels = Tensor::from_slice(levels, (3, 256), device)?;
        Ok(Self { device: device.clone(), chunks: Vec::new(), images: Vec::new(), levels })
    }

    /// Adds images of these widths and heights, whose samples follow one another in `samples`,
    /// each row-major `[height, width, 3]`.
    ///
    /// # Errors
    /// More or fewer samples than that; no memory.
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
        let mut place = address(&chunk)?;
        for size in sizes {
            self.images.push(Image { address: place, width: size.0, height: size.1 });
            place += bytes(size);
        }
        self.chunks.push(chunk);
        Ok(())
    }

    /// Bytes of all images.
    pub fn bytes(&self) -> usize {
        self.chunks.iter().map(Tensor::elem_count).sum()
    }

    /// Varied, normalized images `[B, 3, size, size]` of `f32` or bfloat16.
    ///
    /// # Errors
    /// An image that is not there, a crop that reaches beyond its image; no memory.
    pub fn apply(&self, params: &[AugmentParams], size: usize, dtype: DType) -> Result<Tensor> {
        let (gpu, numbers) = (Gpu::of(&self.device)?, Numbers::of(dtype)?);
        let mut words = Vec::with_capacity(params.len() * WORDS);
        for image in params {
            words.extend_from_slice(&self.picture(image)?);
        }
        let y = empty((params.len(), 3, size, size), dtype, &self.device)?;
        if params.is_empty() || size == 0 {
            return Ok(y);
        }
        let pictures = Tensor::from_vec(words, (params.len(), WORDS), &self.device)?;
        let scratch = empty(y.elem_count(), DType::U8, &self.device)?;
        launch!(
            gpu,
            numbers,
            "vary_images",
            Shape { grid: (params.len() as u32, 1, 1), block: (256, 1, 1) },
            address(&pictures)?,
            address(&self.levels)?,
            address(&scratch)?,
            address(&y)?,
            size as u32
        );
        Ok(y)
    }

    /// `Picture` of the source.
    fn picture(&self, params: &AugmentParams) -> Result<[u32; WORDS]> {
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
