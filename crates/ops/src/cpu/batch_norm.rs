//! Batch normalization of pixels `[pixels, C]`, with the activation and residual addition that
//! follow it.

use std::ops::Range;

use candle_core::WithDType as _;
use rayon::prelude::*;

use super::buffer::{SharedOutput, filled_by_tasks};
use super::simd::{Portable, SimdKernel, Vector};
use crate::{Activation, tensor::Real};

/// Elements of a task: few enough to stay in the first caches from one pass to the next.
const ELEMENTS: usize = 1 << 14;

/// Divides pixels among tasks.
fn tasks(pixels: usize, channels: usize) -> impl IndexedParallelIterator<Item = Range<usize>> {
    let task_pixels = (ELEMENTS / channels.max(1)).max(1);
    (0..pixels.div_ceil(task_pixels))
        .into_par_iter()
        .map(move |task| task * task_pixels..((task + 1) * task_pixels).min(pixels))
}

/// A computation on some adjacent channels of all pixels of a task.
trait ChannelKernel<T> {
    /// Computes the channels from `c` on that `N` vectors hold.
    ///
    /// # Safety
    /// The vector's instruction set must be available, and there must be that many channels.
    unsafe fn run<V: Vector<Scalar = T>, const N: usize>(&mut self, c: usize);
}

/// Computes all channels.
///
/// # Safety
/// The vector's instruction set must be available, and `kernel` must have that many channels.
#[inline(always)]
unsafe fn for_channels<V: Vector>(channels: usize, kernel: &mut impl ChannelKernel<V::Scalar>) {
    let mut c = 0;
    // SAFETY: the loops' conditions keep all lanes below the number of channels; the rest is the
    // caller's guarantee.
    unsafe {
        while c + 4 * V::LANES <= channels {
            kernel.run::<V, 4>(c);
            c += 4 * V::LANES;
        }
        while c + V::LANES <= channels {
            kernel.run::<V, 1>(c);
            c += V::LANES;
        }
        while c < channels {
            kernel.run::<Portable<V::Scalar, 1>, 1>(c);
            c += 1;
        }
    }
}

/// Reads `N` vectors of consecutive numbers.
///
/// # Safety
/// The vector's instruction set must be available, and `from` valid for `N` vectors.
#[inline(always)]
unsafe fn load<V: Vector, const N: usize>(from: *const V::Scalar) -> [V; N] {
    // SAFETY: the caller's guarantee, for each of the vectors.
    unsafe {
        let mut vectors = [V::zero(); N];
        for (i, vector) in vectors.iter_mut().enumerate() {
            *vector = V::load(from.add(i * V::LANES));
        }
        vectors
    }
}

/// A number of channels, and the kernel to run on all of them; returns the kernel.
struct AllChannels<K>(usize, K);

impl<T: Real, K: ChannelKernel<T>> SimdKernel<T> for AllChannels<K> {
    type Output = K;

    #[inline(always)]
    fn run<V: Vector<Scalar = T>>(mut self) -> K {
        // SAFETY: kernels run with their instruction set; each is made with slices of whole
        // pixels of this many channels.
        unsafe { for_channels::<V>(self.0, &mut self.1) };
        self.1
    }
}

/// Writes two numbers of each channel, which `N` vectors hold of either.
///
/// # Safety
/// The vector's instruction set must be available.
#[inline(always)]
unsafe fn write_sums<V: Vector, const N: usize>(sums: [[V; N]; 2], to: &mut [[f64; 2]]) {
    for (which, sums) in sums.iter().enumerate() {
        for (i, sum) in sums.iter().enumerate() {
            let mut lanes = [V::Scalar::default(); 16];
            // SAFETY: the caller guarantees the instruction set, and no vector has more than 16
            // lanes.
            unsafe { sum.store(lanes.as_mut_ptr()) };
            for (to, lane) in to[i * V::LANES..][..V::LANES].iter_mut().zip(lanes) {
                to[which] = lane.to_f64();
            }
        }
    }
}

