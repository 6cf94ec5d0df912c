//! Convolutions of any kind as products with patches, `[positions, kh·kw·C]`.
//!
//! A task copies the images that it sees, with their padding, and reads patches where they
//! lie: a patch's element is its position's place plus its tap's.

use std::ops::Range;

use rayon::prelude::*;

use super::buffer::{Filling, Scratch, filled};
use super::conv::{Epilogue, Geometry};
use super::elementwise::factor;
use super::product::{Dense, Output, Right, Scattered, multiply, panel_width};
use super::simd::{SimdKernel, Vector, lanes};
use super::slices::sum_over_images;
use crate::tensor::Real;

/// Elements of the padded images, or of gradients of patches, that a task has at a time.
const ELEMENTS: usize = 1 << 17;
/// Positions that a task takes at least, where there are as many.
const POSITIONS: usize = 256;
/// Elements of a patch that a task of the kernel's gradient takes, about.
const PART: usize = 288;
/// Tasks that there should be at least.
const TASKS: usize = 8;

/// Consecutive images, and rows of outputs in each of them.
#[derive(Clone)]
struct Chunk {
    images: Range<usize>,
    rows: Range<usize>,
}

impl Chunk {
    /// Divides images into chunks whose padded copies have about [`ELEMENTS`].
    fn divide(g: &Geometry, images: Range<usize>, channels: usize) -> Vec<Self> {
        let [rows, columns] = g.out_size;
        let row = (columns - 1) * g.stride + g.kernel[1];
        let at_a_time = (ELEMENTS / (row * channels * g.stride)).clamp(1, rows);
        let of_one = rows.div_ceil(at_a_time);
        // Whole images where several are needed, and as even as can be where one is too many.
        let group = if of_one > 1 {
            1
        } else {
            let most = ELEMENTS / ((rows * g.stride + g.kernel[0]) * row * channels);
            POSITIONS.div_ceil(rows * columns).min(most).clamp(1, g.batch.div_ceil(TASKS).max(1))
        };
        let rows_of = move |part: usize| part * rows / of_one..(part + 1) * rows / of_one;
        images
            .clone()
            .step_by(group)
            .flat_map(|first| {
                let images = first..(first + group).min(images.end);
                (0..of_one).map(move |part| Self { images: images.clone(), rows: rows_of(part) })
            })
            .collect()
    }

    fn positions(&self, g: &Geometry) -> usize {
        self.images.len() * self.rows.len() * g.out_size[1]
    }
}

/// The part of the images that a chunk's patches see, with its padding.
struct Padded<'a> {
    g: &'a Geometry,
    chunk: &'a Chunk,
    /// Which channels.
    channels: Range<usize>,
    height: usize,
    width: usize,
}

impl<'a> Padded<'a> {
    fn new(g: &'a Geometry, chunk: &'a Chunk, channels: Range<usize>) -> Self {
        let side = |count: usize, kernel: usize| (count - 1) * g.stride + kernel;
        let height = side(chunk.rows.len(), g.kernel[0]);
        Self { g, chunk, channels, height, width: side(g.out_size[1], g.kernel[1]) }
    }

    fn len(&self) -> usize {
        self.chunk.images.len() * self.height * self.width * self.channels.len()
    }

    /// Copies it from all images `x`.
    ///
    /// # Safety
    /// `to` has room for [`len`](Self::len).
    #[inline(always)]
    unsafe fn copy<T: Real>(&self, x: &[T], to: *mut T) {
        let g = self.g;
        let [height, width] = g.in_size;
        let (all, some) = (g.in_channels, self.channels.len());
        let left = g.padding.min(self.width);
        let inside = width.min(self.width - left);
        let first = self.chunk.rows.start * g.stride;
        // SAFETY: rows follow one another.
        let padded = unsafe { std::slice::from_raw_parts_mut(to, self.len()) };
        for (row, to) in padded.chunks_exact_mut(self.width * some).enumerate() {
            let image = self.chunk.images.start + row / self.height;
            let y = (first + row % self.height).wrapping_sub(g.padding);
            if y >= height {
                to.fill(T::zero());
                continue;
            }
            to[..left * some].fill(T::zero());
            to[(left + inside) * some..].fill(T::zero());
            let to = &mut to[left * some..(left + inside) * some];
            let from = &x[(image * height + y) * width * all..][..inside * all];
            if some == all {
                to.copy_from_slice(from);
            } else {
                for (to, from) in to.chunks_exact_mut(some).zip(from.chunks_exact(all)) {
                    to.copy_from_slice(&from[self.channels.clone()]);
                }
            }
        }
    }

    /// Where the patch of each position begins.
    fn positions(&self) -> Vec<usize> {
        let (columns, stride) = (self.g.out_size[1], self.g.stride);
        let images = 0..self.chunk.images.len();
        let rows = images.flat_map(|image| {
            (0..self.chunk.rows.len()).map(move |row| image * self.height + row * stride)
        });
        let pixels = rows.flat_map(|row| (0..columns).map(move |x| row * self.width + x * stride));
        pixels.map(|pixel| pixel * self.channels.len()).collect()
    }

