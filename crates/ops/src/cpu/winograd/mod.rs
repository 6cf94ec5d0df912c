//! 3×3 convolutions of stride 1 by Winograd's method F(3×3, 3×3): for each pair of channels, a
//! tile of nine outputs takes 25 products, where direct convolution takes 81.
//!
//! Tiles of images are transformed; each of the 25 points of all tiles is a matrix product over
//! channels; the products are transformed back. A task takes as many images as have transformed
//! tiles that fit into the second-level cache, so that these never go to main memory.

mod transform;

use std::ops::Range;

use rayon::prelude::*;
use transform::{
    Input, OUT, OutputGradient, Outputs, POINTS, SIDE, TapGradient, Taps, Transform, transform_2d,
};

use super::buffer::{SharedOutput, filled_by_tasks};
use super::conv::{Epilogue, Geometry};
use super::product::{Output, Right, Strided, multiply, panel_width};
use super::simd::{SimdKernel, Vector};
use super::slices::sum_over_images;
use crate::tensor::Real;

/// Numbers of channels must be multiples of this, the lanes of the widest vector.
pub const CHANNELS: usize = 16;
/// Minimum number of tiles of a task: with fewer, each transformed kernel is used too seldom.
const TILES: usize = 64;
/// Output channels of a task where there are few tiles: with fewer, tiles are transformed too
/// often.
const OUT_CHANNELS: usize = 128;
/// Minimum number of tasks.
const MIN_TASKS: usize = 8;
/// Input channels, and output channels, of a task of the kernel's gradient.
const BLOCK: usize = 64;
/// Elements between one matrix and the next: without them, the same elements of all 25 would
/// compete for the same lines of the first-level cache.
const GAP: usize = 16;

/// How a kernel `[O, C, 3, 3]` is used.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From C to O channels: the convolution itself.
    Forward,
    /// From O to C channels, rotated by 180°: the gradient of the images.
    Rotated,
}

/// Some consecutive images, and some rows of tiles in each of them.
#[derive(Clone)]
struct Chunk {
    images: Range<usize>,
    rows: Range<usize>,
    /// Tiles in a row.
    columns: usize,
}

impl Chunk {
    /// Divides images into chunks of about [`TILES`].
    fn divide(g: &Geometry, images: Range<usize>) -> Vec<Self> {
        let [rows, columns] = g.out_size.map(|side| side.div_ceil(OUT));
        let group = TILES.div_ceil(rows * columns).min(images.len()).max(1);
        // An image with more tiles is divided as evenly as possible.
        let bands = rows.div_ceil((TILES / columns).max(1));
        let bands = if group > 1 { 1 } else { bands };
        let mut chunks = Vec::new();
        for images in parts(images, group) {
            chunks.extend((0..bands).map(|band| Self {
                images: images.clone(),
                rows: band * rows / bands..(band + 1) * rows / bands,
                columns,
            }));
        }
        chunks
    }

    fn tiles(&self) -> usize {
        self.images.len() * self.rows.len() * self.columns
    }

    /// Calls `visit` with each tile's index, its image, and the row and column of its first output.
    #[inline(always)]
    fn for_each(&self, mut visit: impl FnMut(usize, usize, [usize; 2])) {
        let mut tile = 0;
        for image in self.images.clone() {
            for i in self.rows.clone() {
                for j in 0..self.columns {
                    visit(tile, image, [i * OUT, j * OUT]);
                    tile += 1;
                }
            }
        }
    }
}

/// Divides a range into consecutive parts of `size`; the last may be smaller.
fn parts(range: Range<usize>, size: usize) -> impl Iterator<Item = Range<usize>> + Clone {
    range.clone().step_by(size.max(1)).map(move |start| start..(start + size).min(range.end))
}

