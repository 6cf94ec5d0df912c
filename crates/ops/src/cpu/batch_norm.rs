//! Batch normalisation, with the activation and residual addition that follow it.

use super::elementwise::factor;
use crate::{Activation, tensor::Real};
use rayon::prelude::*;

/// Independent partial sums, so that the compiler can use vector registers.
const LANES: usize = 16;

/// Two sums over a run of values, `Σ f(x_i, y_i, z_i)`, taken lane by lane.
fn sums<T: Real>([x, y, z]: [&[T]; 3], f: impl Fn(T, T, T) -> [T; 2]) -> [f64; 2] {
    let mut lanes = [[T::zero(); LANES]; 2];
    let whole = x.len() / LANES * LANES;
    let chunks = x.chunks_exact(LANES).zip(y.chunks_exact(LANES)).zip(z.chunks_exact(LANES));
    for ((x, y), z) in chunks {
        for l in 0..LANES {
            let [a, b] = f(x[l], y[l], z[l]);
            lanes[0][l] += a;
            lanes[1][l] += b;
        }
    }
    let mut totals = lanes.map(|lanes| lanes.iter().map(|l| l.to_f64()).sum::<f64>());
    for i in whole..x.len() {
        let [a, b] = f(x[i], y[i], z[i]);
        totals[0] += a.to_f64();
        totals[1] += b.to_f64();
    }
    totals
}

/// [`sums`] over each channel of tensors `[B, C, plane]`, in a fixed order; `f` is told the
/// channel. Runs are summed as `T`, among each other as `f64`.
fn channel_pairs<T: Real, F: Fn(T, T, T) -> [T; 2]>(
    tensors: [&[T]; 3],
    channels: usize,
    plane: usize,
    f: impl Fn(usize) -> F + Sync,
) -> Vec<[f64; 2]> {
    let sum = |c: usize| {
        let f = f(c);
        let starts = (c * plane..tensors[0].len()).step_by((channels * plane).max(1));
        let run = |start: usize| sums(tensors.map(|t| &t[start..start + plane]), &f);
        starts.map(run).fold([0.0; 2], |a, b| [a[0] + b[0], a[1] + b[1]])
    };
    (0..channels).into_par_iter().map(sum).collect()
}

/// The sum of each channel of `x [B, C, plane]`.
pub fn channel_sums<T: Real>(x: &[T], channels: usize, plane: usize) -> Vec<f64> {
    let pairs = channel_pairs([x; 3], channels, plane, |_| |v, _, _| [v, T::zero()]);
    pairs.into_iter().map(|[sum, _]| sum).collect()
}

/// Mean and biased variance of each channel.
pub fn moments<T: Real>(x: &[T], channels: usize, plane: usize) -> (Vec<f64>, Vec<f64>) {
    let count = (x.len() / channels.max(1)) as f64;
    let mean: Vec<f64> =
        channel_sums(x, channels, plane).into_iter().map(|sum| sum / count).collect();
    let squares = channel_pairs([x; 3], channels, plane, |c| {
        let mean = T::from_f64(mean[c]);
        move |v, _, _| [(v - mean) * (v - mean), T::zero()]
    });
    let variance = squares.into_iter().map(|[sum, _]| sum / count).collect();
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
            let activate = |v: T| v * factor(v, slope);
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

/// What [`gradients`] gives.
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
    let pairs = channel_pairs([x, y, dy], channels, plane, |c| {
        let mean = T::from_f64(normalisation.mean[c]);
        move |x, y, d| {
            let d = d * factor(y, slope);
            [d, d * (x - mean)]
        }
    });
    let deviation = normalisation.inverse_deviation;
    let dweight: Vec<f64> = pairs.iter().zip(deviation).map(|([_, p], d)| p * d).collect();

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
                offset = T::from_f64(pairs[c][0] / count);
                along = T::from_f64(dweight[c] / count * deviation[c]);
            }
            let (x, y, dy) = (&x[start..][..plane], &y[start..][..plane], &dy[start..][..plane]);
            for (((dx, &x), &y), &d) in dx.iter_mut().zip(x).zip(y).zip(dy) {
                let d = d * factor(y, slope);
                *dx = gain * (d - offset - along * (x - mean));
            }
        }
    });
    let residual =
        with_residual.then(|| super::elementwise::activation_gradient(y, dy, activation));
    let sums = pairs.into_iter().map(|[sum, _]| sum);
    let parameters = dweight.into_iter().chain(sums).map(T::from_f64).collect();
    Gradients { x: dx, parameters, residual }
}
