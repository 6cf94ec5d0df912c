//! Masks of dropout and DropBlock, drawn on the GPU.
//!
//! Each image has a key of ChaCha8. Threads draw in parallel the numbers that a `ChaCha8Rng` of that
//! seed draws one after the other on the CPU.

use candle_core::{DType, Device, Result, Tensor, bail};

use super::{Gpu, NumberType, address, empty, launch};
use crate::launch::{LaunchShape, blocks};

/// Seed of an image's random numbers.
pub type Key = [u8; 32];

fn tensor_of(keys: &[Key], device: &Device) -> Result<Tensor> {
    let words = keys.iter().flat_map(|key| key.as_chunks::<4>().0);
    let words: Vec<u32> = words.map(|word| u32::from_le_bytes(*word)).collect();
    Tensor::from_vec(words, (keys.len(), 8), device)
}

/// Returns a grid with an image per y, in which each thread draws `per_thread` of the image's
/// numbers.
fn shape_of(images: usize, per_image: usize, per_thread: usize) -> LaunchShape {
    let x = blocks(per_image.div_ceil(per_thread));
    LaunchShape { grid: (x, images as u32, 1), block: (256, 1, 1) }
}

fn check([images, channels, height, width]: [usize; 4], keys: &[Key], size: usize) -> Result<()> {
    let is_empty = images * channels * height * width == 0;
    if is_empty || keys.len() != images || images > 65_535 || size == 0 || size > height.min(width)
    {
        bail!(
            "drop: {} keys, squares of {size} for {images}×{channels}×{height}×{width}",
            keys.len()
        )
    }
    Ok(())
}

/// Draws a mask `[B, C, H, W]` of dropout, which is 0 with probability `rate`, else
/// `1 / (1 - rate)`. A uniform `f32` is drawn for each value of an image, in order.
///
/// # Errors
/// No image; not one key per image; a number type other than `f32`, `f64` and `bf16`; out of memory.
pub fn units(
    keys: &[Key],
    shape: [usize; 4],
    rate: f64,
    dtype: DType,
    device: &Device,
) -> Result<Tensor> {
    check(shape, keys, 1)?;
    let (gpu, number_type) = (Gpu::of(device)?, NumberType::of(dtype)?);
    let [images, channels, height, width] = shape;
    let per_image = channels * height * width;
    let (mask, keys) = (empty(&shape[..], dtype, device)?, tensor_of(keys, device)?);
    launch!(
        gpu,
        number_type,
        "drop_units",
        shape_of(images, per_image, 16),
        address(&keys)?,
        address(&mask)?,
        per_image as u64,
        rate as f32,
        (1.0 / (1.0 - rate)) as f32
    );
    Ok(mask)
}

/// Draws a mask `[B, C, H, W]` of DropBlock (Ghiasi et al., 2018): squares of `size` pixels are 0,
/// all else is a factor that makes the mean 1. A uniform `f64` is drawn for each position at which a
/// square may begin, in order; one begins where it is below `gamma`.
///
/// # Errors
/// As [`units`], or squares larger than the images.
pub fn squares(
    keys: &[Key],
    shape: [usize; 4],
    size: usize,
    gamma: f64,
    dtype: DType,
    device: &Device,
) -> Result<Tensor> {
    check(shape, keys, size)?;
    let (gpu, number_type) = (Gpu::of(device)?, NumberType::of(dtype)?);
    let [images, channels, height, width] = shape;
    let per_image = channels * (height - size + 1) * (width - size + 1);
    let (mask, keys) = (empty(&shape[..], dtype, device)?, tensor_of(keys, device)?);
    let corners = empty((images, per_image), DType::U8, device)?;
    let uncovered = empty(mask.elem_count(), DType::U8, device)?;
    let uncovered_count = Tensor::zeros(1, DType::U32, device)?;
    launch!(
        gpu,
        number_type,
        "drop_corners",
        shape_of(images, per_image, 8),
        address(&keys)?,
        address(&corners)?,
        per_image as u64,
        gamma
    );
    let count = mask.elem_count();
    launch!(
        gpu,
        number_type,
        "drop_squares",
        LaunchShape::linear(count),
        address(&corners)?,
        address(&uncovered)?,
        address(&uncovered_count)?,
        count as u64,
        height as u32,
        width as u32,
        size as u32
    );
    launch!(
        gpu,
        number_type,
        "drop_scaled",
        LaunchShape::linear(count),
        address(&uncovered)?,
        address(&uncovered_count)?,
        address(&mask)?,
        count as u64
    );
    Ok(mask)
}
