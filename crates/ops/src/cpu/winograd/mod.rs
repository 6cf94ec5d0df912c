//! 3×3 convolutions of stride 1 with fewer products: F(3×3, 3×3) takes 25 a tile of nine
//! outputs and pair of channels, where plain sums take 81.
//!
//! Tiles of images are transformed, each of the 25 points of all tiles is a matrix product
//! over channels, and what comes out is transformed back. A task takes as many images as its
//! second cache holds the transformed tiles of, so that they never see main memory.

mod transform;

use std::ops::Range;

use rayon::prelude::*;
use transform::{
    Input, OUT, OutputGradient, Outputs, POINTS, SIDE, TapGradient, Taps, Transform, both_ways,
};

use super::buffer::{Filling, Scratch, filled};
use super::conv::{Epilogue, Geometry};
use super::product::{Dense, Output, Right, multiply, panel_width};
use super::simd::{SimdKernel, Vector};
use super::slices::sum_over_images;
use crate::tensor::Real;

/// Channels come in multiples of this, the widest vector.
pub const CHANNELS: usize = 16;
/// Tiles of a task: fewer use each transformed kernel too seldom.
const TILES: usize = 64;
/// Output channels of a task where tiles are few; fewer transform too often.
const OUT_CHANNELS: usize = 128;
/// Tasks that there should be at least.
const TASKS: usize = 8;
/// Channels of a task of the kernel's gradient, on each side.
const BLOCK: usize = 64;
/// Elements between the ends and beginnings of matrices: without, all 25 would lie in the
/// same lines of the first cache.
const GAP: usize = 16;

/// Which of two convolutions a kernel `[O, C, 3, 3]` is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From C to O channels.
    Forward,
    /// From O to C channels, with the kernel turned around: that of gradients.
    Turned,
}

/// Consecutive images, and rows of tiles in each of them.
#[derive(Clone)]
struct Chunk {
    images: Range<usize>,
    rows: Range<usize>,
    /// Tiles a row.
    columns: usize,
}

