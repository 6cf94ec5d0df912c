//! Convolutions of any kind as products with unfolded patches `[positions, kh·kw·C]`.
//!
//! Patches are unfolded a few rows of outputs at a time, into the second cache.

use super::buffer::{Filling, Scratch, filled};
use super::conv::{Finish, Geometry};
use super::elementwise::factor;
use super::product::{Left, Output, Right, multiply, panel_width};
use super::simd::{Kernel, Vector};
use crate::tensor::Real;
use rayon::prelude::*;
use std::ops::Range;

/// Elements of the patches that are unfolded at a time.
const ELEMENTS: usize = 1 << 17;
/// Elements of a patch that a task of the kernel's gradient takes.
const PART: usize = 256;
/// Tasks that there should be at least.
const TASKS: usize = 8;

impl Geometry {
    /// Rows of outputs, those of one image after those of another.
    fn rows(&self) -> usize {
        self.batch * self.out_size[0]
    }

    /// Rows of outputs whose patches, `length` elements each, are unfolded at a time.
    fn rows_at_a_time(&self, length: usize) -> usize {
        (ELEMENTS / (length * self.out_size[1])).max(1)
    }

    /// Visits the runs of elements that the patch at column `ox` of the row of outputs `row`
    /// has in common with the images: their place in the patch, in the images, and their
    /// number.
    #[inline(always)]
    fn for_each_run(&self, row: usize, ox: usize, mut visit: impl FnMut(usize, usize, usize)) {
        let [kh, kw] = self.kernel;
        let [height, width] = self.in_size;
        let (image, oy) = (row / self.out_size[0], row % self.out_size[0]);
        let channels = self.in_channels;
        let left = ox * self.stride;
        let first = self.padding.saturating_sub(left).min(kw);
        let end = (width + self.padding).saturating_sub(left).min(kw).max(first);
        for ky in 0..kh {
            let y = (oy * self.stride + ky).wrapping_sub(self.padding);
            if y < height && first < end {
                let x = left + first - self.padding;
                let pixel = (image * height + y) * width + x;
                let place = (ky * kw + first) * channels;
                visit(place, pixel * channels, (end - first) * channels);
            }
        }
    }

    /// Unfolds the elements `part` of the patches of `rows` into `to [positions, part]`.
    ///
    /// # Safety
    /// `to` must be there.
    #[inline(always)]
    unsafe fn unfold<T: Real>(&self, x: &[T], rows: Range<usize>, part: Range<usize>, to: *mut T) {
        let length = part.len();
        let mut to = to;
        for row in rows {
            for ox in 0..self.out_size[1] {
                // SAFETY: `to` holds a part for each position.
                let patch = unsafe {
                    // Padding stays zero.
                    to.write_bytes(0, length);
                    std::slice::from_raw_parts_mut(to, length)
                };
                self.for_each_run(row, ox, |place, source, count| {
                    let start = place.max(part.start);
                    let end = (place + count).min(part.end);
                    if start < end {
                        patch[start - part.start..end - part.start]
                            .copy_from_slice(&x[source + start - place..source + end - place]);
                    }
                });
                to = to.wrapping_add(length);
            }
        }
    }
}

/// A right side `[depth, columns]` in panels, its last columns filled up with zeros.
struct PackRight<'a, F> {
    depth: usize,
    columns: usize,
    at: &'a F,
}

impl<T: Real, F: Fn(usize, usize) -> T> Kernel<T> for PackRight<'_, F> {
    type Output = Vec<T>;

    #[inline(always)]
    fn run<V: Vector<Scalar = T>>(self) -> Vec<T> {
        let whole = self.columns.next_multiple_of(V::LANES);
        let mut packed = Vec::with_capacity(whole * self.depth);
        for first in (0..whole).step_by(panel_width::<V>()) {
            let end = (first + panel_width::<V>()).min(whole);
            for k in 0..self.depth {
                let at = |n| if n < self.columns { (self.at)(k, n) } else { T::zero() };
                packed.extend((first..end).map(at));
            }
        }
        packed
    }
}

