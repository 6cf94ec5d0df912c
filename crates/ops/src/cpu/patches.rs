//! Convolutions of any kind as products with patches, `[positions, kh·kw·C]` (im2col, without
//! the copies).
//!
//! A task copies the images that it needs, with their padding, and reads patches in place: the
//! offset of a patch's element is that of its position plus that of its tap.

use std::mem::MaybeUninit;
use std::ops::Range;

use rayon::prelude::*;

use super::buffer::{SharedOutput, filled_by_tasks, write_copy};
use super::conv::{Epilogue, Geometry};
use super::elementwise::factor;
use super::product::{Indexed, Output, Right, Strided, multiply, panel_width};
use super::simd::{SimdKernel, Vector, lanes};
use super::slices::sum_over_images;
use crate::tensor::Real;

/// Approximate number of elements of the padded images, or of the gradients of patches, that a
/// task holds at a time.
const ELEMENTS: usize = 1 << 17;
/// Minimum number of positions of a task, where there are as many.
const MIN_POSITIONS: usize = 256;
/// Approximate number of a patch's elements that a task of the kernel's gradient takes.
const PATCH_ELEMENTS: usize = 288;
/// Minimum number of tasks.
const MIN_TASKS: usize = 8;

/// Some consecutive images, and some rows of outputs in each of them.
#[derive(Clone)]
struct Chunk {
    images: Range<usize>,
    rows: Range<usize>,
}

impl Chunk {
    /// Divides images into chunks whose padded copies have about [`ELEMENTS`].
    fn divide(g: &Geometry, images: Range<usize>, channels: usize) -> Vec<Self> {
        let [rows, columns] = g.out_size;
        let padded_width = (columns - 1) * g.stride + g.kernel[1];
        let max_rows = (ELEMENTS / (padded_width * channels * g.stride)).clamp(1, rows);
        let bands = rows.div_ceil(max_rows);
        // Whole images where several fit, else bands of one image that are as even as possible.
        let group = if bands > 1 {
            1
        } else {
            let padded_image = (rows * g.stride + g.kernel[0]) * padded_width * channels;
            let max_images = g.batch.div_ceil(MIN_TASKS).max(1);
            let images = MIN_POSITIONS.div_ceil(rows * columns);
            images.min(ELEMENTS / padded_image).clamp(1, max_images)
        };
        let band = move |index: usize| index * rows / bands..(index + 1) * rows / bands;
        images
            .clone()
            .step_by(group)
            .flat_map(|first| {
                let images = first..(first + group).min(images.end);
                (0..bands).map(move |index| Self { images: images.clone(), rows: band(index) })
            })
            .collect()
    }

    /// Number of output positions.
    fn positions(&self, g: &Geometry) -> usize {
        self.images.len() * self.rows.len() * g.out_size[1]
    }
}