/// Returns the convolution of `x [B, H, W, C]`, of the sizes `g`, with `kernel` used as
/// `direction` says.
pub fn forward<T: Real>(
    g: &Geometry,
    x: &[T],
    kernel: &[T],
    direction: Direction,
    epilogue: Epilogue<T>,
) -> Vec<T> {
    let kernel = transformed_kernel(g, kernel, direction, epilogue);
    let chunks = Chunk::divide(g, 0..g.batch);
    let channels = if chunks.len() >= MIN_TASKS { g.out_channels } else { OUT_CHANNELS };
    let tasks: Vec<_> = chunks
        .iter()
        .flat_map(|chunk| parts(0..g.out_channels, channels).map(move |out| (chunk, out)))
        .collect();
    // SAFETY: tasks write all channels of all tiles.
    unsafe {
        filled_by_tasks(g.batch * g.out_image(), |y| {
            tasks.into_par_iter().for_each(|(chunk, out)| {
                T::run(Forward { g, x, kernel: &kernel, epilogue, chunk, out, y });
            });
        })
    }
}

/// Returns the transformed kernel: for each point a matrix `[C, O]` in panels.
fn transformed_kernel<T: Real>(
    g: &Geometry,
    kernel: &[T],
    direction: Direction,
    epilogue: Epilogue<T>,
) -> Vec<T> {
    let tasks: Vec<_> = parts(0..g.in_channels, CHANNELS).collect();
    // SAFETY: tasks write all points of all channels.
    unsafe {
        filled_by_tasks(POINTS * g.in_channels * g.out_channels, |points| {
            tasks.into_par_iter().for_each(|channels| {
                T::run(TransformKernel { g, kernel, direction, epilogue, channels, points });
            });
        })
    }
}

/// Transforms the kernel for some input channels.
struct TransformKernel<'a, T> {
    g: &'a Geometry,
    kernel: &'a [T],
    direction: Direction,
    epilogue: Epilogue<'a, T>,
    channels: Range<usize>,
    points: SharedOutput<'a, T>,
}

impl<T: Real> SimdKernel<T> for TransformKernel<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector<Scalar = T>>(self) {
        let (from, to) = (self.g.in_channels, self.g.out_channels);
        let taps = OUT * OUT;
        // Distance between the pairs of channels of adjacent lanes.
        let step = taps * if self.direction == Direction::Forward { from } else { 1 };
        for o in (0..to).step_by(V::LANES) {
            let first = o / panel_width::<V>() * panel_width::<V>();
            let width = panel_width::<V>().min(to - first);
            // SAFETY: kernels run with their instruction set; the slice has all lanes.
            let scale = unsafe {
                match self.epilogue.scale {
                    Some(scale) => V::load(scale[o..][..V::LANES].as_ptr()),
                    None => V::splat(T::one()),
                }
            };
            for c in self.channels.clone() {
                let pair = match self.direction {
                    Direction::Forward => o * from + c,
                    Direction::Rotated => c * to + o,
                };
                // SAFETY: kernels run with their instruction set. The number of output channels
                // is a multiple of the lanes, so that the kernel has the taps of all lanes' pairs.
                // This task alone writes the points of its input channels.
                unsafe {
                    let weights = self.kernel.as_ptr().add(pair * taps);
                    let mut x = [[V::zero(); OUT]; OUT];
                    for (tap, vector) in x.as_flattened_mut().iter_mut().enumerate() {
                        let tap = match self.direction {
                            Direction::Forward => tap,
                            Direction::Rotated => taps - 1 - tap,
                        };
                        *vector = V::gather(weights.add(tap), step).mul(scale);
                    }
                    let transformed = transform_2d::<V, Taps, OUT, SIDE>(&x);
                    let index = first * from + c * width + o - first;
                    for (point, vector) in transformed.as_flattened().iter().enumerate() {
                        vector.store(self.points.at(point * from * to + index, V::LANES));
                    }
                }
            }
        }
    }
}

/// Tiles of images as 25 matrices `[tiles, channels]`.
struct Tiles<'a, T> {
    chunk: &'a Chunk,
    /// All images, `[B, H, W, C]`.
    x: &'a [T],
    size: [usize; 2],
    channels: usize,
    padding: usize,
    /// The channels to transform.
    part: Range<usize>,
}

