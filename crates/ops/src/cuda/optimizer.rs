//! Updates of all parameters, of up to 96 in one launch.

use candle_core::{DType, Result, Tensor, bail};
use cudarc::driver::DeviceRepr;

use super::{Gpu, Numbers, address, launch};
use crate::launch::{Shape, blocks};

/// As in optimizer.cu.
const MOST: usize = 96;

/// A parameter, its gradient, and what is remembered of earlier ones; all `f32` on one GPU, of
/// one length.
pub struct Update<'a> {
    /// Changed in place.
    pub value: &'a Tensor,
    /// Of the loss.
    pub gradient: &'a Tensor,
    /// Momentum or first moment, changed in place.
    pub first: &'a Tensor,
    /// Second moment of Adam, changed in place.
    pub second: Option<&'a Tensor>,
}

/// One step of stochastic gradient descent: `g = gradient + decay·w`, `b = keep·b + take·g`,
/// `w = w - rate·(nesterov ? g + momentum·b : b)`.
#[derive(Clone, Copy, Debug)]
pub struct Sgd {
    /// Learning rate.
    pub rate: f64,
    /// L2 penalty.
    pub decay: f64,
    /// What Nesterov's step adds of the buffer.
    pub momentum: f64,
    /// What is kept of the buffer; 0 also where it holds nothing yet.
    pub keep: f64,
    /// What is taken of the gradient.
    pub take: f64,
    /// Whether the step looks ahead.
    pub is_nesterov: bool,
}

/// One step of Adam or AdamW: `g = gradient + decay·w`, moments of `g`,
/// `w = shrink·w - size·m / (√v / root + eps)`.
#[derive(Clone, Copy, Debug)]
pub struct Adam {
    /// Learning rate over the first moment's correction.
    pub size: f64,
    /// Root of the second moment's correction.
    pub root: f64,
    /// L2 penalty (Adam).
    pub decay: f64,
    /// What is kept of the weight (AdamW).
    pub shrink: f64,
    /// Decay of both moments.
    pub betas: [f64; 2],
    /// Added to the root.
    pub eps: f64,
}

/// `Parameters` of the source.
#[repr(C)]
#[derive(Clone, Copy)]
struct Table {
    value: [u64; MOST],
    gradient: [u64; MOST],
    first: [u64; MOST],
    second: [u64; MOST],
    length: [u32; MOST],
}

// SAFETY: plain numbers, laid out as the kernels' struct.
unsafe impl DeviceRepr for Table {}

/// A table of each group, with the grid that covers it.
fn tables(updates: &[Update]) -> Result<Vec<(Table, Shape)>> {
    let group = |updates: &[Update]| {
        let [zeros, lengths] = [[0u64; MOST], [0u64; MOST]];
        let mut table = Table {
            value: zeros,
            gradient: zeros,
            first: zeros,
            second: zeros,
            length: lengths.map(|n| n as u32),
        };
        let mut longest = 0;
        for (i, update) in updates.iter().enumerate() {
            let Update { value, gradient, first, second } = *update;
            let length = value.elem_count();
            for tensor in [Some(value), Some(gradient), Some(first), second].into_iter().flatten() {
                if tensor.dtype() != DType::F32 || tensor.elem_count() != length {
                    bail!("optimizer: {tensor:?} beside {value:?}, expected f32 of one length")
                }
            }
            table.value[i] = address(value)?;
            table.gradient[i] = address(gradient)?;
            table.first[i] = address(first)?;
            table.second[i] = second.map_or(Ok(0), address)?;
            table.length[i] = length as u32;
            longest = longest.max(length);
        }
        // Four elements a thread of the longest.
        let chunks = blocks(longest.div_ceil(4)).min(512);
        let grid = (chunks, updates.len() as u32, 1);
        Ok((table, Shape { grid, block: (256, 1, 1) }))
    };
    updates.chunks(MOST).map(group).collect()
}

/// Updates all parameters by stochastic gradient descent.
///
/// # Errors
/// Tensors that are not `f32` on a GPU, contiguous and of one length.
pub fn sgd(updates: &[Update], step: &Sgd) -> Result<()> {
    let Some(first) = updates.first() else { return Ok(()) };
    let (gpu, numbers) = (Gpu::of(first.value.device())?, Numbers::Single);
    for (table, shape) in tables(updates)? {
        let [rate, decay, momentum, keep, take] =
            [step.rate, step.decay, step.momentum, step.keep, step.take].map(|v| v as f32);
        launch!(
            gpu,
            numbers,
            "sgd",
            shape,
            table,
            rate,
            decay,
            momentum,
            keep,
            take,
            i32::from(step.is_nesterov)
        );
    }
    Ok(())
}

/// Updates all parameters by Adam or AdamW.
///
/// # Errors
/// As [`sgd`], or second moments that are absent.
pub fn adam(updates: &[Update], step: &Adam) -> Result<()> {
    let Some(first) = updates.first() else { return Ok(()) };
    if updates.iter().any(|update| update.second.is_none()) {
        bail!("optimizer: Adam needs second moments")
    }
    let (gpu, numbers) = (Gpu::of(first.value.device())?, Numbers::Single);
    for (table, shape) in tables(updates)? {
        let [size, root, decay, shrink, beta1, beta2, eps] =
            [step.size, step.root, step.decay, step.shrink, step.betas[0], step.betas[1], step.eps]
                .map(|v| v as f32);
        launch!(gpu, numbers, "adam", shape, table, size, root, decay, shrink, beta1, beta2, eps);
    }
    Ok(())
}