/// The part of the images that a chunk's patches cover, with its padding.
struct Padded<'a> {
    g: &'a Geometry,
    chunk: &'a Chunk,
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

    /// Number of elements.
    fn len(&self) -> usize {
        self.chunk.images.len() * self.height * self.width * self.channels.len()
    }

    /// Copies it from all images `x` to `to`, which has [`len`](Self::len) elements: all are
    /// initialised then.
    #[inline(always)]
    fn copy<T: Real>(&self, x: &[T], to: &mut [MaybeUninit<T>]) {
        let g = self.g;
        let [height, width] = g.in_size;
        let (in_channels, channels) = (g.in_channels, self.channels.len());
        let left = g.padding.min(self.width);
        let inside = width.min(self.width - left);
        let first = self.chunk.rows.start * g.stride;
        let zero = MaybeUninit::new(T::zero());
        for (row, to) in to.chunks_exact_mut(self.width * channels).enumerate() {
            let image = self.chunk.images.start + row / self.height;
            let y = (first + row % self.height).wrapping_sub(g.padding);
            if y >= height {
                to.fill(zero);
                continue;
            }
            to[..left * channels].fill(zero);
            to[(left + inside) * channels..].fill(zero);
            let to = &mut to[left * channels..(left + inside) * channels];
            let from = &x[(image * height + y) * width * in_channels..][..inside * in_channels];
            if channels == in_channels {
                write_copy(to, from);
            } else {
                for (to, from) in to.chunks_exact_mut(channels).zip(from.chunks_exact(in_channels))
                {
                    write_copy(to, &from[self.channels.clone()]);
                }
            }
        }
    }

    /// Offset of the patch of each position.
    fn positions(&self) -> Vec<usize> {
        let (columns, stride) = (self.g.out_size[1], self.g.stride);
        let images = 0..self.chunk.images.len();
        let rows = images.flat_map(|image| {
            (0..self.chunk.rows.len()).map(move |row| image * self.height + row * stride)
        });
        let pixels = rows.flat_map(|row| (0..columns).map(move |x| row * self.width + x * stride));
        pixels.map(|pixel| pixel * self.channels.len()).collect()
    }

    /// Offset of each element of a patch, `[kh, kw, C]`, from the patch's own.
    fn taps(&self) -> Vec<usize> {
        let [kh, kw] = self.g.kernel;
        let pixels = (0..kh).flat_map(|y| (0..kw).map(move |x| y * self.width + x));
        let channels = self.channels.len();
        pixels.flat_map(|pixel| pixel * channels..(pixel + 1) * channels).collect()
    }
}

/// Packs some rows of the kernel `[O, C, kh, kw]` as a right side `[depth, columns]` in panels,
/// whose last columns are padded with zeros.
struct PackKernel<'a, T, F> {
    kernel: &'a [T],
    rows: Range<usize>,
    depth: usize,
    columns: usize,
    /// Index in the kernel of the element of a row and a column.
    index: &'a F,
    /// Number of consecutive columns, from any multiple of it on, whose elements are `step`
    /// apart in the kernel.
    run: usize,
    step: usize,
    /// Factor of each column.
    scale: Option<&'a [T]>,
    packed: SharedOutput<'a, T>,
}

impl<T: Real, F: Fn(usize, usize) -> usize> SimdKernel<T> for PackKernel<'_, T, F> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector<Scalar = T>>(self) {
        let padded_columns = self.columns.next_multiple_of(V::LANES);
        let is_even = self.run.is_multiple_of(V::LANES) && self.columns.is_multiple_of(V::LANES);
        for n in (0..padded_columns).step_by(V::LANES) {
            let first = n / panel_width::<V>() * panel_width::<V>();
            let width = panel_width::<V>().min(padded_columns - first);
            for k in self.rows.clone() {
                let to = self.packed.at(first * self.depth + k * width + n - first, V::LANES);
                // SAFETY: kernels run with their instruction set. `to` is valid for the lanes, and
                // this task alone writes its rows. The slice of the kernel reaches from the first
                // lane's element to the last one's.
                unsafe {
                    if is_even {
                        let from = &self.kernel[(self.index)(k, n)..];
                        let from = from[..=(V::LANES - 1) * self.step].as_ptr();
                        let scale = match self.scale {
                            Some(scale) => V::load(scale[n..][..V::LANES].as_ptr()),
                            None => V::splat(T::one()),
                        };
                        V::gather(from, self.step).mul(scale).store(to);
                        continue;
                    }
                    for lane in 0..V::LANES {
                        let is_inside = n + lane < self.columns;
                        let scale = || self.scale.map_or(T::one(), |scale| scale[n + lane]);
                        let scaled = || self.kernel[(self.index)(k, n + lane)] * scale();
                        to.add(lane).write(if is_inside { scaled() } else { T::zero() });
                    }
                }
            }
        }
    }
}

