//! Classifiers over features and their loss, on storages as candle's operations have them.

use candle_core::backend::BackendStorage as _;
use candle_core::{CudaStorage, DType, Layout, Result, Tensor};

use super::{Gpu, Numbers, address, address_in, empty, launch, output};
use crate::launch::Shape;

const ROW: (u32, u32, u32) = (128, 1, 1);
/// One block of 32 warps.
const ONE: Shape = Shape { grid: (1, 1, 1), block: (1024, 1, 1) };

fn blocks_of(rows: usize) -> Shape {
    Shape { grid: (rows.max(1) as u32, 1, 1), block: ROW }
}

/// `activation` of any shape.
pub(crate) fn activate(x: &CudaStorage, layout: &Layout, slope: f64) -> Result<CudaStorage> {
    let (gpu, numbers) = (Gpu::of_cuda(&x.device)?, Numbers::of(x.dtype())?);
    let count = layout.shape().elem_count();
    let (y, to) = output(x, count, x.dtype())?;
    launch!(
        gpu,
        numbers,
        "activation",
        Shape::flat(count),
        address_in(x, layout)?,
        to,
        count as u64,
        numbers.scalar(slope)
    );
    Ok(y)
}

pub(crate) fn activation_gradient(y: &Tensor, dy: &Tensor, slope: f64) -> Result<Tensor> {
    let (gpu, numbers) = (Gpu::of(y.device())?, Numbers::of(y.dtype())?);
    let dx = empty(y.shape(), y.dtype(), y.device())?;
    let count = y.elem_count();
    launch!(
        gpu,
        numbers,
        "activation_gradient",
        Shape::flat(count),
        address(y)?,
        address(dy)?,
        address(&dx)?,
        count as u64,
        numbers.scalar(slope)
    );
    Ok(dx)
}

/// Rows of unit length.
pub(crate) fn unit_rows(x: &CudaStorage, layout: &Layout, shortest: f64) -> Result<CudaStorage> {
    let (gpu, numbers) = (Gpu::of_cuda(&x.device)?, Numbers::of(x.dtype())?);
    let (rows, columns) = layout.shape().dims2()?;
    let (y, to) = output(x, rows * columns, x.dtype())?;
    if rows > 0 {
        launch!(
            gpu,
            numbers,
            "unit_rows",
            blocks_of(rows),
            address_in(x, layout)?,
            to,
            columns as u32,
            numbers.scalar(shortest)
        );
    }
    Ok(y)
}

pub(crate) fn unit_rows_gradient([x, y, dy]: [&Tensor; 3], shortest: f64) -> Result<Tensor> {
    let (gpu, numbers) = (Gpu::of(x.device())?, Numbers::of(x.dtype())?);
    let (rows, columns) = x.dims2()?;
    let dx = empty(x.shape(), x.dtype(), x.device())?;
    if rows > 0 {
        launch!(
            gpu,
            numbers,
            "unit_rows_gradient",
            blocks_of(rows),
            address(x)?,
            address(y)?,
            address(dy)?,
            address(&dx)?,
            columns as u32,
            numbers.scalar(shortest)
        );
    }
    Ok(dx)
}

/// `scale · (z - least - margin at the label)`; `labels` may be none.
pub(crate) fn margin_scores(
    (z, layout): (&CudaStorage, &Layout),
    labels: Option<(&CudaStorage, &Layout)>,
    (scale, margin, subtract_min): (f64, f64, bool),
) -> Result<CudaStorage> {
    let (gpu, numbers) = (Gpu::of_cuda(&z.device)?, Numbers::of(z.dtype())?);
    let (rows, classes) = layout.shape().dims2()?;
    let (y, to) = output(z, rows * classes, z.dtype())?;
    let labels = labels.map_or(Ok(0), |(labels, layout)| address_in(labels, layout))?;
    launch!(
        gpu,
        numbers,
        "margin_scores",
        Shape::warps(rows),
        address_in(z, layout)?,
        labels,
        to,
        rows as u32,
        classes as u32,
        numbers.scalar(scale),
        numbers.scalar(margin),
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
    let (gpu, numbers) = (Gpu::of(z.device())?, Numbers::of(z.dtype())?);
    let (rows, classes) = z.dims2()?;
    let dz = empty(z.shape(), z.dtype(), z.device())?;
    launch!(
        gpu,
        numbers,
        "margin_scores_gradient",
        Shape::warps(rows),
        address(z)?,
        address(dy)?,
        address(&dz)?,
        rows as u32,
        classes as u32,
        numbers.scalar(scale),
        i32::from(subtract_min)
    );
    Ok(dz)
}

/// The mean loss; not a number where a label is no class, which the host cannot see in time.
pub(crate) fn cross_entropy(
    (scores, layout): (&CudaStorage, &Layout),
    (labels, labels_layout): (&CudaStorage, &Layout),
) -> Result<CudaStorage> {
    let (gpu, numbers) = (Gpu::of_cuda(&scores.device)?, Numbers::of(scores.dtype())?);
    let (rows, classes) = layout.shape().dims2()?;
    let (loss, to) = output(scores, 1, scores.dtype())?;
    launch!(
        gpu,
        numbers,
        "cross_entropy",
        ONE,
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
    let (gpu, numbers) = (Gpu::of(scores.device())?, Numbers::of(scores.dtype())?);
    let (rows, classes) = scores.dims2()?;
    let dscores = empty(scores.shape(), scores.dtype(), scores.device())?;
    launch!(
        gpu,
        numbers,
        "cross_entropy_gradient",
        Shape::warps(rows),
        address(scores)?,
        address(labels)?,
        address(dloss)?,
        address(&dscores)?,
        rows as u32,
        classes as u32
    );
    Ok(dscores)
}

/// How many rows have their largest score at the label: a scalar `u32`.
pub(crate) fn count_correct(scores: &Tensor, labels: &Tensor) -> Result<Tensor> {
    let (gpu, numbers) = (Gpu::of(scores.device())?, Numbers::of(scores.dtype())?);
    let (rows, classes) = scores.dims2()?;
    let right = empty((), DType::U32, scores.device())?;
    launch!(
        gpu,
        numbers,
        "count_correct",
        ONE,
        address(scores)?,
        address(labels)?,
        address(&right)?,
        rows as u32,
        classes as u32
    );
    Ok(right)
}
