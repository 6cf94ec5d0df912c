//! Pooling of channels-last images.

use std::mem::MaybeUninit;
use std::ops::Range;

use candle_core::{Result, bail};
use rayon::prelude::*;

use super::buffer::filled;
use super::simd::{SimdKernel, Vector};
use crate::tensor::Real;

/// Channels that are computed together.
const LANES: usize = 16;
/// The largest window whose positions have indices that fit into a byte.
const MAX_WINDOW: usize = 15;

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
    /// Returns the sizes of a max pooling of images of `in_size`, height and width. Output sizes
    /// are rounded down, as PyTorch's are.
    ///
    /// # Errors
    /// A window or stride of zero, more padding than half the window, a window wider than 15, or
    /// one that is larger than the padded images.
    pub fn new(in_size: [usize; 2], window: usize, stride: usize, padding: usize) -> Result<Self> {
        if window == 0 || stride == 0 || 2 * padding > window {
            bail!(
                "max_pool2d: window {window}, stride {stride}, padding {padding}: window and \
                 stride must be positive, padding at most half the window"
            )
        }
        if window > MAX_WINDOW {
            bail!("max_pool2d: window {window}, expected at most {MAX_WINDOW}")
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

    /// Returns the positions in the window of output `o` that are inside the input, along one
    /// axis.
    fn taps(&self, axis: usize, o: usize) -> Range<usize> {
        let start = o * self.stride;
        let first = self.padding.saturating_sub(start);
        let end = (self.in_size[axis] + self.padding).saturating_sub(start).min(self.window);
        first.min(end)..end
    }

    /// Calls `visit` with the index of each output pixel and its window.
    #[inline(always)]
    fn for_each_window(&self, mut visit: impl FnMut(usize, Window)) {
        let [rows, columns] = self.out_size;
        for oy in 0..rows {
            for ox in 0..columns {
                let window = Window {
                    g: self,
                    output: [oy, ox],
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

    /// Returns the number of elements of an input and an output image.
    fn image(&self, channels: usize) -> [usize; 2] {
        [self.in_size, self.out_size].map(|[height, width]| height * width * channels)
    }
}

/// One window, and the part of it that is inside the image.
struct Window<'a> {
    g: &'a Geometry,
    /// Row and column of the output.
    output: [usize; 2],
    /// Rows and columns of the window that are inside the image.
    taps: [Range<usize>; 2],
}

impl Window<'_> {
    /// Returns the index in the window of a position, and the index of its pixel in the image.
    #[inline(always)]
    fn tap(&self, ky: usize, kx: usize) -> (u8, usize) {
        let Geometry { stride, padding, window, in_size, .. } = *self.g;
        let [oy, ox] = self.output;
        let pixel = (oy * stride + ky - padding) * in_size[1] + ox * stride + kx - padding;
        ((ky * window + kx) as u8, pixel)
    }
}

/// Returns `N` elements from index `at` on.
#[inline(always)]
fn lanes<T: Copy, const N: usize>(x: &[T], at: usize) -> &[T; N] {
    x[at..].first_chunk().expect("kernels stay inside their images")
}

/// Returns `N` elements from index `at` on, mutable.
#[inline(always)]
fn lanes_mut<T, const N: usize>(x: &mut [T], at: usize) -> &mut [T; N] {
    x[at..].first_chunk_mut().expect("kernels stay inside their images")
}

/// Computes the maxima of one image, and their indices in their windows.
struct Max<'a, T> {
    g: &'a Geometry,
    channels: usize,
    x: &'a [T],
    y: &'a mut [T],
    indices: &'a mut [u8],
}

impl<T: Real> Max<'_, T> {
    #[inline(always)]
    fn window<const N: usize>(&mut self, out: usize, window: &Window, c: usize) {
        let (mut largest, mut indices) = ([T::zero(); N], [0u8; N]);
        let mut is_first = true;
        // No closures in here: they would not be compiled for the instruction set.
        for ky in window.taps[0].clone() {
            for kx in window.taps[1].clone() {
                let (index, pixel) = window.tap(ky, kx);
                let x: &[T; N] = lanes(self.x, pixel * self.channels + c);
                for l in 0..N {
                    // NaN, which does not compare with itself, is the largest, as in PyTorch.
                    let is_nan = x[l].partial_cmp(&x[l]).is_none();
                    let is_larger = is_first | (x[l] > largest[l]) | is_nan;
                    largest[l] = if is_larger { x[l] } else { largest[l] };
                    indices[l] = if is_larger { index } else { indices[l] };
                }
                is_first = false;
            }
        }
        *lanes_mut(self.y, out * self.channels + c) = largest;
        *lanes_mut(self.indices, out * self.channels + c) = indices;
    }
}

impl<T: Real> SimdKernel<T> for Max<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector<Scalar = T>>(mut self) {
        let whole = self.channels / LANES * LANES;
        self.g.for_each_window(|out, window| {
            for c in (0..whole).step_by(LANES) {
                self.window::<LANES>(out, &window, c);
            }
            for c in whole..self.channels {
                self.window::<1>(out, &window, c);
            }
        });
    }
}