/// Packs the kernel for all tasks; for arguments see [`PackKernel`].
fn pack<T: Real>(
    kernel: &[T],
    [depth, columns]: [usize; 2],
    index: impl Fn(usize, usize) -> usize + Sync,
    [run, step]: [usize; 2],
    scale: Option<&[T]>,
) -> Vec<T> {
    // SAFETY: tasks write all rows of all panels.
    unsafe {
        filled_by_tasks(depth * columns.next_multiple_of(lanes::<T>()), |packed| {
            (0..depth.div_ceil(PATCH_ELEMENTS)).into_par_iter().for_each(|task| {
                let rows = task * PATCH_ELEMENTS..((task + 1) * PATCH_ELEMENTS).min(depth);
                let index = &index;
                T::run(PackKernel {
                    kernel,
                    rows,
                    depth,
                    columns,
                    index,
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
pub fn forward<T: Real>(g: &Geometry, x: &[T], kernel: &[T], epilogue: Epilogue<T>) -> Vec<T> {
    let (channels, taps) = (g.in_channels, g.kernel[0] * g.kernel[1]);
    let index = |k: usize, o: usize| (o * channels + k % channels) * taps + k / channels;
    let shape = [g.patch(), g.out_channels];
    let runs = [g.out_channels, g.patch()];
    let kernel = pack(kernel, shape, index, runs, epilogue.scale);
    // SAFETY: tasks write all rows of outputs of all images.
    unsafe {
        filled_by_tasks(g.batch * g.out_image(), |y| {
            Chunk::divide(g, 0..g.batch, channels).into_par_iter().for_each(|chunk| {
                T::run(Forward { g, x, kernel: &kernel, epilogue, chunk: &chunk, y });
            });
        })
    }
}

/// Computes some rows of outputs.
struct Forward<'a, T> {
    g: &'a Geometry,
    x: &'a [T],
    kernel: &'a [T],
    epilogue: Epilogue<'a, T>,
    chunk: &'a Chunk,
    y: SharedOutput<'a, T>,
}

impl<T: Real> SimdKernel<T> for Forward<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector<Scalar = T>>(self) {
        let Self { g, x, kernel, epilogue, chunk, y } = self;
        let (depth, columns) = (g.patch(), g.out_channels);
        let padded_columns = columns.next_multiple_of(V::LANES);
        let row = chunk.images.start * g.out_size[0] + chunk.rows.start;
        let (first, positions) = (row * g.out_size[1], chunk.positions(g));
        let padded = Padded::new(g, chunk, 0..g.in_channels);
        let (starts, taps) = (padded.positions(), padded.taps());
        let mut scratch = Box::<[T]>::new_uninit_slice(padded.len() + positions * padded_columns);
        let (images, products) = scratch.split_at_mut(padded.len());
        padded.copy(x, images);
        // The rows of a chunk are consecutive: those of one image, or all of several.
        let y = y.at(first * columns, positions * columns);
        let products = if padded_columns == columns { y } else { products.as_mut_ptr().cast() };
        let a = Indexed { start: images.as_ptr().cast(), rows: &starts, columns: &taps };
        let b = Right { start: kernel.as_ptr(), panel: depth, step: None };
        let c = Output { start: products, row: padded_columns, accumulate: false };
        // SAFETY: kernels run with their instruction set. Offsets of positions and taps stay
        // within the padded images, which are initialised; `products` is valid for all positions,
        // and this task alone writes these rows of `y`. The product initialises its result, so
        // that `y` is initialised before it is made a slice.
        unsafe {
            multiply::<V>([positions, padded_columns, depth], a, b, c);
            if padded_columns != columns {
                for position in 0..positions {
                    let from = products.add(position * padded_columns);
                    y.add(position * columns).copy_from_nonoverlapping(from, columns);
                }
            }
            if !epilogue.is_identity() {
                let y = std::slice::from_raw_parts_mut(y, positions * columns);
                for (position, y) in y.chunks_exact_mut(columns).enumerate() {
                    if let Some(shift) = epilogue.shift {
                        y.iter_mut().zip(shift).for_each(|(y, &shift)| *y += shift);
                    }
                    if let Some(residual) = epilogue.residual {
                        let residual = &residual[(first + position) * columns..][..columns];
                        y.iter_mut().zip(residual).for_each(|(y, &r)| *y += r);
                    }
                    y.iter_mut().for_each(|y| *y *= factor(*y, epilogue.slope));
                }
            }
        }
    }
}

impl Geometry {
    /// Visits the runs of elements that the patch at column `ox` of row `row` of the outputs of
    /// all images has in common with the images: their index in the patch, their index in the
    /// images, and their number.
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
                let in_patch = (ky * kw + first) * channels;
                visit(in_patch, pixel * channels, (end - first) * channels);
            }
        }
    }
}

/// See [`super::conv::input_gradient`].
pub fn input_gradient<T: Real>(g: &Geometry, dy: &[T], kernel: &[T]) -> Vec<T> {
    let (channels, taps) = (g.in_channels, g.kernel[0] * g.kernel[1]);
    let index = |o: usize, k: usize| (o * channels + k % channels) * taps + k / channels;
    let kernel = pack(kernel, [g.out_channels, g.patch()], index, [channels, taps], None);
    let group = g.batch.div_ceil(4 * MIN_TASKS).max(1);
    // SAFETY: tasks write all images.
    unsafe {
        filled_by_tasks(g.batch * g.in_image(), |dx| {
            (0..g.batch.div_ceil(group)).into_par_iter().for_each(|task| {
                let images = task * group..((task + 1) * group).min(g.batch);
                T::run(InputGradient { g, dy, kernel: &kernel, images, dx });
            });
        })
    }
}

/// Computes the input's gradient for some images.
struct InputGradient<'a, T> {
    g: &'a Geometry,
    dy: &'a [T],
    kernel: &'a [T],
    images: Range<usize>,
    dx: SharedOutput<'a, T>,
}

impl<T: Real> SimdKernel<T> for InputGradient<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector<Scalar = T>>(self) {
        let Self { g, dy, kernel, images, dx } = self;
        let (depth, columns) = (g.out_channels, g.patch());
        let padded_columns = columns.next_multiple_of(V::LANES);
        let (rows, width) = (g.out_size[0], g.out_size[1]);
        let max_rows = (ELEMENTS / (padded_columns * width)).max(1);
        let mut scratch = Box::<[T]>::new_uninit_slice(max_rows * width * padded_columns);
        let patches: *mut T = scratch.as_mut_ptr().cast();
        let (first, length) = (images.start * g.in_image(), images.len() * g.in_image());
        let end = images.end * rows;
        let dx = dx.at(first, length);
        // SAFETY: kernels run with their instruction set. This task alone writes its images, which
        // are zero, and so initialised, before they are made a slice. `patches` is valid for the
        // positions of `max_rows` rows, and the product initialises those that are read.
        unsafe {
            dx.write_bytes(0, length);
            let dx = std::slice::from_raw_parts_mut(dx, length);
            for start in (images.start * rows..end).step_by(max_rows) {
                let rows = start..(start + max_rows).min(end);
                let positions = rows.len() * width;
                let dy = &dy[start * width * depth..][..positions * depth];
                let a = Strided { start: dy.as_ptr(), row: depth, step: 1 };
                let b = Right { start: kernel.as_ptr(), panel: depth, step: None };
                let c = Output { start: patches, row: padded_columns, accumulate: false };
                multiply::<V>([positions, padded_columns, depth], a, b, c);
                for (position, patch) in (rows.start * width..).zip(0..positions) {
                    let patch =
                        std::slice::from_raw_parts(patches.add(patch * padded_columns), columns);
                    g.for_each_run(position / width, position % width, |in_patch, to, count| {
                        let to = &mut dx[to - first..][..count];
                        to.iter_mut().zip(&patch[in_patch..]).for_each(|(d, &p)| *d += p);
                    });
                }
            }
        }
    }
}

/// See [`super::conv::kernel_gradient`].
pub fn kernel_gradient<T: Real>(g: &Geometry, x: &[T], dy: &[T]) -> Vec<T> {
    let size = g.out_channels * g.patch();
    let channels = (PATCH_ELEMENTS / (g.kernel[0] * g.kernel[1])).clamp(1, g.in_channels);
    let parts = g.in_channels.div_ceil(channels);
    // SAFETY: tasks write the gradients of all output and input channels of their part.
    unsafe {
        sum_over_images(g.batch, parts, size, |images, part, dw, start| {
            let channels = part * channels..((part + 1) * channels).min(g.in_channels);
            T::run(KernelGradient { g, x, dy, images, channels, dw, start });
        })
    }
}

/// Computes the kernel's gradient for some input channels, summed over some images.
struct KernelGradient<'a, T> {
    g: &'a Geometry,
    x: &'a [T],
    dy: &'a [T],
    images: Range<usize>,
    channels: Range<usize>,
    dw: SharedOutput<'a, T>,
    /// Index in `dw` of these images' gradient.
    start: usize,
}

