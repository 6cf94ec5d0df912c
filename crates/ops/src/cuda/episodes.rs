//! Classifiers fitted to the support sets of many episodes at once.

use candle_core::{DType, Device, Result, Tensor, bail};
use cudarc::driver::DeviceRepr;

use super::{Gpu, Numbers, address, empty, launch};
use crate::launch::Shape;

/// Episodes of one shape, on a GPU.
pub struct Episodes<'a> {
    /// Features of all images, `f32` `[N, D]`.
    pub bank: &'a Tensor,
    /// The classifiers' first weights, `f32` `[E, way, D]`. A bias is the weight of one more
    /// feature, which is always 1.
    pub initial: &'a Tensor,
    /// Which images are support and which are queries, `u32` `[E, S + Q]`, each less than N.
    pub rows: &'a Tensor,
    /// The class of each support image, `u32` `[S]`, each less than `way`.
    pub labels: &'a Tensor,
    /// How each pass takes the support images, `u32` `[E, P, S]`, each less than S, P ≥ passes.
    pub order: &'a Tensor,
}

/// Stochastic gradient descent of a mean cross entropy, as `torch.optim.SGD` has it:
/// `g = gradient + decay·w`, `v = keep·v + take·g`, `w = w - rate·v`, but `v = g` at first.
#[derive(Clone, Copy, Debug)]
pub struct Descent {
    /// How often the support set is gone through.
    pub passes: usize,
    /// Support images in one step.
    pub batch_size: usize,
    /// Whether scores are cosines.
    pub compares_directions: bool,
    /// The factor on scores.
    pub scale: f64,
    /// What is taken from the product or cosine at the label.
    pub margin: f64,
    /// What is kept of the momentum.
    pub keep: f64,
    /// What is taken of the gradient.
    pub take: f64,
    /// Learning rate.
    pub rate: f64,
    /// L2 penalty.
    pub decay: f64,
    /// The least length that anything is divided by.
    pub shortest: f64,
}

/// `Descent` of the source.
#[repr(C)]
#[derive(Clone, Copy)]
struct Settings {
    numbers: [f64; 7],
    counts: [u32; 3],
}

// SAFETY: plain numbers, laid out as the kernel's struct.
unsafe impl DeviceRepr for Settings {}

/// Fits a classifier to each episode and gives the products `[E, Q, way]` (`f64`) of its weights with
/// the queries, over the weights' lengths where directions are compared.
///
/// All episodes descend at the same time, a block each, on inner products that take
/// `8·(S + way + Q)·(S + way)` bytes an episode.
///
/// # Errors
/// Tensors that are not contiguous on one GPU, or of other types or shapes; no memory.
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
    let (gpu, numbers) = (Gpu::of(device)?, Numbers::Double);
    let (width, batch) = (supports + way, descent.batch_size.min(supports));
    let products = empty((count, width + queries, width), DType::F64, device)?;
    let sizes = [supports, way, queries].map(|n| n as u32);
    launch!(
        gpu,
        numbers,
        "episode_products",
        Shape { grid: (count as u32, 8, 1), block: (256, 1, 1) },
        address(bank)?,
        address(initial)?,
        address(rows)?,
        address(&products)?,
        columns as u32,
        sizes[0],
        sizes[1],
        sizes[2]
    );
    let room = way * (3 * (supports + 1) + 1 + batch) + supports;
    let scratch = empty((count, room), DType::F64, device)?;
    let scores = empty((count, queries, way), DType::F64, device)?;
    let Descent { passes, scale, margin, keep, take, rate, decay, shortest, .. } = *descent;
    let settings = Settings {
        numbers: [scale, margin, keep, take, rate, decay, shortest],
        counts: [passes as u32, batch as u32, u32::from(descent.compares_directions)],
    };
    launch!(
        gpu,
        numbers,
        "adapt_episodes",
        Shape { grid: (count as u32, 1, 1), block: (128, 1, 1) },
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