/// The mean and the sum of squared distances from it, of a task's pixels.
struct Moments<'a, T> {
    x: &'a [T],
    channels: usize,
    /// Mean and sum of each channel.
    moments: Vec<[f64; 2]>,
}

impl<T: Real> ChannelKernel<T> for Moments<'_, T> {
    #[inline(always)]
    unsafe fn run<V: Vector<Scalar = T>, const N: usize>(&mut self, c: usize) {
        let pixels = self.x.len() / self.channels;
        // SAFETY: the caller guarantees the instruction set and the channels, which all pixels of
        // the slice have.
        unsafe {
            let zero = V::zero();
            let start = self.x.as_ptr().add(c);
            let mut sums = [zero; N];
            for pixel in 0..pixels {
                let x = load::<V, N>(start.add(pixel * self.channels));
                for i in 0..N {
                    sums[i] = sums[i].add(x[i]);
                }
            }
            // Squared distances from a rounded mean, which the mean distance then corrects.
            let inverse = V::splat(T::from_f64(1.0 / pixels as f64));
            let mut means = sums;
            for mean in &mut means {
                *mean = mean.mul(inverse);
            }
            let mut distances = [[zero; N]; 2];
            for pixel in 0..pixels {
                let x = load::<V, N>(start.add(pixel * self.channels));
                for i in 0..N {
                    let distance = x[i].sub(means[i]);
                    distances[0][i] = distances[0][i].add(distance);
                    distances[1][i] = distance.fma(distance, distances[1][i]);
                }
            }
            let mut rounded = vec![[0.0; 2]; N * V::LANES];
            write_sums([means; 2], &mut rounded);
            let moments = &mut self.moments[c..c + N * V::LANES];
            write_sums(distances, moments);
            for ([first, second], [mean, _]) in moments.iter_mut().zip(rounded) {
                *second -= *first * *first / pixels as f64;
                *first = mean + *first / pixels as f64;
            }
        }
    }
}

/// Returns mean and biased variance of each channel of `x [pixels, C]`.
pub fn moments<T: Real>(x: &[T], channels: usize) -> (Vec<f64>, Vec<f64>) {
    let pixels = x.len() / channels.max(1);
    let of_task = |pixels: Range<usize>| {
        let x = &x[pixels.start * channels..pixels.end * channels];
        let kernel = Moments { x, channels, moments: vec![[0.0; 2]; channels] };
        (pixels.len() as f64, T::run(AllChannels(channels, kernel)).moments)
    };
    let parts: Vec<_> = tasks(pixels, channels).map(of_task).collect();
    // Chan, Golub & LeVeque: "Updating formulae and a pairwise algorithm", 1979.
    let (mut count, mut mean, mut squares) = (0.0, vec![0.0; channels], vec![0.0; channels]);
    for (n, part) in parts {
        let total = count + n;
        for (c, [part_mean, part_squares]) in part.into_iter().enumerate() {
            let distance: f64 = part_mean - mean[c];
            mean[c] += distance * n / total;
            squares[c] += part_squares + distance * distance * count * n / total;
        }
        count = total;
    }
    (mean, squares.into_iter().map(|sum| sum / count).collect())
}

/// An affine function of each channel, `scale·x + shift`.
pub struct Affine<T> {
    /// Factors, `[C]`.
    pub scale: Vec<T>,
    /// Summands, `[C]`.
    pub shift: Vec<T>,
}

/// Computes `y = activation(scale·x + shift + residual)` for a task's pixels.
struct Apply<'a, T> {
    x: &'a [T],
    affine: &'a Affine<T>,
    slope: T,
    residual: Option<&'a [T]>,
    y: *mut T,
}