/// Returns the maximum of each window of `x [B, H, W, C]`, `[B, oh, ow, C]`, and its index in the
/// window: the first in row-major order, or the last NaN if there is one.
pub fn max<T: Real>(g: &Geometry, x: &[T], channels: usize) -> (Vec<T>, Vec<u8>) {
    let [from, to] = g.image(channels);
    let mut y = vec![T::zero(); x.len() / from * to];
    let mut indices = vec![0; y.len()];
    let images = y.par_chunks_mut(to).zip(indices.par_chunks_mut(to)).zip(x.par_chunks(from));
    images.for_each(|((y, indices), x)| T::run(Max { g, channels, x, y, indices }));
    (y, indices)
}

/// Computes the gradient of one image, and initialises all of it.
struct MaxGradient<'a, T> {
    g: &'a Geometry,
    channels: usize,
    dy: &'a [T],
    indices: &'a [u8],
    dx: &'a mut [MaybeUninit<T>],
}

impl<T: Real> MaxGradient<'_, T> {
    /// Adds the gradient of `N` channels of a window; writes it where windows are `TILING` the
    /// image, each pixel in one of them.
    ///
    /// # Safety
    /// Unless `TILING`, `dx` must be initialised.
    #[inline(always)]
    unsafe fn window<const N: usize, const TILING: bool>(
        &mut self,
        out: usize,
        window: &Window,
        c: usize,
    ) {
        let dy: &[T; N] = lanes(self.dy, out * self.channels + c);
        let indices: &[u8; N] = lanes(self.indices, out * self.channels + c);
        for ky in window.taps[0].clone() {
            for kx in window.taps[1].clone() {
                let (index, pixel) = window.tap(ky, kx);
                let dx: &mut [MaybeUninit<T>; N] = lanes_mut(self.dx, pixel * self.channels + c);
                for l in 0..N {
                    let d = if indices[l] == index { dy[l] } else { T::zero() };
                    // SAFETY: the caller guarantees that `dx` is initialised if it is read.
                    let sum = if TILING { d } else { unsafe { dx[l].assume_init() + d } };
                    dx[l].write(sum);
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
            // SAFETY: nothing is read.
            unsafe { self.windows::<true>() };
        } else {
            self.dx.fill(MaybeUninit::new(T::zero()));
            // SAFETY: all elements are zero now.
            unsafe { self.windows::<false>() };
        }
    }
}

impl<T: Real> MaxGradient<'_, T> {
    /// Adds or writes the gradients of all windows.
    ///
    /// # Safety
    /// As for [`window`](Self::window).
    #[inline(always)]
    unsafe fn windows<const TILING: bool>(&mut self) {
        let whole = self.channels / LANES * LANES;
        self.g.for_each_window(|out, window| {
            for c in (0..whole).step_by(LANES) {
                // SAFETY: the caller's guarantee.
                unsafe { self.window::<LANES, TILING>(out, &window, c) };
            }
            for c in whole..self.channels {
                // SAFETY: the caller's guarantee.
                unsafe { self.window::<1, TILING>(out, &window, c) };
            }
        });
    }
}

/// Returns the input's gradient of [`max`] from `dy [B, oh, ow, C]` and the maxima's `indices`:
/// each window's gradient goes to its maximum, and is summed where windows overlap.
///
/// # Panics
/// If `dy` and `indices` are not of one length, or not whole images.
pub fn max_gradient<T: Real>(g: &Geometry, dy: &[T], indices: &[u8], channels: usize) -> Vec<T> {
    let [from, to] = g.image(channels);
    assert_eq!((indices.len(), dy.len() % to), (dy.len(), 0));
    // SAFETY: there is a kernel for each image, which initialises all of it.
    unsafe {
        filled(dy.len() / to * from, |dx| {
            let images = dy.par_chunks(to).zip(indices.par_chunks(to)).zip(dx.par_chunks_mut(from));
            images.for_each(|((dy, indices), dx)| {
                T::run(MaxGradient { g, channels, dy, indices, dx });
            });
        })
    }
}

/// Returns the mean of each image's pixels: `[B, pixels, C]` to `[B, C]`.
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

/// Returns the input's gradient of [`mean`]: each image's, spread evenly over its pixels.
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