impl Chunk {
    /// Divides images into chunks of about [`TILES`].
    fn divide(g: &Geometry, images: Range<usize>) -> Vec<Self> {
        let [rows, columns] = g.out_size.map(|side| side.div_ceil(OUT));
        let group = TILES.div_ceil(rows * columns).min(images.len()).max(1);
        // Where one image has more, as even as can be.
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

    /// Calls `visit` with each tile's number, its image, and its first output's row and column.
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

/// Consecutive parts of a range, `size` each.
fn parts(range: Range<usize>, size: usize) -> impl Iterator<Item = Range<usize>> + Clone {
    range.clone().step_by(size.max(1)).map(move |start| start..(start + size).min(range.end))
}

/// The convolution of `x [B, H, W, C]`, as `g` describes it, with `kernel` seen from
/// `direction`.
pub fn forward<T: Real>(
    g: &Geometry,
    x: &[T],
    kernel: &[T],
    direction: Direction,
    finish: Epilogue<T>,
) -> Vec<T> {
    let kernel = transformed_kernel(g, kernel, direction, finish);
    let chunks = Chunk::divide(g, 0..g.batch);
    let channels = if chunks.len() >= TASKS { g.out_channels } else { OUT_CHANNELS };
    let tasks: Vec<_> = chunks
        .iter()
        .flat_map(|chunk| parts(0..g.out_channels, channels).map(move |out| (chunk, out)))
        .collect();
    // SAFETY: tasks write all channels of all tiles.
    unsafe {
        filled(g.batch * g.out_image(), |y| {
            tasks.into_par_iter().for_each(|(chunk, out)| {
                T::run(Forward { g, x, kernel: &kernel, finish, chunk, out, y });
            });
        })
    }
}

/// The kernel's points, each a matrix `[C, O]` in panels.
fn transformed_kernel<T: Real>(
    g: &Geometry,
    kernel: &[T],
    direction: Direction,
    finish: Epilogue<T>,
) -> Vec<T> {
    let tasks: Vec<_> = parts(0..g.in_channels, CHANNELS).collect();
    // SAFETY: tasks write all points of all channels.
    unsafe {
        filled(POINTS * g.in_channels * g.out_channels, |points| {
            tasks.into_par_iter().for_each(|channels| {
                T::run(TransformKernel { g, kernel, direction, finish, channels, points });
            });
        })
    }
}

struct TransformKernel<'a, T> {
    g: &'a Geometry,
    kernel: &'a [T],
    direction: Direction,
    finish: Epilogue<'a, T>,
    channels: Range<usize>,
    points: Filling<'a, T>,
}

impl<T: Real> SimdKernel<T> for TransformKernel<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector<Scalar = T>>(self) {
        let (from, to) = (self.g.in_channels, self.g.out_channels);
        let taps = OUT * OUT;
        // From one lane's pair of channels to the next one's.
        let step = taps * if self.direction == Direction::Forward { from } else { 1 };
        for o in (0..to).step_by(V::LANES) {
            let first = o / panel_width::<V>() * panel_width::<V>();
            let width = panel_width::<V>().min(to - first);
            // SAFETY: the instruction set is there; the scale holds all lanes.
            let scale = unsafe {
                match self.finish.scale {
                    Some(scale) => V::load(scale[o..][..V::LANES].as_ptr()),
                    None => V::splat(T::one()),
                }
            };
            for c in self.channels.clone() {
                let pair = match self.direction {
                    Direction::Forward => o * from + c,
                    Direction::Turned => c * to + o,
                };
                // SAFETY: the kernel has the pairs from `o` to all lanes; this task alone
                // writes the points of its channels.
                unsafe {
                    let weights = self.kernel.as_ptr().add(pair * taps);
                    let mut x = [[V::zero(); OUT]; OUT];
                    for (tap, vector) in x.as_flattened_mut().iter_mut().enumerate() {
                        let tap = match self.direction {
                            Direction::Forward => tap,
                            Direction::Turned => taps - 1 - tap,
                        };
                        *vector = V::gather(weights.add(tap), step).mul(scale);
                    }
                    let transformed = both_ways::<V, Taps, OUT, SIDE>(&x);
                    let place = first * from + c * width + o - first;
                    for (point, vector) in transformed.as_flattened().iter().enumerate() {
                        vector.store(self.points.at(point * from * to + place, V::LANES));
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
    /// Which channels to take.
    part: Range<usize>,
}

impl<T: Real> Tiles<'_, T> {
    /// Writes the transform of each tile's `N`×`N` numbers around its place; tile `t`, channel
    /// `c` of each point `p` to `to + p·stride + place(t, c)`.
    ///
    /// # Safety
    /// These places must be there.
    #[inline(always)]
    unsafe fn transform<V: Vector<Scalar = T>, R: Transform<V, N, SIDE>, const N: usize>(
        &self,
        to: *mut T,
        stride: usize,
        place: impl Fn(usize, usize) -> usize,
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
                // SAFETY: the sources hold the part's channels, or are zeros.
                unsafe {
                    let mut x = [[V::zero(); N]; N];
                    for i in 0..N {
                        for j in 0..N {
                            x[i][j] = V::load(sources[i][j].add(c * steps[i][j]));
                        }
                    }
                    let transformed = both_ways::<V, R, N, SIDE>(&x);
                    let to = to.add(place(tile, c));
                    for (point, vector) in transformed.as_flattened().iter().enumerate() {
                        vector.store(to.add(point * stride));
                    }
                }
            }
        });
    }
}

/// Some images and output channels of a convolution.
struct Forward<'a, T> {
    g: &'a Geometry,
    x: &'a [T],
    kernel: &'a [T],
    finish: Epilogue<'a, T>,
    chunk: &'a Chunk,
    out: Range<usize>,
    y: Filling<'a, T>,
}

impl<T: Real> SimdKernel<T> for Forward<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector<Scalar = T>>(self) {
        let (from, to) = (self.g.in_channels, self.out.len());
        let tiles = self.chunk.tiles();
        let (x_stride, y_stride) = (tiles * from + GAP, tiles * to + GAP);
        let mut scratch = Scratch::new(POINTS * (x_stride + y_stride));
        let x: *mut T = scratch.start();
        // SAFETY: scratch holds both sets of matrices; kernels are in panels of whole width
        // up to `out`, which starts at a panel.
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
                let a = Dense { start: x.add(point * x_stride), row: from, step: 1 };
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
    /// Transforms the products back.
    ///
    /// # Safety
    /// `products` holds 25 matrices `[tiles, out]`.
    #[inline(always)]
    unsafe fn write_outputs<V: Vector<Scalar = T>>(&self, products: *const T, stride: usize) {
        let [height, width] = self.g.out_size;
        let channels = self.g.out_channels;
        // SAFETY: the caller has the instruction set.
        let slope = unsafe { V::splat(self.finish.slope) };
        self.chunk.for_each(|tile, image, [row, column]| {
            let (rows, columns) = (OUT.min(height - row), OUT.min(width - column));
            for c in (0..self.out.len()).step_by(V::LANES) {
                // SAFETY: the products are there, and this task alone writes these outputs.
                unsafe {
                    let from = products.add(tile * self.out.len() + c);
                    let mut x = [[V::zero(); SIDE]; SIDE];
                    for (point, vector) in x.as_flattened_mut().iter_mut().enumerate() {
                        *vector = V::load(from.add(point * stride));
                    }
                    let outputs = both_ways::<V, Outputs, SIDE, OUT>(&x);
                    let channel = self.out.start + c;
                    let shift = match self.finish.shift {
                        Some(shift) => V::load(shift[channel..][..V::LANES].as_ptr()),
                        None => V::zero(),
                    };
                    for (i, outputs) in outputs.iter().enumerate().take(rows) {
                        for (j, &sum) in outputs.iter().enumerate().take(columns) {
                            let pixel = (image * height + row + i) * width + column + j;
                            let place = pixel * channels + channel;
                            let mut y = sum.add(shift);
                            if let Some(residual) = self.finish.residual {
                                y = y.add(V::load(residual[place..][..V::LANES].as_ptr()));
                            }
                            y.scale_below(y, slope).store(self.y.at(place, V::LANES));
                        }
                    }
                }
            }
        });
    }
}