impl<T: Real> ChannelKernel<T> for Apply<'_, T> {
    #[inline(always)]
    unsafe fn run<V: Vector<Scalar = T>, const N: usize>(&mut self, c: usize) {
        let channels = self.affine.scale.len();
        // SAFETY: the caller guarantees the instruction set and the channels, which all pixels of
        // `x`, the residual and `y` have.
        unsafe {
            let scale = load::<V, N>(self.affine.scale.as_ptr().add(c));
            let shift = load::<V, N>(self.affine.shift.as_ptr().add(c));
            let slope = V::splat(self.slope);
            for at in (c..self.x.len()).step_by(channels) {
                let mut y = load::<V, N>(self.x.as_ptr().add(at));
                for i in 0..N {
                    y[i] = y[i].fma(scale[i], shift[i]);
                }
                if let Some(residual) = self.residual {
                    let residual = load::<V, N>(residual.as_ptr().add(at));
                    for i in 0..N {
                        y[i] = y[i].add(residual[i]);
                    }
                }
                for (i, y) in y.into_iter().enumerate() {
                    y.scale_below(y, slope).store(self.y.add(at + i * V::LANES));
                }
            }
        }
    }
}

/// Returns `activation(scale·x + shift + residual)` of `x [pixels, C]`.
///
/// # Panics
/// If slices are not of these lengths, here and below.
pub fn apply<T: Real>(
    x: &[T],
    affine: &Affine<T>,
    activation: Activation,
    residual: Option<&[T]>,
) -> Vec<T> {
    let channels = affine.scale.len();
    let slope = T::from_f64(activation.slope());
    assert_eq!((affine.shift.len(), x.len() % channels.max(1)), (channels, 0));
    // SAFETY: tasks write all pixels, each its own.
    unsafe {
        filled_by_tasks(x.len(), |y| {
            tasks(x.len() / channels.max(1), channels).for_each(|pixels| {
                let elements = pixels.start * channels..pixels.end * channels;
                let y = y.at(elements.start, elements.len());
                let residual = residual.map(|residual| &residual[elements.clone()]);
                let kernel = Apply { x: &x[elements], affine, slope, residual, y };
                T::run(AllChannels(channels, kernel));
            });
        })
    }
}

/// The result of [`gradients`].
pub struct Gradients<T> {
    /// Gradient of the input, `[pixels, C]`.
    pub x: Vec<T>,
    /// Gradients of the weight, then of the bias, `[2, C]`.
    pub parameters: Vec<T>,
    /// Gradient of the residual, `[pixels, C]`, where there is a residual and the activation
    /// changes the output's gradient.
    pub residual: Option<Vec<T>>,
}

/// The statistics that a normalization used.
pub struct Normalization<'a> {
    /// Mean of each channel, `[C]`.
    pub mean: &'a [f64],
    /// `1 / sqrt(variance + eps)` of each channel, `[C]`.
    pub inverse_deviation: &'a [f64],
    /// Whether these are the batch's own statistics, so that gradients flow through them.
    pub from_batch: bool,
}

/// The numbers whose sign tells which side of the activation was taken: the output, or
/// `scale·x + shift` where there is no residual.
#[derive(Clone, Copy)]
enum Sign<'a, T> {
    Output(&'a [T]),
    Affine(&'a Affine<T>),
}

/// Computes the gradients before the activation, and their sums, for a task's pixels.
struct Sums<'a, T> {
    x: &'a [T],
    dy: &'a [T],
    sign: Sign<'a, T>,
    slope: T,
    mean: &'a [T],
    /// Memory for the gradients before the activation, if they are stored.
    stored: Option<*mut T>,
    /// `Σd` and `Σd·(x - mean)` by channel.
    sums: Vec<[f64; 2]>,
}