impl<T: Real> SimdKernel<T> for KernelGradient<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector<Scalar = T>>(self) {
        let Self { g, x, dy, images, channels, dw, start } = self;
        let columns = g.out_channels;
        let padded_columns = columns.next_multiple_of(V::LANES);
        let taps = g.kernel[0] * g.kernel[1];
        let length = channels.len() * taps;
        let chunks = Chunk::divide(g, images, channels.len());
        let padded = |chunk| Padded::new(g, chunk, channels.clone());
        let max_padded = chunks.iter().map(|chunk| padded(chunk).len()).max().unwrap_or_default();
        let max_positions = chunks.iter().map(|chunk| chunk.positions(g)).max().unwrap_or_default();
        let size = max_padded + (length + max_positions) * padded_columns;
        let mut scratch = Box::<[T]>::new_uninit_slice(size);
        let (images, matrices) = scratch.split_at_mut(max_padded);
        let (sums, outputs) = matrices.split_at_mut(length * padded_columns);
        let sums: *mut T = sums.as_mut_ptr().cast();
        for (number, chunk) in chunks.iter().enumerate() {
            let padded = padded(chunk);
            let positions = chunk.positions(g);
            let row = chunk.images.start * g.out_size[0] + chunk.rows.start;
            let dy = &dy[row * g.out_size[1] * columns..][..positions * columns];
            let mut b = dy.as_ptr();
            if padded_columns != columns {
                let rows = outputs.chunks_exact_mut(padded_columns);
                for (to, dy) in rows.zip(dy.chunks_exact(columns)) {
                    write_copy(&mut to[..columns], dy);
                    to[columns..].fill(MaybeUninit::new(T::zero()));
                }
                b = outputs.as_ptr().cast();
            }
            let images = &mut images[..padded.len()];
            padded.copy(x, images);
            let (starts, taps) = (padded.positions(), padded.taps());
            let a = Indexed { start: images.as_ptr().cast(), rows: &taps, columns: &starts };
            let b = Right { start: b, panel: 1, step: Some(padded_columns) };
            let c = Output { start: sums, row: padded_columns, accumulate: number > 0 };
            // SAFETY: kernels run with their instruction set. Offsets of positions and taps stay
            // within the padded images, which are initialised, as are the rows of B. `sums` is
            // valid for the product, and initialised by the first chunk.
            unsafe { multiply::<V>([length, padded_columns, positions], a, b, c) };
        }
        // A few output channels at a time: each is pages away from the next.
        for first in (0..columns).step_by(V::LANES) {
            for i in 0..length {
                let (tap, c) = (i / channels.len(), channels.start + i % channels.len());
                for o in first..(first + V::LANES).min(columns) {
                    let to = dw.at(start + (o * g.in_channels + c) * taps + tap, 1);
                    // SAFETY: there is at least one chunk, so that all sums are initialised. This
                    // task alone writes the gradient of its input channels.
                    unsafe { to.write(*sums.add(i * padded_columns + o)) };
                }
            }
        }
    }
}
