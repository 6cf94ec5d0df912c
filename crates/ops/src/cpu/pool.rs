//! Pooling of channels-last images.

use std::ops::Range;

use candle_core::{Result, bail};
use rayon::prelude::*;

use super::buffer::filled;
use super::simd::{SimdKernel, Vector};
use crate::tensor::Real;

/// Channels that are looked at together.
const TOGETHER: usize = 16;
/// The largest window whose places a byte tells apart.
const WIDEST: usize = 15;

/// The checked sizes of one max pooling.
#[derive(Clone, Copy, Debug)]
pub struct Geometry {
    pub(crate) in_size: [usize; 2],
    pub(crate) out_size: [usize; 2],
    pub(crate) window: usize,
    pub(crate) stride: usize,
    pub(crate) padding: usize,
}

impl Geometry {
    /// Output sizes are rounded down, as PyTorch's are.
    pub fn new(in_size: [usize; 2], window: usize, stride: usize, padding: usize) -> Result<Self> {
        if window == 0 || stride == 0 || 2 * padding > window {
            bail!(
                "max_pool2d: window {window}, stride {stride}, padding {padding}: window and \
                 stride must be positive, padding at most half the window"
            )
        }
        if window > WIDEST {
            bail!("max_pool2d: window {window}, expected at most {WIDEST}")
        }
        let mut out_size = [0; 2];
        for (out, size) in out_size.iter_mut().zip(in_size) {
            match (size + 2 * padding).checked_sub(window) {
                Some(room) if size > 0 => *out = room / stride + 1,
                _ => bail!("max_pool2d: window {window} exceeds input {in_size:?} and its padding"),
            }
        }
        Ok(Self { in_size, out_size, window, stride, padding })
    }

    /// The taps of the window of output `o` along one axis that lie inside the input.
    fn taps(&self, axis: usize, o: usize) -> Range<usize> {
        let start = o * self.stride;
        let first = self.padding.saturating_sub(start);
        let end = (self.in_size[axis] + self.padding).saturating_sub(start).min(self.window);
        first.min(end)..end
    }

    /// Visits each output's pixel number and window.
    #[inline(always)]
    fn for_each_window(&self, mut visit: impl FnMut(usize, Window)) {
        let [rows, columns] = self.out_size;
        for oy in 0..rows {
            for ox in 0..columns {
                let window = Window {
                    g: self,
                    corner: [oy, ox],
                    taps: [0, 1].map(|axis| self.taps(axis, [oy, ox][axis])),
                };
                visit(oy * columns + ox, window);
            }
        }
    }

    /// Whether every pixel is in exactly one window.
    fn is_tiling(&self) -> bool {
        let covered = self.out_size.map(|side| side * self.stride);
        self.window == self.stride && self.padding == 0 && covered == self.in_size
    }

    /// Elements of an image of `channels`, in and out.
    fn image(&self, channels: usize) -> [usize; 2] {
        [self.in_size, self.out_size].map(|[height, width]| height * width * channels)
    }
}

/// What lies in one window.
struct Window<'a> {
    g: &'a Geometry,
    /// The output's row and column.
    corner: [usize; 2],
    /// Rows and columns of the window that lie inside the image.
    taps: [Range<usize>; 2],
}

impl Window<'_> {
    /// The place in the window and the pixel's number of a tap.
    #[inline(always)]
    fn tap(&self, ky: usize, kx: usize) -> (u8, usize) {
        let Geometry { stride, padding, window, in_size, .. } = *self.g;
        let [oy, ox] = self.corner;
        let pixel = (oy * stride + ky - padding) * in_size[1] + ox * stride + kx - padding;
        ((ky * window + kx) as u8, pixel)
    }
}

/// `N` channels from `at`.
#[inline(always)]
fn lanes<T: Copy, const N: usize>(x: &[T], at: usize) -> &[T; N] {
    x[at..].first_chunk().expect("kernels stay inside their images")
}

/// As [`lanes`], to write to.
#[inline(always)]
fn lanes_mut<T, const N: usize>(x: &mut [T], at: usize) -> &mut [T; N] {
    x[at..].first_chunk_mut().expect("kernels stay inside their images")
}

/// The maxima of one image, and their places in their windows.
struct Max<'a, T> {
    g: &'a Geometry,
    channels: usize,
    x: &'a [T],
    y: &'a mut [T],
    places: &'a mut [u8],
}

impl<T: Real> Max<'_, T> {
    #[inline(always)]
    fn window<const N: usize>(&mut self, out: usize, window: &Window, c: usize) {
        let (mut best, mut places) = ([T::zero(); N], [0u8; N]);
        let mut is_first = true;
        // No closures in here: they would not be compiled for the instruction set.
        for ky in window.taps[0].clone() {
            for kx in window.taps[1].clone() {
                let (place, pixel) = window.tap(ky, kx);
                let x: &[T; N] = lanes(self.x, pixel * self.channels + c);
                for l in 0..N {
                    // NaN compares unequal to itself and wins, as in PyTorch.
                    let wins = is_first | (x[l] > best[l]) | x[l].partial_cmp(&x[l]).is_none();
                    best[l] = if wins { x[l] } else { best[l] };
                    places[l] = if wins { place } else { places[l] };
                }
                is_first = false;
            }
        }
        *lanes_mut(self.y, out * self.channels + c) = best;
        *lanes_mut(self.places, out * self.channels + c) = places;
    }
}