/// Returns `N` vectors of gradients before the activation, for the elements from `at` on, which
/// are of the channels from `c` on.
///
/// # Safety
/// The vector's instruction set must be available, and `sign` must have these elements or
/// channels.
#[inline(always)]
unsafe fn before_activation<V: Vector, const N: usize>(
    sign: Sign<V::Scalar>,
    slope: V,
    x: [V; N],
    dy: [V; N],
    [at, c]: [usize; 2],
) -> [V; N] {
    // SAFETY: the caller's guarantee.
    unsafe {
        let sign = match sign {
            Sign::Output(y) => load::<V, N>(y.as_ptr().add(at)),
            Sign::Affine(affine) => {
                let scale = load::<V, N>(affine.scale.as_ptr().add(c));
                let shift = load::<V, N>(affine.shift.as_ptr().add(c));
                let mut sign = x;
                for i in 0..N {
                    sign[i] = x[i].fma(scale[i], shift[i]);
                }
                sign
            }
        };
        let mut d = dy;
        for i in 0..N {
            d[i] = dy[i].scale_below(sign[i], slope);
        }
        d
    }
}

impl<T: Real> ChannelKernel<T> for Sums<'_, T> {
    #[inline(always)]
    unsafe fn run<V: Vector<Scalar = T>, const N: usize>(&mut self, c: usize) {
        // SAFETY: the caller guarantees the instruction set and the channels, which all pixels of
        // the slices, and of the memory to store to, have.
        unsafe {
            let mean = load::<V, N>(self.mean.as_ptr().add(c));
            let slope = V::splat(self.slope);
            let mut sums = [[V::zero(); N]; 2];
            for at in (c..self.x.len()).step_by(self.mean.len()) {
                let x = load::<V, N>(self.x.as_ptr().add(at));
                let dy = load::<V, N>(self.dy.as_ptr().add(at));
                let d = before_activation(self.sign, slope, x, dy, [at, c]);
                for i in 0..N {
                    sums[0][i] = sums[0][i].add(d[i]);
                    sums[1][i] = d[i].fma(x[i].sub(mean[i]), sums[1][i]);
                }
                if let Some(stored) = self.stored {
                    for (i, d) in d.into_iter().enumerate() {
                        d.store(stored.add(at + i * V::LANES));
                    }
                }
            }
            write_sums(sums, &mut self.sums[c..c + N * V::LANES]);
        }
    }
}

/// Computes `dx = gain·(d - offset) + slant·(x - mean)` for a task's pixels.
struct InputGradient<'a, T> {
    x: &'a [T],
    /// The gradient before the activation; or the output's, if there is a sign.
    dy: &'a [T],
    sign: Option<Sign<'a, T>>,
    slope: T,
    mean: &'a [T],
    gain: &'a [T],
    offset: &'a [T],
    slant: &'a [T],
    dx: *mut T,
}

impl<T: Real> ChannelKernel<T> for InputGradient<'_, T> {
    #[inline(always)]
    unsafe fn run<V: Vector<Scalar = T>, const N: usize>(&mut self, c: usize) {
        // SAFETY: the caller guarantees the instruction set and the channels, which all pixels of
        // the slices and of `dx` have.
        unsafe {
            let mean = load::<V, N>(self.mean.as_ptr().add(c));
            let gain = load::<V, N>(self.gain.as_ptr().add(c));
            let offset = load::<V, N>(self.offset.as_ptr().add(c));
            let slant = load::<V, N>(self.slant.as_ptr().add(c));
            let slope = V::splat(self.slope);
            for at in (c..self.x.len()).step_by(self.mean.len()) {
                let x = load::<V, N>(self.x.as_ptr().add(at));
                let mut d = load::<V, N>(self.dy.as_ptr().add(at));
                if let Some(sign) = self.sign {
                    d = before_activation(sign, slope, x, d, [at, c]);
                }
                for i in 0..N {
                    let centered = x[i].sub(mean[i]);
                    let dx = centered.fma(slant[i], d[i].sub(offset[i]).mul(gain[i]));
                    dx.store(self.dx.add(at + i * V::LANES));
                }
            }
        }
    }
}

