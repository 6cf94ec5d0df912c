//! Masks of dropout and DropBlock, drawn on the GPU.
//!
//! Each image has a key of ChaCha8: what a `ChaCha8Rng` of that seed draws in turn on the CPU, threads
//! draw here at once.

use candle_core::{DType, Device, Result, Tensor, bail};

use super::{Gpu, Numbers, address, empty, launch};
use crate::launch::{Shape, blocks};

/// The seed of an image's generator.
pub type Key = [u8; 32];

fn tensor_of(keys: &[Key], device: &Device) -> Result<Tensor> {
    let words = keys.iter().flat_map(|key| key.as_chunks::<4>().0);
    let words: Vec<u32> = words.map(|word| u32::from_le_bytes(*word)).collect();
    Tensor::from_vec(words, (keys.len(), 8), device)
}

/// Threads that each draw `at_once` of an image's numbers, an image of the grid's y each.
fn shape_of(images: usize, per_image: usize, at_once: usize) -> Shape {
    let x = blocks(per_image.div_ceil(at_once));
    Shape { grid: (x, images as u32, 1), block: (256, 1, 1) }
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

/// A mask `[B, C, H, W]` that is 0 with probability `rate`, else `1 / (1 - rate)`: an image draws a
/// uniform `f32` for each of its values in turn.
///
/// # Errors
/// Other than a key an image, no image; a number type that kernels do not take; no memory.
pub fn units(
    keys: &[Key],
    shape: [usize; 4],
    rate: f64,
    dtype: DType,
    device: &Device,
) -> Result<Tensor> {
    check(shape, keys, 1)?;
    let (gpu, numbers) = (Gpu::of(device)?, Numbers::of(dtype)?);
    let [images, channels, height, width] = shape;
    let per_image = channels * height * width;
    let (mask, keys) = (empty(&shape[..], dtype, device)?, tensor_of(keys, device)?);
    launch!(
        gpu,
        numbers,
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

/// A mask `[B, C, H, W]` of squares of `size` that are 0, and a factor elsewhere that keeps the mean of
/// all: an image draws a uniform `f64` for each place in turn at which a square may begin, which is
/// below `gamma` if one does.
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
    let (gpu, numbers) = (Gpu::of(device)?, Numbers::of(dtype)?);
    let [images, channels, height, width] = shape;
    let per_image = channels * (height - size + 1) * (width - size + 1);
    let (mask, keys) = (empty(&shape[..], dtype, device)?, tensor_of(keys, device)?);
    let corners = empty((images, per_image), DType::U8, device)?;
    let whole = empty(mask.elem_count(), DType::U8, device)?;
    let kept = Tensor::zeros(1, DType::U32, device)?;
    launch!(
        gpu,
        numbers,
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
        numbers,
        "drop_squares",
        Shape::flat(count),
        address(&corners)?,
        address(&whole)?,
        address(&kept)?,
        count as u64,
        height as u32,
        width as u32,
        size as u32
    );
    launch!(
        gpu,
        numbers,
        "drop_scaled",
        Shape::flat(count),
        address(&whole)?,
        address(&kept)?,
        address(&mask)?,
        count as u64
    );
    Ok(mask)
}