impl<T: Real> SimdKernel<T> for Max<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector<Scalar = T>>(mut self) {
        let whole = self.channels / TOGETHER * TOGETHER;
        self.g.for_each_window(|out, window| {
            for c in (0..whole).step_by(TOGETHER) {
                self.window::<TOGETHER>(out, &window, c);
            }
            for c in whole..self.channels {
                self.window::<1>(out, &window, c);
            }
        });
    }
}

/// The maximum of each window of `x [B, H, W, C]`, `[B, oh, ow, C]`, and its place in the
/// window: the first in reading order, or the last NaN if there is one.
pub fn max<T: Real>(g: &Geometry, x: &[T], channels: usize) -> (Vec<T>, Vec<u8>) {
    let [from, to] = g.image(channels);
    let mut y = vec![T::zero(); x.len() / from * to];
    let mut places = vec![0; y.len()];
    let images = y.par_chunks_mut(to).zip(places.par_chunks_mut(to)).zip(x.par_chunks(from));
    images.for_each(|((y, places), x)| T::run(Max { g, channels, x, y, places }));
    (y, places)
}

/// The gradient of one image.
struct MaxGradient<'a, T> {
    g: &'a Geometry,
    channels: usize,
    dy: &'a [T],
    places: &'a [u8],
    dx: &'a mut [T],
}

impl<T: Real> MaxGradient<'_, T> {
    #[inline(always)]
    fn window<const N: usize, const TILING: bool>(
        &mut self,
        out: usize,
        window: &Window,
        c: usize,
    ) {
        let dy: &[T; N] = lanes(self.dy, out * self.channels + c);
        let places: &[u8; N] = lanes(self.places, out * self.channels + c);
        for ky in window.taps[0].clone() {
            for kx in window.taps[1].clone() {
                let (place, pixel) = window.tap(ky, kx);
                let dx: &mut [T; N] = lanes_mut(self.dx, pixel * self.channels + c);
                for l in 0..N {
                    let d = if places[l] == place { dy[l] } else { T::zero() };
                    dx[l] = if TILING { d } else { dx[l] + d };
                }
            }
        }
    }
}

impl<T: Real> SimdKernel<T> for MaxGradient<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector<Scalar = T>>(mut self) {
        if self.g.is_tiling() {
            self.windows::<true>();
        } else {
            self.dx.fill(T::zero());
            self.windows::<false>();
        }
    }
}

impl<T: Real> MaxGradient<'_, T> {
    /// Adds each window's gradient, or writes it where no windows share a pixel.
    #[inline(always)]
    fn windows<const TILING: bool>(&mut self) {
        let whole = self.channels / TOGETHER * TOGETHER;
        self.g.for_each_window(|out, window| {
            for c in (0..whole).step_by(TOGETHER) {
                self.window::<TOGETHER, TILING>(out, &window, c);
            }
            for c in whole..self.channels {
                self.window::<1, TILING>(out, &window, c);
            }
        });
    }
}

/// The gradient of [`max`] from `dy [B, oh, ow, C]`: each window's goes to its maximum, summed
/// where windows overlap.
pub fn max_gradient<T: Real>(g: &Geometry, dy: &[T], places: &[u8], channels: usize) -> Vec<T> {
    let [from, to] = g.image(channels);
    // SAFETY: tasks write all images.
    unsafe {
        filled(dy.len() / to * from, |dx| {
            dy.par_chunks(to).zip(places.par_chunks(to)).enumerate().for_each(
                |(image, (dy, places))| {
                    // This task alone writes the image.
                    let start = dx.at(image * from, from);
                    // The kernel clears it before it adds, or writes all of it.
                    let dx = std::slice::from_raw_parts_mut(start, from);
                    T::run(MaxGradient { g, channels, dy, places, dx });
                },
            );
        })
    }
}

/// The mean of each image's pixels: `[B, pixels, C]` to `[B, C]`.
pub fn mean<T: Real>(x: &[T], pixels: usize, channels: usize) -> Vec<T> {
    let share = 1.0 / pixels as f64;
    let image = |x: &[T]| {
        let mut sums = vec![0.0; channels];
        for pixel in x.chunks_exact(channels) {
            sums.iter_mut().zip(pixel).for_each(|(sum, v)| *sum += v.to_f64());
        }
        sums.into_iter().map(|sum| T::from_f64(sum * share)).collect::<Vec<_>>()
    };
    x.par_chunks(pixels * channels).flat_map_iter(image).collect()
}

/// The gradient of [`mean`]: spread evenly.
pub fn mean_gradient<T: Real>(dy: &[T], pixels: usize, channels: usize) -> Vec<T> {
    let share = T::from_f64(1.0 / pixels as f64);
    let mut dx = vec![T::zero(); dy.len() * pixels];
    let images = dx.par_chunks_mut(pixels * channels).zip(dy.par_chunks(channels));
    images.for_each(|(dx, dy)| {
        for pixel in dx.chunks_exact_mut(channels) {
            pixel.iter_mut().zip(dy).for_each(|(dx, &dy)| *dx = dy * share);
        }
    });
    dx
}