/// See [`super::conv::forward`].
pub fn forward<T: Real>(g: &Geometry, x: &[T], kernel: &[T], finish: Finish<T>) -> Vec<T> {
    let (channels, taps) = (g.in_channels, g.kernel[0] * g.kernel[1]);
    let at = |k: usize, o: usize| {
        kernel[(o * channels + k % channels) * taps + k / channels] * finish.scale_of(o)
    };
    let kernel = T::run(PackRight { depth: g.patch(), columns: g.out_channels, at: &at });
    let rows = g.rows_at_a_time(g.patch());
    // SAFETY: tasks write all rows.
    unsafe {
        filled(g.batch * g.out_image(), |y| {
            (0..g.rows().div_ceil(rows)).into_par_iter().for_each(|task| {
                let rows = task * rows..((task + 1) * rows).min(g.rows());
                T::run(Forward { g, x, kernel: &kernel, finish, rows, y });
            });
        })
    }
}

/// Some rows of outputs.
struct Forward<'a, T> {
    g: &'a Geometry,
    x: &'a [T],
    kernel: &'a [T],
    finish: Finish<'a, T>,
    rows: Range<usize>,
    y: Filling<'a, T>,
}

impl<T: Real> Kernel<T> for Forward<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector<Scalar = T>>(self) {
        let Self { g, x, kernel, finish, rows, y } = self;
        let (depth, columns) = (g.patch(), g.out_channels);
        let whole = columns.next_multiple_of(V::LANES);
        let first = rows.start * g.out_size[1];
        let positions = rows.len() * g.out_size[1];
        let mut scratch = Scratch::new(positions * (depth + whole));
        let patches: *mut T = scratch.start();
        // SAFETY: scratch holds patches and products; this task alone writes these rows.
        unsafe {
            let y = y.at(first * columns, positions * columns);
            let products = if whole == columns { y } else { patches.add(positions * depth) };
            g.unfold(x, rows, 0..depth, patches);
            let a = Left { start: patches, row: depth, step: 1 };
            let b = Right { start: kernel.as_ptr(), panel: depth, step: None };
            let c = Output { start: products, row: whole, accumulate: false };
            multiply::<V>([positions, whole, depth], a, b, c);
            if whole != columns {
                for position in 0..positions {
                    let from = products.add(position * whole);
                    y.add(position * columns).copy_from_nonoverlapping(from, columns);
                }
            }
            if !finish.is_nothing() {
                let y = std::slice::from_raw_parts_mut(y, positions * columns);
                for (position, y) in y.chunks_exact_mut(columns).enumerate() {
                    if let Some(shift) = finish.shift {
                        y.iter_mut().zip(shift).for_each(|(y, &shift)| *y += shift);
                    }
                    if let Some(residual) = finish.residual {
                        let residual = &residual[(first + position) * columns..][..columns];
                        y.iter_mut().zip(residual).for_each(|(y, &r)| *y += r);
                    }
                    y.iter_mut().for_each(|y| *y *= factor(*y, finish.slope));
                }
            }
        }
    }
}

/// See [`super::conv::input_gradient`].
pub fn input_gradient<T: Real>(g: &Geometry, dy: &[T], kernel: &[T]) -> Vec<T> {
    let (channels, taps) = (g.in_channels, g.kernel[0] * g.kernel[1]);
    let at = |o: usize, k: usize| kernel[(o * channels + k % channels) * taps + k / channels];
    let kernel = T::run(PackRight { depth: g.out_channels, columns: g.patch(), at: &at });
    let group = g.batch.div_ceil(4 * TASKS).max(1);
    // SAFETY: tasks write all images.
    unsafe {
        filled(g.batch * g.in_image(), |dx| {
            (0..g.batch.div_ceil(group)).into_par_iter().for_each(|task| {
                let images = task * group..((task + 1) * group).min(g.batch);
                T::run(InputGradient { g, dy, kernel: &kernel, images, dx });
            });
        })
    }
}

/// The input's gradient of some images.
struct InputGradient<'a, T> {
    g: &'a Geometry,
    dy: &'a [T],
    kernel: &'a [T],
    images: Range<usize>,
    dx: Filling<'a, T>,
}