impl<T: Real> Tiles<'_, T> {
    /// Transforms the `N`×`N` pixels of each tile, and writes point `p` of tile `t` and channel
    /// `c` to `to + p·stride + offset(t, c)`.
    ///
    /// # Safety
    /// The vector's instruction set must be available, and `to` must be valid for vectors at all
    /// of these offsets.
    #[inline(always)]
    unsafe fn transform<V: Vector<Scalar = T>, R: Transform<V, N, SIDE>, const N: usize>(
        &self,
        to: *mut T,
        stride: usize,
        offset: impl Fn(usize, usize) -> usize,
    ) {
        let [height, width] = self.size;
        let channels = self.channels;
        let x = self.x;
        let zeros = [T::zero(); BLOCK];
        self.chunk.for_each(|tile, image, [row, column]| {
            let at = |i: usize, length: usize| i.checked_sub(self.padding).filter(|&i| i < length);
            let mut sources = [[zeros.as_ptr(); N]; N];
            let mut steps = [[0usize; N]; N];
            for i in 0..N {
                for j in 0..N {
                    let pixel = at(row + i, height).zip(at(column + j, width));
                    if let Some((row, column)) = pixel {
                        let pixel = (image * height + row) * width + column;
                        sources[i][j] = x[pixel * channels..][self.part.clone()].as_ptr();
                        steps[i][j] = 1;
                    }
                }
            }
            for c in (0..self.part.len()).step_by(V::LANES) {
                // SAFETY: each source has the part's channels, whose number is a multiple of the
                // lanes, or it points to enough zeros for one vector and its step is 0. The rest
                // is the caller's guarantee.
                unsafe {
                    let mut x = [[V::zero(); N]; N];
                    for i in 0..N {
                        for j in 0..N {
                            x[i][j] = V::load(sources[i][j].add(c * steps[i][j]));
                        }
                    }
                    let transformed = transform_2d::<V, R, N, SIDE>(&x);
                    let to = to.add(offset(tile, c));
                    for (point, vector) in transformed.as_flattened().iter().enumerate() {
                        vector.store(to.add(point * stride));
                    }
                }
            }
        });
    }
}

/// Computes some output channels for some images.
struct Forward<'a, T> {
    g: &'a Geometry,
    x: &'a [T],
    kernel: &'a [T],
    epilogue: Epilogue<'a, T>,
    chunk: &'a Chunk,
    out: Range<usize>,
    y: SharedOutput<'a, T>,
}

impl<T: Real> SimdKernel<T> for Forward<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector<Scalar = T>>(self) {
        let (from, to) = (self.g.in_channels, self.out.len());
        let tiles = self.chunk.tiles();
        let (x_stride, y_stride) = (tiles * from + GAP, tiles * to + GAP);
        let mut scratch = Box::<[T]>::new_uninit_slice(POINTS * (x_stride + y_stride));
        let x: *mut T = scratch.as_mut_ptr().cast();
        // SAFETY: kernels run with their instruction set. The scratch memory is valid for both
        // sets of matrices; transforms initialise the first, products the second. `out` starts at
        // a panel of the kernel, as `OUT_CHANNELS` is a multiple of a panel's width.
        unsafe {
            let y = x.add(POINTS * x_stride);
            let input = Tiles {
                chunk: self.chunk,
                x: self.x,
                size: self.g.in_size,
                channels: from,
                padding: self.g.padding,
                part: 0..from,
            };
            input.transform::<V, Input, SIDE>(x, x_stride, |tile, c| tile * from + c);
            for point in 0..POINTS {
                let a = Strided { start: x.add(point * x_stride), row: from, step: 1 };
                let kernel = (point * self.g.out_channels + self.out.start) * from;
                let b = Right { start: self.kernel.as_ptr().add(kernel), panel: from, step: None };
                let c = Output { start: y.add(point * y_stride), row: to, accumulate: false };
                multiply::<V>([tiles, to, from], a, b, c);
            }
            self.write_outputs::<V>(y, y_stride);
        }
    }
}

