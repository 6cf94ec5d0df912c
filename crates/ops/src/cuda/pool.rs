//! Pooling of channels-last images.

use candle_core::{DType, Result, Tensor};
use cudarc::driver::DeviceRepr;

use super::{Gpu, Numbers, address, empty, launch};
use crate::cpu::pool::Geometry;
use crate::launch::{Shape, width};

/// `Pool` of pool.cu.
#[repr(C)]
#[derive(Clone, Copy)]
struct Sizes([u32; 8]);

// SAFETY: plain numbers, laid out as the kernels' struct.
unsafe impl DeviceRepr for Sizes {}

impl Sizes {
    fn new(g: &Geometry, channels: usize) -> Self {
        let [[h, w], [oh, ow]] = [g.in_size, g.out_size];
        Self([h, w, oh, ow, g.window, g.stride, g.padding, channels].map(|size| size as u32))
    }
}

/// The maxima, and where in its window each was.
pub(crate) fn max(g: &Geometry, x: &Tensor) -> Result<(Tensor, Tensor)> {
    let (gpu, numbers) = (Gpu::of(x.device())?, Numbers::of(x.dtype())?);
    let (batch, _, _, channels) = x.dims4()?;
    let shape = (batch, g.out_size[0], g.out_size[1], channels);
    let y = empty(shape, x.dtype(), x.device())?;
    let places = empty(shape, DType::U8, x.device())?;
    let from = address(x)?;
    let width = width(channels, numbers.wide(), &[from]);
    let threads = y.elem_count() / width;
    let name = Numbers::variant(width, "max_pool_single", "max_pool_wide");
    launch!(
        gpu,
        numbers,
        name,
        Shape::flat(threads),
        from,
        address(&y)?,
        address(&places)?,
        threads as u64,
        Sizes::new(g, channels)
    );
    Ok((y, places))
}

/// The gradient of the input `[B, H, W, C]`.
pub(crate) fn max_gradient(g: &Geometry, dy: &Tensor, places: &Tensor) -> Result<Tensor> {
    let (gpu, numbers) = (Gpu::of(dy.device())?, Numbers::of(dy.dtype())?);
    let (batch, _, _, channels) = dy.dims4()?;
    let dx = empty((batch, g.in_size[0], g.in_size[1], channels), dy.dtype(), dy.device())?;
    let from = address(dy)?;
    let width = width(channels, numbers.wide(), &[from]);
    let threads = dx.elem_count() / width;
    let name = Numbers::variant(width, "max_pool_gradient_single", "max_pool_gradient_wide");
    launch!(
        gpu,
        numbers,
        name,
        Shape::flat(threads),
        from,
        address(places)?,
        address(&dx)?,
        threads as u64,
        Sizes::new(g, channels)
    );
    Ok(dx)
}

/// Means over height and width, in the type that is computed in.
pub(crate) fn mean(x: &Tensor) -> Result<Tensor> {
    let (gpu, numbers) = (Gpu::of(x.device())?, Numbers::of(x.dtype())?);
    let (batch, height, width, channels) = x.dims4()?;
    let y = empty((batch, channels), numbers.real(), x.device())?;
    let count = batch * channels;
    launch!(
        gpu,
        numbers,
        "mean_pool",
        Shape::flat(count),
        address(x)?,
        address(&y)?,
        count as u64,
        (height * width) as u32,
        channels as u32
    );
    Ok(y)
}

/// The gradient of images of `shape [B, H, W, C]` and `dtype`.
pub(crate) fn mean_gradient(dy: &Tensor, shape: [usize; 4], dtype: DType) -> Result<Tensor> {
    let (gpu, numbers) = (Gpu::of(dy.device())?, Numbers::of(dtype)?);
    let dx = empty(&shape[..], dtype, dy.device())?;
    let [_, height, width, channels] = shape;
    let count = dx.elem_count();
    launch!(
        gpu,
        numbers,
        "mean_pool_gradient",
        Shape::flat(count),
        address(dy)?,
        address(&dx)?,
        count as u64,
        (height * width) as u32,
        channels as u32
    );
    Ok(dx)
}