    /// Where each element of a patch, `[kh, kw, C]`, lies behind its beginning.
    fn taps(&self) -> Vec<usize> {
        let [kh, kw] = self.g.kernel;
        let pixels = (0..kh).flat_map(|y| (0..kw).map(move |x| y * self.width + x));
        let channels = self.channels.len();
        pixels.flat_map(|pixel| pixel * channels..(pixel + 1) * channels).collect()
    }
}

/// The kernel `[O, C, kh, kw]` as a right side `[depth, columns]` in panels, whose last columns
/// are filled up with zeros.
struct PackKernel<'a, T, F> {
    kernel: &'a [T],
    rows: Range<usize>,
    depth: usize,
    columns: usize,
    /// Where the element of a row and a column is.
    place: &'a F,
    /// Columns that lie `step` apart, from every multiple of this number on.
    run: usize,
    step: usize,
    /// A factor of each column.
    scale: Option<&'a [T]>,
    packed: Filling<'a, T>,
}

impl<T: Real, F: Fn(usize, usize) -> usize> SimdKernel<T> for PackKernel<'_, T, F> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector<Scalar = T>>(self) {
        let whole = self.columns.next_multiple_of(V::LANES);
        let is_even = self.run.is_multiple_of(V::LANES) && self.columns.is_multiple_of(V::LANES);
        for n in (0..whole).step_by(V::LANES) {
            let first = n / panel_width::<V>() * panel_width::<V>();
            let width = panel_width::<V>().min(whole - first);
            for k in self.rows.clone() {
                // SAFETY: this task alone writes its rows; a run of lanes is in the kernel as
                // far as its last one is.
                unsafe {
                    let to = self.packed.at(first * self.depth + k * width + n - first, V::LANES);
                    if is_even {
                        let from = &self.kernel[(self.place)(k, n)..];
                        let from = from[..=(V::LANES - 1) * self.step].as_ptr();
                        let scale = match self.scale {
                            Some(scale) => V::load(scale[n..][..V::LANES].as_ptr()),
                            None => V::splat(T::one()),
                        };
                        V::gather(from, self.step).mul(scale).store(to);
                        continue;
                    }
                    for lane in 0..V::LANES {
                        let is_there = n + lane < self.columns;
                        let scale = || self.scale.map_or(T::one(), |scale| scale[n + lane]);
                        let at = || self.kernel[(self.place)(k, n + lane)] * scale();
                        *to.add(lane) = if is_there { at() } else { T::zero() };
                    }
                }
            }
        }
    }
}

/// Packs the kernel for all tasks.
fn pack<T: Real>(
    kernel: &[T],
    [depth, columns]: [usize; 2],
    place: impl Fn(usize, usize) -> usize + Sync,
    [run, step]: [usize; 2],
    scale: Option<&[T]>,
) -> Vec<T> {
    // SAFETY: tasks write all rows of all panels.
    unsafe {
        filled(depth * columns.next_multiple_of(lanes::<T>()), |packed| {
            (0..depth.div_ceil(PART)).into_par_iter().for_each(|task| {
                let rows = task * PART..((task + 1) * PART).min(depth);
                let place = &place;
                T::run(PackKernel {
                    kernel,
                    rows,
                    depth,
                    columns,
                    place,
                    run,
                    step,
                    scale,
                    packed,
                });
            });
        })
    }
}

/// See [`super::conv::forward`].
pub fn forward<T: Real>(g: &Geometry, x: &[T], kernel: &[T], finish: Epilogue<T>) -> Vec<T> {
    let (channels, taps) = (g.in_channels, g.kernel[0] * g.kernel[1]);
    let place = |k: usize, o: usize| (o * channels + k % channels) * taps + k / channels;
    let shape = [g.patch(), g.out_channels];
    let runs = [g.out_channels, g.patch()];
    let kernel = pack(kernel, shape, place, runs, finish.scale);
    // SAFETY: tasks write all rows of all images.
    unsafe {
        filled(g.batch * g.out_image(), |y| {
            Chunk::divide(g, 0..g.batch, channels).into_par_iter().for_each(|chunk| {
                T::run(Forward { g, x, kernel: &kernel, finish, chunk: &chunk, y });
            });
        })
    }
}

/// Some rows of outputs.
struct Forward<'a, T> {
    g: &'a Geometry,
    x: &'a [T],
    kernel: &'a [T],
    finish: Epilogue<'a, T>,
    chunk: &'a Chunk,
    y: Filling<'a, T>,
}