impl<T: Real> Forward<'_, T> {
    /// Transforms products to outputs, and applies the epilogue.
    ///
    /// # Safety
    /// The vector's instruction set must be available. `products` must point to 25 initialised
    /// matrices `[tiles, out]` that are `stride` apart.
    #[inline(always)]
    unsafe fn write_outputs<V: Vector<Scalar = T>>(&self, products: *const T, stride: usize) {
        let [height, width] = self.g.out_size;
        let channels = self.g.out_channels;
        // SAFETY: the caller guarantees the instruction set.
        let slope = unsafe { V::splat(self.epilogue.slope) };
        self.chunk.for_each(|tile, image, [row, column]| {
            let (rows, columns) = (OUT.min(height - row), OUT.min(width - column));
            for c in (0..self.out.len()).step_by(V::LANES) {
                // SAFETY: the caller guarantees the instruction set and the products, of which
                // all lanes are valid, as numbers of channels are multiples of the lanes. This
                // task alone writes its channels of these outputs.
                unsafe {
                    let from = products.add(tile * self.out.len() + c);
                    let mut x = [[V::zero(); SIDE]; SIDE];
                    for (point, vector) in x.as_flattened_mut().iter_mut().enumerate() {
                        *vector = V::load(from.add(point * stride));
                    }
                    let outputs = transform_2d::<V, Outputs, SIDE, OUT>(&x);
                    let channel = self.out.start + c;
                    let shift = match self.epilogue.shift {
                        Some(shift) => V::load(shift[channel..][..V::LANES].as_ptr()),
                        None => V::zero(),
                    };
                    for (i, outputs) in outputs.iter().enumerate().take(rows) {
                        for (j, &sum) in outputs.iter().enumerate().take(columns) {
                            let pixel = (image * height + row + i) * width + column + j;
                            let index = pixel * channels + channel;
                            let mut y = sum.add(shift);
                            if let Some(residual) = self.epilogue.residual {
                                y = y.add(V::load(residual[index..][..V::LANES].as_ptr()));
                            }
                            y.scale_below(y, slope).store(self.y.at(index, V::LANES));
                        }
                    }
                }
            }
        });
    }
}

/// Returns the gradient of the kernel, `[O, C, 3, 3]`, from images `x [B, H, W, C]` and the
/// outputs' gradient `dy [B, oh, ow, O]`.
///
/// Each task takes a block of input and output channels. Where there are few blocks, images are
/// divided among tasks, too, whose gradients are added in order.
pub fn kernel_gradient<T: Real>(g: &Geometry, x: &[T], dy: &[T]) -> Vec<T> {
    let size = g.out_channels * g.patch();
    let blocks: Vec<_> = parts(0..g.in_channels, BLOCK)
        .flat_map(|from| parts(0..g.out_channels, BLOCK).map(move |to| (from.clone(), to)))
        .collect();
    // SAFETY: tasks write the taps of all pairs of channels of their block.
    unsafe {
        sum_over_images(g.batch, blocks.len(), size, |images, block, dw, start| {
            let (from, to) = blocks[block].clone();
            T::run(KernelGradient { g, x, dy, images, from, to, dw, start });
        })
    }
}

/// Computes the kernel's gradient for a block of channels, summed over some images.
struct KernelGradient<'a, T> {
    g: &'a Geometry,
    x: &'a [T],
    dy: &'a [T],
    images: Range<usize>,
    from: Range<usize>,
    to: Range<usize>,
    dw: SharedOutput<'a, T>,
    /// Index in `dw` of these images' gradient.
    start: usize,
}