/// The gradient of the kernel, `[O, C, 3, 3]`, of images `x [B, H, W, C]` and the outputs'
/// gradient `dy [B, oh, ow, O]`.
///
/// Tasks share the channels of both sides among them, and where these are few the images,
/// whose gradients are summed in order.
pub fn kernel_gradient<T: Real>(g: &Geometry, x: &[T], dy: &[T]) -> Vec<T> {
    let size = g.out_channels * g.patch();
    let blocks: Vec<_> = parts(0..g.in_channels, BLOCK)
        .flat_map(|from| parts(0..g.out_channels, BLOCK).map(move |to| (from.clone(), to)))
        .collect();
    // SAFETY: tasks write all pairs of channels of their block.
    unsafe {
        sum_over_images(g.batch, blocks.len(), size, |images, block, dw, start| {
            let (from, to) = blocks[block].clone();
            T::run(KernelGradient { g, x, dy, images, from, to, dw, start });
        })
    }
}

/// Some images, input channels and output channels of the kernel's gradient.
struct KernelGradient<'a, T> {
    g: &'a Geometry,
    x: &'a [T],
    dy: &'a [T],
    images: Range<usize>,
    from: Range<usize>,
    to: Range<usize>,
    dw: Filling<'a, T>,
    /// Where the slice's gradient begins.
    start: usize,
}

impl<T: Real> SimdKernel<T> for KernelGradient<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector<Scalar = T>>(self) {
        let (from, to) = (self.from.len(), self.to.len());
        let chunks = Chunk::divide(self.g, self.images.clone());
        let most = chunks.iter().map(Chunk::tiles).max().unwrap_or_default();
        let (x_stride, y_stride, w_stride) = (most * from + GAP, most * to + GAP, from * to + GAP);
        let mut scratch = Scratch::new(POINTS * (x_stride + y_stride + w_stride));
        let x: *mut T = scratch.start();
        // SAFETY: scratch holds the three sets of matrices.
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
                // In panels, as a right side is read.
                let place = |tile: usize, c: usize| {
                    let first = c / panel_width::<V>() * panel_width::<V>();
                    first * tiles + tile * panel_width::<V>().min(to - first) + c - first
                };
                gradient.transform::<V, OutputGradient, OUT>(y, y_stride, place);
                for point in 0..POINTS {
                    let a = Dense { start: x.add(point * x_stride), row: 1, step: from };
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
    /// Transforms the points' gradients to that of taps.
    ///
    /// # Safety
    /// `points` holds 25 matrices `[from, to]`.
    #[inline(always)]
    unsafe fn write_taps<V: Vector<Scalar = T>>(&self, points: *const T, stride: usize) {
        let taps = OUT * OUT;
        let mut gathered = [T::zero(); OUT * OUT * CHANNELS];
        for (i, c) in self.from.clone().enumerate() {
            for j in (0..self.to.len()).step_by(V::LANES) {
                // SAFETY: the points are there; `gathered` holds a vector for each tap; this
                // task alone writes these pairs of channels.
                unsafe {
                    let from = points.add(i * self.to.len() + j);
                    let mut x = [[V::zero(); SIDE]; SIDE];
                    for (point, vector) in x.as_flattened_mut().iter_mut().enumerate() {
                        *vector = V::load(from.add(point * stride));
                    }
                    let gradient = both_ways::<V, TapGradient, SIDE, OUT>(&x);
                    for (tap, vector) in gradient.as_flattened().iter().enumerate() {
                        vector.store(gathered.as_mut_ptr().add(tap * V::LANES));
                    }
                    for lane in 0..V::LANES {
                        let pair = (self.to.start + j + lane) * self.g.in_channels + c;
                        let to = self.dw.at(self.start + pair * taps, taps);
                        for tap in 0..taps {
                            *to.add(tap) = gathered[tap * V::LANES + lane];
                        }
                    }
                }
            }
        }
    }
}
