//! Pooling of channels-last images.

use candle_core::{DType, Result, Tensor};
use cudarc::driver::DeviceRepr;

use super::{Gpu, NumberType, address, empty, launch};
use crate::cpu::pool::Geometry;
use crate::launch::{LaunchShape, width};

/// `Pool` of pool.cu.
#[repr(C)]
#[derive(Clone, Copy)]
struct Sizes([u32; 8]);

// SAFETY: plain numbers, `repr(C)`, with the fields of the kernels' struct in the same order.
unsafe impl DeviceRepr for Sizes {}

impl Sizes {
    fn new(g: &Geometry, channels: usize) -> Self {
        let [[h, w], [oh, ow]] = [g.in_size, g.out_size];
        Self([h, w, oh, ow, g.window, g.stride, g.padding, channels].map(|size| size as u32))
    }
}

/// Returns the maxima of all windows, and the position of each in its window.
pub(crate) fn max(g: &Geometry, x: &Tensor) -> Result<(Tensor, Tensor)> {
    let (gpu, number_type) = (Gpu::of(x.device())?, NumberType::of(x.dtype())?);
    let (batch, _, _, channels) = x.dims4()?;
    let shape = (batch, g.out_size[0], g.out_size[1], channels);
    let y = empty(shape, x.dtype(), x.device())?;
    let argmax = empty(shape, DType::U8, x.device())?;
    let from = address(x)?;
    let width = width(channels, number_type.wide(), &[from]);
    let threads = y.elem_count() / width;
    let name = NumberType::variant(width, "max_pool_single", "max_pool_wide");
    launch!(
        gpu,
        number_type,
        name,
        LaunchShape::linear(threads),
        from,
        address(&y)?,
        address(&argmax)?,
        threads as u64,
        Sizes::new(g, channels)
    );
    Ok((y, argmax))
}

/// Returns the gradient of the input `[B, H, W, C]`.
pub(crate) fn max_gradient(g: &Geometry, dy: &Tensor, argmax: &Tensor) -> Result<Tensor> {
    let (gpu, number_type) = (Gpu::of(dy.device())?, NumberType::of(dy.dtype())?);
    let (batch, _, _, channels) = dy.dims4()?;
    let dx = empty((batch, g.in_size[0], g.in_size[1], channels), dy.dtype(), dy.device())?;
    let from = address(dy)?;
    let width = width(channels, number_type.wide(), &[from]);
    let threads = dx.elem_count() / width;
    let name = NumberType::variant(width, "max_pool_gradient_single", "max_pool_gradient_wide");
    launch!(
        gpu,
        number_type,
        name,
        LaunchShape::linear(threads),
        from,
        address(argmax)?,
        address(&dx)?,
        threads as u64,
        Sizes::new(g, channels)
    );
    Ok(dx)
}

/// Returns the means over height and width, in the type of parameters.
pub(crate) fn mean(x: &Tensor) -> Result<Tensor> {
    let (gpu, number_type) = (Gpu::of(x.device())?, NumberType::of(x.dtype())?);
    let (batch, height, width, channels) = x.dims4()?;
    let y = empty((batch, channels), number_type.real(), x.device())?;
    let count = batch * channels;
    launch!(
        gpu,
        number_type,
        "mean_pool",
        LaunchShape::linear(count),
        address(x)?,
        address(&y)?,
        count as u64,
        (height * width) as u32,
        channels as u32
    );
    Ok(y)
}

/// Returns the gradient of images of `shape [B, H, W, C]` and `dtype`.
pub(crate) fn mean_gradient(dy: &Tensor, shape: [usize; 4], dtype: DType) -> Result<Tensor> {
    let (gpu, number_type) = (Gpu::of(dy.device())?, NumberType::of(dtype)?);
    let dx = empty(&shape[..], dtype, dy.device())?;
    let [_, height, width, channels] = shape;
    let count = dx.elem_count();
    launch!(
        gpu,
        number_type,
        "mean_pool_gradient",
        LaunchShape::linear(count),
        address(dy)?,
        address(&dx)?,
        count as u64,
        (height * width) as u32,
        channels as u32
    );
    Ok(dx)
}