impl<T: Real> SimdKernel<T> for KernelGradient<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector<Scalar = T>>(self) {
        let (from, to) = (self.from.len(), self.to.len());
        let chunks = Chunk::divide(self.g, self.images.clone());
        let max_tiles = chunks.iter().map(Chunk::tiles).max().unwrap_or_default();
        let (x_stride, y_stride) = (max_tiles * from + GAP, max_tiles * to + GAP);
        let w_stride = from * to + GAP;
        let size = POINTS * (x_stride + y_stride + w_stride);
        let mut scratch = Box::<[T]>::new_uninit_slice(size);
        let x: *mut T = scratch.as_mut_ptr().cast();
        // SAFETY: kernels run with their instruction set. The scratch memory is valid for three
        // sets of matrices; transforms initialise the first two, the products of the first chunk,
        // of which there is at least one, the third.
        unsafe {
            let y = x.add(POINTS * x_stride);
            let dw = y.add(POINTS * y_stride);
            for (number, chunk) in chunks.iter().enumerate() {
                let (accumulate, tiles) = (number > 0, chunk.tiles());
                let input = Tiles {
                    chunk,
                    x: self.x,
                    size: self.g.in_size,
                    channels: self.g.in_channels,
                    padding: self.g.padding,
                    part: self.from.clone(),
                };
                input.transform::<V, Input, SIDE>(x, x_stride, |tile, c| tile * from + c);
                let gradient = Tiles {
                    x: self.dy,
                    size: self.g.out_size,
                    channels: self.g.out_channels,
                    padding: 0,
                    part: self.to.clone(),
                    ..input
                };
                // In panels, as the right side of a product.
                let offset = |tile: usize, c: usize| {
                    let first = c / panel_width::<V>() * panel_width::<V>();
                    first * tiles + tile * panel_width::<V>().min(to - first) + c - first
                };
                gradient.transform::<V, OutputGradient, OUT>(y, y_stride, offset);
                for point in 0..POINTS {
                    let a = Strided { start: x.add(point * x_stride), row: 1, step: from };
                    let b = Right { start: y.add(point * y_stride), panel: tiles, step: None };
                    let c = Output { start: dw.add(point * w_stride), row: to, accumulate };
                    multiply::<V>([from, to, tiles], a, b, c);
                }
            }
            self.write_taps::<V>(dw, w_stride);
        }
    }
}

impl<T: Real> KernelGradient<'_, T> {
    /// Transforms the gradients of points to those of taps.
    ///
    /// # Safety
    /// The vector's instruction set must be available. `points` must point to 25 initialised
    /// matrices `[from, to]` that are `stride` apart.
    #[inline(always)]
    unsafe fn write_taps<V: Vector<Scalar = T>>(&self, points: *const T, stride: usize) {
        let taps = OUT * OUT;
        let mut gathered = [T::zero(); OUT * OUT * CHANNELS];
        for (i, c) in self.from.clone().enumerate() {
            for j in (0..self.to.len()).step_by(V::LANES) {
                // SAFETY: the caller guarantees the instruction set and the points, of which all
                // lanes are valid, as numbers of channels are multiples of the lanes. `gathered`
                // has `CHANNELS` numbers for each tap, the lanes of the widest vector. This task
                // alone writes the taps of its pairs of channels.
                unsafe {
                    let from = points.add(i * self.to.len() + j);
                    let mut x = [[V::zero(); SIDE]; SIDE];
                    for (point, vector) in x.as_flattened_mut().iter_mut().enumerate() {
                        *vector = V::load(from.add(point * stride));
                    }
                    let gradient = transform_2d::<V, TapGradient, SIDE, OUT>(&x);
                    for (tap, vector) in gradient.as_flattened().iter().enumerate() {
                        vector.store(gathered.as_mut_ptr().add(tap * V::LANES));
                    }
                    for lane in 0..V::LANES {
                        let pair = (self.to.start + j + lane) * self.g.in_channels + c;
                        let to = self.dw.at(self.start + pair * taps, taps);
                        for tap in 0..taps {
                            to.add(tap).write(gathered[tap * V::LANES + lane]);
                        }
                    }
                }
            }
        }
    }
}