impl<T: Real> Kernel<T> for InputGradient<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector<Scalar = T>>(self) {
        let Self { g, dy, kernel, images, dx } = self;
        let (depth, columns) = (g.out_channels, g.patch());
        let whole = columns.next_multiple_of(V::LANES);
        let at_a_time = g.rows_at_a_time(whole);
        let (rows, width) = (g.out_size[0], g.out_size[1]);
        let mut scratch = Scratch::new(at_a_time * width * whole);
        let patches: *mut T = scratch.start();
        let first = images.start * g.in_image();
        let end = images.end * rows;
        // SAFETY: scratch holds the patches' gradients; this task alone writes these images.
        unsafe {
            let length = images.len() * g.in_image();
            let start = dx.at(first, length);
            start.write_bytes(0, length);
            let dx = std::slice::from_raw_parts_mut(start, length);
            for start in (images.start * rows..end).step_by(at_a_time) {
                let rows = start..(start + at_a_time).min(end);
                let positions = rows.len() * width;
                let dy = &dy[start * width * depth..][..positions * depth];
                let a = Left { start: dy.as_ptr(), row: depth, step: 1 };
                let b = Right { start: kernel.as_ptr(), panel: depth, step: None };
                let c = Output { start: patches, row: whole, accumulate: false };
                multiply::<V>([positions, whole, depth], a, b, c);
                for (position, patch) in (rows.start * width..).zip(0..positions) {
                    let patch = std::slice::from_raw_parts(patches.add(patch * whole), columns);
                    g.for_each_run(position / width, position % width, |place, to, count| {
                        let to = &mut dx[to - first..][..count];
                        to.iter_mut().zip(&patch[place..]).for_each(|(d, &p)| *d += p);
                    });
                }
            }
        }
    }
}

/// See [`super::conv::kernel_gradient`].
pub fn kernel_gradient<T: Real>(g: &Geometry, x: &[T], dy: &[T]) -> Vec<T> {
    let size = g.out_channels * g.patch();
    if g.batch == 0 {
        return vec![T::zero(); size];
    }
    let parts = g.patch().div_ceil(PART);
    let slice = g.batch.div_ceil(TASKS.div_ceil(parts).min(g.batch));
    let slices = g.batch.div_ceil(slice);
    // SAFETY: tasks write all parts of all slices.
    let mut gradient = unsafe {
        filled(slices * size, |dw| {
            (0..slices * parts).into_par_iter().for_each(|task| {
                let (s, part) = (task / parts, task % parts);
                let images = s * slice..((s + 1) * slice).min(g.batch);
                let part = part * PART..((part + 1) * PART).min(g.patch());
                T::run(KernelGradient { g, x, dy, images, part, dw, start: s * size });
            });
        })
    };
    super::elementwise::sum_slices(&mut gradient, size);
    gradient
}

/// Some images' share in some elements of the kernel's gradient.
struct KernelGradient<'a, T> {
    g: &'a Geometry,
    x: &'a [T],
    dy: &'a [T],
    images: Range<usize>,
    /// Elements of the patch.
    part: Range<usize>,
    dw: Filling<'a, T>,
    /// Where the slice's gradient begins.
    start: usize,
}

impl<T: Real> Kernel<T> for KernelGradient<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector<Scalar = T>>(self) {
        let Self { g, x, dy, images, part, dw, start } = self;
        let (length, columns, width) = (part.len(), g.out_channels, g.out_size[1]);
        let whole = columns.next_multiple_of(V::LANES);
        let at_a_time = g.rows_at_a_time(length);
        let most = at_a_time * width;
        let mut scratch = Scratch::new(most * length + length * whole + most * whole);
        let patches: *mut T = scratch.start();
        let end = images.end * g.out_size[0];
        // SAFETY: scratch holds patches, sums and outputs; this task alone writes its part.
        unsafe {
            let sums = patches.add(most * length);
            let outputs = sums.add(length * whole);
            for first in (images.start * g.out_size[0]..end).step_by(at_a_time) {
                let rows = first..(first + at_a_time).min(end);
                let positions = rows.len() * width;
                let dy = &dy[first * width * columns..][..positions * columns];
                let mut b = dy.as_ptr();
                if whole != columns {
                    for (position, dy) in dy.chunks_exact(columns).enumerate() {
                        let to = outputs.add(position * whole);
                        to.copy_from_nonoverlapping(dy.as_ptr(), columns);
                        to.add(columns).write_bytes(0, whole - columns);
                    }
                    b = outputs;
                }
                let accumulate = first > images.start * g.out_size[0];
                g.unfold(x, rows, part.clone(), patches);
                let a = Left { start: patches, row: 1, step: length };
                let b = Right { start: b, panel: 1, step: Some(whole) };
                let c = Output { start: sums, row: whole, accumulate };
                multiply::<V>([length, whole, positions], a, b, c);
            }
            let taps = g.kernel[0] * g.kernel[1];
            for (i, k) in part.enumerate() {
                let (tap, c) = (k / g.in_channels, k % g.in_channels);
                for o in 0..columns {
                    let to = start + (o * g.in_channels + c) * taps + tap;
                    *dw.at(to, 1) = *sums.add(i * whole + o);
                }
            }
        }
    }
}
