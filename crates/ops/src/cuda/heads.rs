//! Classifier heads and their loss, as functions of the storages that candle's custom operations
//! get.

use candle_core::backend::BackendStorage as _;
use candle_core::{CudaStorage, DType, Layout, Result, Tensor};

use super::{Gpu, NumberType, address, address_in, empty, launch, output};
use crate::launch::LaunchShape;

/// A block that processes one row.
const ROW_BLOCK: (u32, u32, u32) = (128, 1, 1);
/// One block of 32 warps.
const ONE_BLOCK: LaunchShape = LaunchShape { grid: (1, 1, 1), block: (1024, 1, 1) };

fn block_per_row(rows: usize) -> LaunchShape {
    LaunchShape { grid: (rows.max(1) as u32, 1, 1), block: ROW_BLOCK }
}

/// Applies a leaky ReLU of this negative slope to each element.
pub(crate) fn activate(x: &CudaStorage, layout: &Layout, slope: f64) -> Result<CudaStorage> {
    let (gpu, number_type) = (Gpu::of_cuda(&x.device)?, NumberType::of(x.dtype())?);
    let count = layout.shape().elem_count();
    let (y, to) = output(x, count, x.dtype())?;
    launch!(
        gpu,
        number_type,
        "activation",
        LaunchShape::linear(count),
        address_in(x, layout)?,
        to,
        count as u64,
        number_type.scalar(slope)
    );
    Ok(y)
}

pub(crate) fn activation_gradient(y: &Tensor, dy: &Tensor, slope: f64) -> Result<Tensor> {
    let (gpu, number_type) = (Gpu::of(y.device())?, NumberType::of(y.dtype())?);
    let dx = empty(y.shape(), y.dtype(), y.device())?;
    let count = y.elem_count();
    launch!(
        gpu,
        number_type,
        "activation_gradient",
        LaunchShape::linear(count),
        address(y)?,
        address(dy)?,
        address(&dx)?,
        count as u64,
        number_type.scalar(slope)
    );
    Ok(dx)
}

/// Divides each row by its norm, or by `min_norm` if the norm is smaller.
pub(crate) fn unit_rows(x: &CudaStorage, layout: &Layout, min_norm: f64) -> Result<CudaStorage> {
    let (gpu, number_type) = (Gpu::of_cuda(&x.device)?, NumberType::of(x.dtype())?);
    let (rows, columns) = layout.shape().dims2()?;
    let (y, to) = output(x, rows * columns, x.dtype())?;
    if rows > 0 {
        launch!(
            gpu,
            number_type,
            "unit_rows",
            block_per_row(rows),
            address_in(x, layout)?,
            to,
            columns as u32,
            number_type.scalar(min_norm)
        );
    }
    Ok(y)
}

pub(crate) fn unit_rows_gradient([x, y, dy]: [&Tensor; 3], min_norm: f64) -> Result<Tensor> {
    let (gpu, number_type) = (Gpu::of(x.device())?, NumberType::of(x.dtype())?);
    let (rows, columns) = x.dims2()?;
    let dx = empty(x.shape(), x.dtype(), x.device())?;
    if rows > 0 {
        launch!(
            gpu,
            number_type,
            "unit_rows_gradient",
            block_per_row(rows),
            address(x)?,
            address(y)?,
            address(dy)?,
            address(&dx)?,
            columns as u32,
            number_type.scalar(min_norm)
        );
    }
    Ok(dx)
}

/// Computes `scale · (z - min - margin at the label)`, where `min` is the row's minimum if
/// `subtract_min` is set, else 0. Without labels there is no margin.
pub(crate) fn margin_scores(
    (z, layout): (&CudaStorage, &Layout),
    labels: Option<(&CudaStorage, &Layout)>,
    (scale, margin, subtract_min): (f64, f64, bool),
) -> Result<CudaStorage> {
    let (gpu, number_type) = (Gpu::of_cuda(&z.device)?, NumberType::of(z.dtype())?);
    let (rows, classes) = layout.shape().dims2()?;
    let (y, to) = output(z, rows * classes, z.dtype())?;
    let labels = labels.map_or(Ok(0), |(labels, layout)| address_in(labels, layout))?;
    launch!(
        gpu,
        number_type,
        "margin_scores",
        LaunchShape::warp_per_row(rows),
        address_in(z, layout)?,
        labels,
        to,
        rows as u32,
        classes as u32,
        number_type.scalar(scale),
        number_type.scalar(margin),
        i32::from(subtract_min)
    );
    Ok(y)
}

pub(crate) fn margin_scores_gradient(
    z: &Tensor,
    dy: &Tensor,
    scale: f64,
    subtract_min: bool,
) -> Result<Tensor> {
    let (gpu, number_type) = (Gpu::of(z.device())?, NumberType::of(z.dtype())?);
    let (rows, classes) = z.dims2()?;
    let dz = empty(z.shape(), z.dtype(), z.device())?;
    launch!(
        gpu,
        number_type,
        "margin_scores_gradient",
        LaunchShape::warp_per_row(rows),
        address(z)?,
        address(dy)?,
        address(&dz)?,
        rows as u32,
        classes as u32,
        number_type.scalar(scale),
        i32::from(subtract_min)
    );
    Ok(dz)
}

/// Returns the mean cross entropy. It is NaN if a label is not a class: the host cannot check labels
/// without waiting for the GPU.
pub(crate) fn cross_entropy(
    (scores, layout): (&CudaStorage, &Layout),
    (labels, labels_layout): (&CudaStorage, &Layout),
) -> Result<CudaStorage> {
    let (gpu, number_type) = (Gpu::of_cuda(&scores.device)?, NumberType::of(scores.dtype())?);
    let (rows, classes) = layout.shape().dims2()?;
    let (loss, to) = output(scores, 1, scores.dtype())?;
    launch!(
        gpu,
        number_type,
        "cross_entropy",
        ONE_BLOCK,
        address_in(scores, layout)?,
        address_in(labels, labels_layout)?,
        to,
        rows as u32,
        classes as u32
    );
    Ok(loss)
}

pub(crate) fn cross_entropy_gradient(
    scores: &Tensor,
    labels: &Tensor,
    dloss: &Tensor,
) -> Result<Tensor> {
    let (gpu, number_type) = (Gpu::of(scores.device())?, NumberType::of(scores.dtype())?);
    let (rows, classes) = scores.dims2()?;
    let dscores = empty(scores.shape(), scores.dtype(), scores.device())?;
    launch!(
        gpu,
        number_type,
        "cross_entropy_gradient",
        LaunchShape::warp_per_row(rows),
        address(scores)?,
        address(labels)?,
        address(dloss)?,
        address(&dscores)?,
        rows as u32,
        classes as u32
    );
    Ok(dscores)
}

/// Returns the number of rows whose largest score is at the label, as a `u32` scalar.
pub(crate) fn count_correct(scores: &Tensor, labels: &Tensor) -> Result<Tensor> {
    let (gpu, number_type) = (Gpu::of(scores.device())?, NumberType::of(scores.dtype())?);
    let (rows, classes) = scores.dims2()?;
    let correct = empty((), DType::U32, scores.device())?;
    launch!(
        gpu,
        number_type,
        "count_correct",
        ONE_BLOCK,
        address(scores)?,
        address(labels)?,
        address(&correct)?,
        rows as u32,
        classes as u32
    );
    Ok(correct)
}
