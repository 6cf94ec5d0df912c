//! Convolutions of channels-last images.

use candle_core::{DType, Result, Tensor};

use super::dnn::{Direction, Format, Key};
use super::layout::{add_to_rows, to_channels_last, to_planes};
use super::{Gpu, NumberType, address, empty, launch};
use crate::cpu::conv::Geometry;
use crate::launch::{LaunchShape, RowLayout};

/// Converts a kernel `[O, C, kh, kw]` to `[O, kh, kw, C]` of `dtype`, the type of the images.
pub(crate) fn packed(kernel: &Tensor, dtype: DType) -> Result<Tensor> {
    to_channels_last(kernel, dtype)
}

/// Computes the one of images, packed kernel and outputs that is `None` in `arguments`, as
/// `direction` says.
fn convolve(
    g: &Geometry,
    direction: Direction,
    arguments: [Option<&Tensor>; 3],
    dtype: DType,
) -> Result<Tensor> {
    let Some(device) = arguments.iter().flatten().map(|tensor| tensor.device()).next() else {
        candle_core::bail!("conv2d: no arguments")
    };
    let gpu = Gpu::of(device)?;
    let key = Key::new(direction, NumberType::of(dtype)?, g);
    let shapes = key.sizes().map(|[a, c, h, w]| [a, h, w, c]);
    let mut tensors = Vec::with_capacity(3);
    for (argument, shape) in arguments.into_iter().zip(shapes) {
        tensors.push(match argument {
            Some(tensor) => tensor.clone(),
            None => empty(&shape[..], dtype, device)?,
        });
    }
    let addresses = |tensors: &[Tensor]| -> Result<[u64; 3]> {
        Ok([address(&tensors[0])?, address(&tensors[1])?, address(&tensors[2])?])
    };
    let Some(written) = arguments.iter().position(Option::is_none) else {
        candle_core::bail!("conv2d: nothing to compute")
    };
    let mut dnn = gpu.dnn();
    let format = dnn.format(&key, addresses(&tensors)?)?;
    if format == Format::ChannelsLast {
        dnn.run(&key, addresses(&tensors)?)?;
        return Ok(tensors.swap_remove(written));
    }
    let mut planes = Vec::with_capacity(3);
    for (i, tensor) in tensors.iter().enumerate() {
        let (a, h, w, c) = tensor.dims4()?;
        planes.push(if i == written {
            empty((a, c, h, w), dtype, device)?
        } else {
            to_planes(tensor, dtype)?
        });
    }
    dnn.run(&key, addresses(&planes)?)?;
    to_channels_last(&planes[written], dtype)
}

/// Returns the convolution of images `[B, H, W, C]` with a packed kernel.
pub(crate) fn forward(
    g: &Geometry,
    x: &Tensor,
    packed: &Tensor,
    bias: Option<&Tensor>,
) -> Result<Tensor> {
    let y = convolve(g, Direction::Forward, [Some(x), Some(packed), None], x.dtype())?;
    if let Some(bias) = bias {
        add_to_rows(&y, bias)?;
    }
    Ok(y)
}

/// Returns the gradient of the images.
pub(crate) fn input_gradient(g: &Geometry, dy: &Tensor, packed: &Tensor) -> Result<Tensor> {
    convolve(g, Direction::Images, [None, Some(packed), Some(dy)], dy.dtype())
}

/// Returns the gradient of the kernel `[O, C, kh, kw]`, in the type of parameters.
pub(crate) fn kernel_gradient(g: &Geometry, x: &Tensor, dy: &Tensor) -> Result<Tensor> {
    let packed = convolve(g, Direction::Kernel, [Some(x), None, Some(dy)], dy.dtype())?;
    to_planes(&packed, NumberType::of(dy.dtype())?.real())
}

/// Returns the sums of each channel of `x [B, H, W, C]`, `[C]`.
pub(crate) fn channel_sums(x: &Tensor) -> Result<Tensor> {
    let (batch, height, width, channels) = x.dims4()?;
    let (gpu, number_type) = (Gpu::of(x.device())?, NumberType::of(x.dtype())?);
    let count = batch * height * width;
    let rows = RowLayout::new(count, channels, 1, 1024);
    let partial = empty((rows.chunks, 2, channels), number_type.real(), x.device())?;
    let sums = empty(channels, number_type.real(), x.device())?;
    launch!(
        gpu,
        number_type,
        "channel_sums",
        rows.shape(),
        address(x)?,
        address(&partial)?,
        count as u64,
        channels as u32
    );
    launch!(
        gpu,
        number_type,
        "channel_sums_total",
        LaunchShape::channel_totals(channels),
        address(&partial)?,
        address(&sums)?,
        rows.chunks as u32,
        channels as u32
    );
    Ok(sums)
}