/// Returns the gradients of `y = activation(weight·(x - mean)·inverse_deviation + bias +
/// residual)`, which was computed as `affine`; the output `y` is needed where there is a residual.
pub fn gradients<T: Real>(
    [x, dy]: [&[T]; 2],
    affine: &Affine<T>,
    weight: &[T],
    normalization: &Normalization,
    activation: Activation,
    y: Option<&[T]>,
) -> Gradients<T> {
    let channels = weight.len();
    let pixels = x.len() / channels.max(1);
    let vectors = [affine.scale.len(), affine.shift.len(), normalization.mean.len()];
    assert_eq!((vectors, x.len() % channels.max(1)), ([channels; 3], 0));
    let slope = T::from_f64(activation.slope());
    let round = |numbers: &[f64]| numbers.iter().map(|&v| T::from_f64(v)).collect::<Vec<_>>();
    let mean = round(normalization.mean);
    // Without an activation the gradient before it is that of the output.
    let is_activated = activation != Activation::Identity;
    let is_stored = y.is_some() && is_activated;
    let sign = |elements: &Range<usize>| match y {
        Some(y) => Sign::Output(&y[elements.clone()]),
        None => Sign::Affine(affine),
    };
    let range = |pixels: Range<usize>| pixels.start * channels..pixels.end * channels;

    let mut parts = Vec::new();
    let sums = |stored: Option<SharedOutput<T>>| {
        tasks(pixels, channels)
            .map(|pixels| {
                let elements = range(pixels);
                let stored = stored.map(|d| d.at(elements.start, elements.len()));
                let (x, dy) = (&x[elements.clone()], &dy[elements.clone()]);
                let sums = vec![[0.0; 2]; channels];
                let kernel =
                    Sums { x, dy, sign: sign(&elements), slope, mean: &mean, stored, sums };
                T::run(AllChannels(channels, kernel)).sums
            })
            .collect::<Vec<_>>()
    };
    // SAFETY: tasks write all elements, each its own.
    let stored = is_stored.then(|| unsafe { filled_by_tasks(x.len(), |d| parts = sums(Some(d))) });
    if stored.is_none() {
        parts = sums(None);
    }
    let mut totals = vec![[0.0; 2]; channels];
    for part in parts {
        for (total, part) in totals.iter_mut().zip(part) {
            *total = [total[0] + part[0], total[1] + part[1]];
        }
    }

    let deviation = normalization.inverse_deviation;
    let dweight: Vec<f64> = totals.iter().zip(deviation).map(|([_, p], d)| p * d).collect();
    let by_channel = |f: &dyn Fn(usize) -> f64| round(&(0..channels).map(f).collect::<Vec<_>>());
    let gain = |c: usize| weight[c].to_f64() * deviation[c];
    // dx = gain·(d - mean(d) - x̂·mean(d·x̂)), the means only for batch statistics.
    let share = if normalization.from_batch { 1.0 / pixels as f64 } else { 0.0 };
    let offset = by_channel(&|c| totals[c][0] * share);
    let slant = by_channel(&|c| -gain(c) * dweight[c] * share * deviation[c]);
    let gain = by_channel(&gain);
    // SAFETY: tasks write all elements, each its own.
    let dx = unsafe {
        filled_by_tasks(x.len(), |dx| {
            tasks(pixels, channels).for_each(|pixels| {
                let elements = range(pixels);
                let kernel = InputGradient {
                    x: &x[elements.clone()],
                    dy: &stored.as_deref().unwrap_or(dy)[elements.clone()],
                    sign: (is_activated && !is_stored).then(|| sign(&elements)),
                    slope,
                    mean: &mean,
                    gain: &gain,
                    offset: &offset,
                    slant: &slant,
                    dx: dx.at(elements.start, elements.len()),
                };
                T::run(AllChannels(channels, kernel));
            });
        })
    };
    let sums = totals.into_iter().map(|[sum, _]| sum);
    let parameters = dweight.into_iter().chain(sums).map(T::from_f64).collect();
    Gradients { x: dx, parameters, residual: stored }
}

/// Returns the sum of each channel of `x [pixels, C]`.
pub fn channel_sums<T: Real>(x: &[T], channels: usize) -> Vec<T> {
    let count = (x.len() / channels.max(1)) as f64;
    moments(x, channels).0.into_iter().map(|mean| T::from_f64(mean * count)).collect()
}
