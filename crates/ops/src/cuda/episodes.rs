//! Fine-tuning of the classifiers of many episodes at once.

use candle_core::{DType, Device, Result, Tensor, bail};
use cudarc::driver::DeviceRepr;

use super::{Gpu, NumberType, address, empty, launch};
use crate::launch::LaunchShape;

/// Episodes of equal size, as tensors on a GPU: E episodes of S support and Q query images.
pub struct Episodes<'a> {
    /// Features of all images, `f32` `[N, D]`.
    pub bank: &'a Tensor,
    /// Initial weights of the classifiers, `f32` `[E, way, D]`. A bias is the weight of one more
    /// feature, which is always 1.
    pub initial: &'a Tensor,
    /// Rows of the bank: each episode's support images, then its queries, `u32` `[E, S + Q]`.
    pub rows: &'a Tensor,
    /// Classes of the support images, `u32` `[S]`, each less than `way`.
    pub labels: &'a Tensor,
    /// Order of the support images in each pass, `u32` `[E, P, S]`, each less than S, P ≥ passes.
    pub order: &'a Tensor,
}

/// Stochastic gradient descent on a mean cross entropy, as in `torch.optim.SGD`:
/// `g = gradient + decay·w`, `v = keep·v + take·g`, `w = w - rate·v`; the first `v` is `g`.
#[derive(Clone, Copy, Debug)]
pub struct Descent {
    /// Passes over the support set.
    pub passes: usize,
    /// Support images per step.
    pub batch_size: usize,
    /// Whether scores are cosines rather than inner products.
    pub is_cosine: bool,
    /// Factor of the scores.
    pub scale: f64,
    /// Margin subtracted from the inner product or cosine at the label.
    pub margin: f64,
    /// Momentum: factor of the previous velocity.
    pub keep: f64,
    /// Factor of the gradient in the velocity: 1 - dampening.
    pub take: f64,
    /// Learning rate.
    pub rate: f64,
    /// Weight decay (L2 penalty).
    pub decay: f64,
    /// Lower bound of the norms that are divided by.
    pub min_norm: f64,
}

/// `Descent` of episodes.cu.
#[repr(C)]
#[derive(Clone, Copy)]
struct Settings {
    reals: [f64; 7],
    counts: [u32; 3],
}

// SAFETY: plain numbers, `repr(C)`, with the fields of the kernel's struct in the same order.
unsafe impl DeviceRepr for Settings {}

/// Fine-tunes a classifier on each episode's support set. Returns the inner products of its weights
/// with the queries, divided by the weights' norms if scores are cosines: `f64` `[E, Q, way]`.
///
/// All episodes are trained at the same time, one block each, on inner products that take
/// `8·(S + way + Q)·(S + way)` bytes per episode.
///
/// # Errors
/// Tensors that are not contiguous on one GPU, or of wrong types or shapes; out of memory.
pub fn adapt(episodes: &Episodes, descent: &Descent) -> Result<Tensor> {
    let Episodes { bank, initial, rows, labels, order } = *episodes;
    let ((count, way, columns), (_, orders, supports)) = (initial.dims3()?, order.dims3()?);
    let queries = rows.dim(1)?.saturating_sub(supports);
    let fits = bank.dim(1)? == columns
        && rows.dim(0)? == count
        && order.dim(0)? == count
        && labels.dims() == [supports]
        && orders >= descent.passes
        && [count, way, columns, supports, queries, descent.batch_size].iter().all(|&n| n > 0);
    let floats = [bank, initial].iter().all(|t| t.dtype() == DType::F32);
    if !(fits && floats && [rows, labels, order].iter().all(|t| t.dtype() == DType::U32)) {
        bail!(
            "episodes: bank {bank:?}, weights {initial:?}, rows {rows:?}, labels {labels:?}, order {order:?} do not fit"
        )
    }
    let device: &Device = bank.device();
    let (gpu, number_type) = (Gpu::of(device)?, NumberType::F64);
    let (width, batch) = (supports + way, descent.batch_size.min(supports));
    let products = empty((count, width + queries, width), DType::F64, device)?;
    let sizes = [supports, way, queries].map(|n| n as u32);
    launch!(
        gpu,
        number_type,
        "episode_products",
        LaunchShape { grid: (count as u32, 8, 1), block: (256, 1, 1) },
        address(bank)?,
        address(initial)?,
        address(rows)?,
        address(&products)?,
        columns as u32,
        sizes[0],
        sizes[1],
        sizes[2]
    );
    let scratch_size = way * (3 * (supports + 1) + 1 + batch) + supports;
    let scratch = empty((count, scratch_size), DType::F64, device)?;
    let scores = empty((count, queries, way), DType::F64, device)?;
    let Descent { passes, scale, margin, keep, take, rate, decay, min_norm, .. } = *descent;
    let settings = Settings {
        reals: [scale, margin, keep, take, rate, decay, min_norm],
        counts: [passes as u32, batch as u32, u32::from(descent.is_cosine)],
    };
    launch!(
        gpu,
        number_type,
        "adapt_episodes",
        LaunchShape { grid: (count as u32, 1, 1), block: (128, 1, 1) },
        address(&products)?,
        address(labels)?,
        address(order)?,
        address(&scratch)?,
        address(&scores)?,
        sizes[0],
        sizes[1],
        sizes[2],
        orders as u32,
        settings
    );
    Ok(scores)
}
