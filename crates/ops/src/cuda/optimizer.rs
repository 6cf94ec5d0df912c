//! Optimizer steps for all parameters, up to 96 of them in one launch.

use candle_core::{DType, Result, Tensor, bail};
use cudarc::driver::DeviceRepr;

use super::{Gpu, NumberType, address, launch};
use crate::launch::{LaunchShape, blocks};

/// Parameters in one launch, as in optimizer.cu.
const MAX_PARAMETERS: usize = 96;

/// A parameter with its gradient and the optimizer's state: `f32` tensors of equal length on one
/// GPU.
pub struct Update<'a> {
    /// The parameter, updated in place.
    pub value: &'a Tensor,
    /// Gradient of the loss.
    pub gradient: &'a Tensor,
    /// Momentum buffer (SGD) or first moment (Adam), updated in place.
    pub first: &'a Tensor,
    /// Second moment (Adam), updated in place.
    pub second: Option<&'a Tensor>,
}

/// One step of stochastic gradient descent, as in `torch.optim.SGD`: `g = gradient + decay·w`,
/// `b = keep·b + take·g`, `w = w - rate·(nesterov ? g + momentum·b : b)`.
#[derive(Clone, Copy, Debug)]
pub struct Sgd {
    /// Learning rate.
    pub rate: f64,
    /// Weight decay (L2 penalty).
    pub decay: f64,
    /// Factor of the momentum buffer in a Nesterov step.
    pub momentum: f64,
    /// Factor of the previous momentum buffer; 0 in the first step.
    pub keep: f64,
    /// Factor of the gradient in the momentum buffer: 1 - dampening, or 1 in the first step.
    pub take: f64,
    /// Whether the step is Nesterov's.
    pub is_nesterov: bool,
}

/// One step of Adam (Kingma and Ba, 2015) or AdamW (Loshchilov and Hutter, 2019):
/// `g = gradient + decay·w`, moments `m` and `v` of `g`,
/// `w = shrink·w - size·m / (√v / root + eps)`.
#[derive(Clone, Copy, Debug)]
pub struct Adam {
    /// Step size: the learning rate divided by the first moment's bias correction.
    pub size: f64,
    /// Square root of the second moment's bias correction.
    pub root: f64,
    /// Weight decay as an L2 penalty (Adam).
    pub decay: f64,
    /// Factor of the weight: decoupled weight decay (AdamW).
    pub shrink: f64,
    /// Decay rates of both moments.
    pub betas: [f64; 2],
    /// Added to the denominator.
    pub eps: f64,
}

/// `Parameters` of optimizer.cu.
#[repr(C)]
#[derive(Clone, Copy)]
struct Table {
    value: [u64; MAX_PARAMETERS],
    gradient: [u64; MAX_PARAMETERS],
    first: [u64; MAX_PARAMETERS],
    second: [u64; MAX_PARAMETERS],
    length: [u32; MAX_PARAMETERS],
}

// SAFETY: plain numbers, `repr(C)`, with the fields of the kernels' struct in the same order.
unsafe impl DeviceRepr for Table {}

/// Divides updates into groups of one launch; returns each as a table with its grid.
fn tables(updates: &[Update]) -> Result<Vec<(Table, LaunchShape)>> {
    let group = |updates: &[Update]| {
        let [zeros, lengths] = [[0u64; MAX_PARAMETERS], [0u64; MAX_PARAMETERS]];
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
        // Four elements of the longest parameter per thread.
        let chunks = blocks(longest.div_ceil(4)).min(512);
        let grid = (chunks, updates.len() as u32, 1);
        Ok((table, LaunchShape { grid, block: (256, 1, 1) }))
    };
    updates.chunks(MAX_PARAMETERS).map(group).collect()
}

/// Takes a step of stochastic gradient descent for all parameters.
///
/// # Errors
/// Tensors that are not contiguous `f32` on a GPU, or of different lengths.
pub fn sgd(updates: &[Update], step: &Sgd) -> Result<()> {
    let Some(first) = updates.first() else { return Ok(()) };
    let (gpu, number_type) = (Gpu::of(first.value.device())?, NumberType::F32);
    for (table, shape) in tables(updates)? {
        let [rate, decay, momentum, keep, take] =
            [step.rate, step.decay, step.momentum, step.keep, step.take].map(|v| v as f32);
        launch!(
            gpu,
            number_type,
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

/// Takes a step of Adam or AdamW for all parameters.
///
/// # Errors
/// As [`sgd`]; no second moments.
pub fn adam(updates: &[Update], step: &Adam) -> Result<()> {
    let Some(first) = updates.first() else { return Ok(()) };
    if updates.iter().any(|update| update.second.is_none()) {
        bail!("optimizer: Adam needs second moments")
    }
    let (gpu, number_type) = (Gpu::of(first.value.device())?, NumberType::F32);
    for (table, shape) in tables(updates)? {
        let [size, root, decay, shrink, beta1, beta2, eps] =
            [step.size, step.root, step.decay, step.shrink, step.betas[0], step.betas[1], step.eps]
                .map(|v| v as f32);
        launch!(
            gpu,
            number_type,
            "adam",
            shape,
            table,
            size,
            root,
            decay,
            shrink,
            beta1,
            beta2,
            eps
        );
    }
    Ok(())
}
