//! Changes of layout, and sums and products of whole tensors.

use candle_core::{DType, Result, Tensor};

use super::{Gpu, NumberType, address, empty, launch};
use crate::launch::LaunchShape;

/// Transposes each matrix `[rows, columns]` of `x` and converts its numbers to the type `to`: the
/// type that they have, or between the types of images and of parameters.
fn transposed(
    x: &Tensor,
    [batch, rows, columns]: [usize; 3],
    shape: &[usize],
    to: DType,
) -> Result<Tensor> {
    let gpu = Gpu::of(x.device())?;
    let y = empty(shape, to, x.device())?;
    // The type of images is the narrower one.
    let number_type = match (x.dtype(), to) {
        (DType::BF16, _) | (_, DType::BF16) => NumberType::BF16,
        (dtype, _) => NumberType::of(dtype)?,
    };
    let name = match (x.dtype() == number_type.dtype(), to == number_type.dtype()) {
        (true, true) => "transposed",
        (false, _) => "transposed_from_real",
        (true, false) => "transposed_to_real",
    };
    if y.elem_count() == 0 {
        return Ok(y);
    }
    // A grid has at most 65,535 blocks along z.
    let (from, into) = (address(x)?, address(&y)?);
    let (from_size, to_size) = (x.dtype().size_in_bytes(), to.size_in_bytes());
    for first in (0..batch).step_by(1 << 15) {
        let depth = (batch - first).min(1 << 15);
        let start = first * rows * columns;
        launch!(
            gpu,
            number_type,
            name,
            LaunchShape::transpose(depth, rows, columns),
            from + (start * from_size) as u64,
            into + (start * to_size) as u64,
            rows as u32,
            columns as u32
        );
    }
    Ok(y)
}

/// Converts `[B, C, H, W]` to `[B, H, W, C]` of the type `to`.
pub(crate) fn to_channels_last(x: &Tensor, to: DType) -> Result<Tensor> {
    let (batch, channels, height, width) = x.dims4()?;
    let shape = [batch, height, width, channels];
    transposed(&x.contiguous()?, [batch, channels, height * width], &shape, to)
}

/// Converts `[B, H, W, C]` to `[B, C, H, W]` of the type `to`.
pub(crate) fn to_planes(x: &Tensor, to: DType) -> Result<Tensor> {
    let (batch, height, width, channels) = x.dims4()?;
    let shape = [batch, channels, height, width];
    transposed(x, [batch, height * width, channels], &shape, to)
}

/// Runs an elementwise kernel on two tensors of equal shape and type.
fn elementwise(name: &'static str, a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let gpu = Gpu::of(a.device())?;
    let number_type = NumberType::of(a.dtype())?;
    let y = empty(a.shape(), a.dtype(), a.device())?;
    let count = a.elem_count();
    launch!(
        gpu,
        number_type,
        name,
        LaunchShape::linear(count),
        address(a)?,
        address(b)?,
        address(&y)?,
        count as u64
    );
    Ok(y)
}

/// Returns `a + b`.
pub(crate) fn sum(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    elementwise("sum", &a.contiguous()?, &b.contiguous()?)
}

/// Returns `a · b`, element by element.
pub(crate) fn product(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    elementwise("product", a, b)
}

/// Adds `bias [C]` to each row of `y [.., C]`, in place.
pub(crate) fn add_to_rows(y: &Tensor, bias: &Tensor) -> Result<()> {
    let gpu = Gpu::of(y.device())?;
    let count = y.elem_count();
    launch!(
        gpu,
        NumberType::of(y.dtype())?,
        "add_to_rows",
        LaunchShape::linear(count),
        address(y)?,
        address(bias)?,
        count as u64,
        bias.elem_count() as u32
    );
    Ok(())
}