impl<T: Real> SimdKernel<T> for Forward<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector<Scalar = T>>(self) {
        let Self { g, x, kernel, finish, chunk, y } = self;
        let (depth, columns) = (g.patch(), g.out_channels);
        let whole = columns.next_multiple_of(V::LANES);
        let row = chunk.images.start * g.out_size[0] + chunk.rows.start;
        let (first, positions) = (row * g.out_size[1], chunk.positions(g));
        let padded = Padded::new(g, chunk, 0..g.in_channels);
        let (starts, taps) = (padded.positions(), padded.taps());
        let mut scratch = Scratch::new(padded.len() + positions * whole);
        let images: *mut T = scratch.start();
        // SAFETY: scratch holds images and products; this task alone writes these rows, which
        // follow one another: those of one image, or all of several.
        unsafe {
            let y = y.at(first * columns, positions * columns);
            let products = if whole == columns { y } else { images.add(padded.len()) };
            padded.copy(x, images);
            let a = Scattered { start: images, rows: &starts, columns: &taps };
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

impl Geometry {
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
}

/// See [`super::conv::input_gradient`].
pub fn input_gradient<T: Real>(g: &Geometry, dy: &[T], kernel: &[T]) -> Vec<T> {
    let (channels, taps) = (g.in_channels, g.kernel[0] * g.kernel[1]);
    let place = |o: usize, k: usize| (o * channels + k % channels) * taps + k / channels;
    let kernel = pack(kernel, [g.out_channels, g.patch()], place, [channels, taps], None);
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

impl<T: Real> SimdKernel<T> for InputGradient<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector<Scalar = T>>(self) {
        let Self { g, dy, kernel, images, dx } = self;
        let (depth, columns) = (g.out_channels, g.patch());
        let whole = columns.next_multiple_of(V::LANES);
        let at_a_time = (ELEMENTS / (whole * g.out_size[1])).max(1);
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
                let a = Dense { start: dy.as_ptr(), row: depth, step: 1 };
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
    let channels = (PART / (g.kernel[0] * g.kernel[1])).clamp(1, g.in_channels);
    let parts = g.in_channels.div_ceil(channels);
    // SAFETY: tasks write all channels of their part.
    unsafe {
        sum_over_images(g.batch, parts, size, |images, part, dw, start| {
            let channels = part * channels..((part + 1) * channels).min(g.in_channels);
            T::run(KernelGradient { g, x, dy, images, channels, dw, start });
        })
    }
}

/// Some images' and input channels' share in the kernel's gradient.
struct KernelGradient<'a, T> {
    g: &'a Geometry,
    x: &'a [T],
    dy: &'a [T],
    images: Range<usize>,
    channels: Range<usize>,
    dw: Filling<'a, T>,
    /// Where the slice's gradient begins.
    start: usize,
}

impl<T: Real> SimdKernel<T> for KernelGradient<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector<Scalar = T>>(self) {
        let Self { g, x, dy, images, channels, dw, start } = self;
        let columns = g.out_channels;
        let whole = columns.next_multiple_of(V::LANES);
        let kernel = g.kernel[0] * g.kernel[1];
        let length = channels.len() * kernel;
        let chunks = Chunk::divide(g, images, channels.len());
        let padded = |chunk| Padded::new(g, chunk, channels.clone());
        let largest = chunks.iter().map(|chunk| padded(chunk).len()).max().unwrap_or_default();
        let most = chunks.iter().map(|chunk| chunk.positions(g)).max().unwrap_or_default();
        let mut scratch = Scratch::new(largest + length * whole + most * whole);
        let images: *mut T = scratch.start();
        // SAFETY: scratch holds images, sums and outputs; this task alone writes its part.
        unsafe {
            let sums = images.add(largest);
            let outputs = sums.add(length * whole);
            for (number, chunk) in chunks.iter().enumerate() {
                let padded = padded(chunk);
                let positions = chunk.positions(g);
                let row = chunk.images.start * g.out_size[0] + chunk.rows.start;
                let dy = &dy[row * g.out_size[1] * columns..][..positions * columns];
                let mut b = dy.as_ptr();
                if whole != columns {
                    for (position, dy) in dy.chunks_exact(columns).enumerate() {
                        let to = outputs.add(position * whole);
                        to.copy_from_nonoverlapping(dy.as_ptr(), columns);
                        to.add(columns).write_bytes(0, whole - columns);
                    }
                    b = outputs;
                }
                padded.copy(x, images);
                let (starts, taps) = (padded.positions(), padded.taps());
                let a = Scattered { start: images, rows: &taps, columns: &starts };
                let b = Right { start: b, panel: 1, step: Some(whole) };
                let c = Output { start: sums, row: whole, accumulate: number > 0 };
                multiply::<V>([length, whole, positions], a, b, c);
            }
            // A few output channels at a time: each is pages away from the next.
            for first in (0..columns).step_by(V::LANES) {
                for i in 0..length {
                    let (tap, c) = (i / channels.len(), channels.start + i % channels.len());
                    for o in first..(first + V::LANES).min(columns) {
                        let to = start + (o * g.in_channels + c) * kernel + tap;
                        *dw.at(to, 1) = *sums.add(i * whole + o);
                    }
                }
            }
        }
    }
}
