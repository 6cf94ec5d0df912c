//! Batch normalisation, with the activation and residual addition that follow it.

use crate::{Activation, tensor::Real};
use rayon::prelude::*;

/// Independent partial sums, so that the compiler can use vector registers.
const LANES: usize = 16;

/// `Σ f(i, v)` over a segment, `i` counted from `start`.
fn segment_sum<T: Real>(segment: &[T], start: usize, f: &impl Fn(usize, T) -> T) -> f64 {
    let mut lanes = [T::zero(); LANES];
    let chunks = segment.chunks_exact(LANES);
    let rest = chunks.remainder();
    let rest_start = start + segment.len() - rest.len();
    for (j, chunk) in chunks.enumerate() {
        for (l, &v) in chunk.iter().enumerate() {
            lanes[l] += f(start + j * LANES + l, v);
        }
    }
    let rest = rest.iter().enumerate().map(|(j, &v)| f(rest_start + j, v).to_f64());
    lanes.iter().map(|l| l.to_f64()).sum::<f64>() + rest.sum::<f64>()
}

/// `Σ f(i, x_i)` for each channel of `x [B, C, plane]`, in a fixed order; `i` is the flat
/// index. Short runs are summed as `T`, runs among each other as `f64`.
pub fn channel_sums<T: Real>(
    x: &[T],
    channels: usize,
    plane: usize,
    f: impl Fn(usize, T) -> T + Sync,
) -> Vec<f64> {
    per_channel(x, channels, plane, |_| &f)
}

fn per_channel<'f, T: Real, F: Fn(usize, T) -> T + 'f>(
    x: &[T],
    channels: usize,
    plane: usize,
    f: impl Fn(usize) -> F + Sync,
) -> Vec<f64> {
    let sum = |c: usize| {
        let f = f(c);
        let starts = (c * plane..x.len()).step_by((channels * plane).max(1));
        starts.map(|start| segment_sum(&x[start..start + plane], start, &f)).sum()
    };
    (0..channels).into_par_iter().map(sum).collect()
}

/// Mean and biased variance of each channel.
pub fn moments<T: Real>(x: &[T], channels: usize, plane: usize) -> (Vec<f64>, Vec<f64>) {
    let count = (x.len() / channels.max(1)) as f64;
    let mut mean = channel_sums(x, channels, plane, |_, v| v);
    mean.iter_mut().for_each(|m| *m /= count);
    let mut variance = per_channel(x, channels, plane, |c| {
        let mean = T::from_f64(mean[c]);
        move |_, v| (v - mean) * (v - mean)
    });
    variance.iter_mut().for_each(|v| *v /= count);
    (mean, variance)
}

/// What is applied to each channel: `y = activation(scale·x + shift + residual)`.
pub struct Affine<T> {
    pub scale: Vec<T>,
    pub shift: Vec<T>,
}

/// `activation(scale·x + shift + residual)` over `x [B, C, plane]`.
pub fn apply<T: Real>(
    x: &[T],
    plane: usize,
    affine: &Affine<T>,
    activation: Activation,
    residual: Option<&[T]>,
) -> Vec<T> {
    let channels = affine.scale.len();
    let mut y = vec![T::zero(); x.len()];
    let slope = T::from_f64(activation.slope());
    let image = (channels * plane).max(1);
    y.par_chunks_mut(image).enumerate().for_each(|(b, y)| {
        for (c, y) in y.chunks_exact_mut(plane).enumerate() {
            let (scale, shift) = (affine.scale[c], affine.shift[c]);
            let range = b * image + c * plane..b * image + (c + 1) * plane;
            let activate = |v: T| if v > T::zero() { v } else { v * slope };
            let x = &x[range.clone()];
            match residual {
                None => y.iter_mut().zip(x).for_each(|(y, &x)| *y = activate(scale * x + shift)),
                Some(residual) => y
                    .iter_mut()
                    .zip(x)
                    .zip(&residual[range])
                    .for_each(|((y, &x), &r)| *y = activate(scale * x + shift + r)),
            }
        }
    });
    y
}

/// Gradients of [`apply`] where scale and shift come from the batch's own statistics
/// (`batch`) or from fixed ones.
pub struct Gradients<T> {
    /// `[B, C, plane]`.
    pub x: Vec<T>,
    /// `[2, C]`: weight, then bias.
    pub parameters: Vec<T>,
    /// Gradient before the activation, `[B, C, plane]`; asked for with a residual.
    pub residual: Option<Vec<T>>,
}

/// The statistics that a normalisation used.
pub struct Normalisation<'a> {
    pub mean: &'a [f64],
    /// `1 / sqrt(variance + eps)`.
    pub inverse_deviation: &'a [f64],
    /// Whether they are the batch's own, so that gradients flow through them.
    pub from_batch: bool,
}

/// Gradients of `activation(weight·(x - mean)·inverse_deviation + bias + residual)`.
pub fn gradients<T: Real>(
    [x, y, dy]: [&[T]; 3],
    plane: usize,
    weight: &[T],
    normalisation: &Normalisation,
    activation: Activation,
    with_residual: bool,
) -> Gradients<T> {
    let channels = weight.len();
    let count = (x.len() / channels.max(1)) as f64;
    let slope = T::from_f64(activation.slope());
    // The sign of the output is that of the value before the activation.
    let before = |i: usize, d: T| if y[i] > T::zero() { d } else { d * slope };
    let sum = channel_sums(dy, channels, plane, before);
    let product = per_channel(dy, channels, plane, |c| {
        let mean = T::from_f64(normalisation.mean[c]);
        move |i, d| before(i, d) * (x[i] - mean)
    });
    let deviation = normalisation.inverse_deviation;
    let dweight: Vec<f64> = product.iter().zip(deviation).map(|(p, d)| p * d).collect();

    let mut dx = vec![T::zero(); x.len()];
    let image = (channels * plane).max(1);
    dx.par_chunks_mut(image).enumerate().for_each(|(b, dx)| {
        for (c, dx) in dx.chunks_exact_mut(plane).enumerate() {
            let start = b * image + c * plane;
            let gain = T::from_f64(weight[c].to_f64() * deviation[c]);
            // dx = gain·(d - mean(d) - x̂·mean(d·x̂)), the means only for batch statistics.
            let mean = T::from_f64(normalisation.mean[c]);
            let (mut offset, mut along) = (T::zero(), T::zero());
            if normalisation.from_batch {
                offset = T::from_f64(sum[c] / count);
                along = T::from_f64(dweight[c] / count * deviation[c]);
            }
            let (x, y, dy) = (&x[start..][..plane], &y[start..][..plane], &dy[start..][..plane]);
            for (((dx, &x), &y), &d) in dx.iter_mut().zip(x).zip(y).zip(dy) {
                let d = if y > T::zero() { d } else { d * slope };
                *dx = gain * (d - offset - along * (x - mean));
            }
        }
    });
    let residual =
        with_residual.then(|| super::elementwise::activation_gradient(y, dy, activation));
    let parameters = dweight.into_iter().chain(sum).map(T::from_f64).collect();
    Gradients { x: dx, parameters, residual }
}
