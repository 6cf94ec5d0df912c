//! Convolution as a product of the kernel with unfolded patches.
//!
//! Images are taken in groups, so that the product has enough columns even where feature
//! maps are small: `kernel [O, C·kh·kw]` times `patches [C·kh·kw, G·oh·ow]`.

use super::tile::{INNER_A, INNER_B, Kernels, LARGEST_TILE, kernels};
use crate::tensor::Real;
use candle_core::{Result, bail};
use rayon::prelude::*;
use std::ops::Range;

/// Columns that a forward or data-gradient product should have at least.
const COLUMNS: usize = 384;
/// Elements that the patches of a weight-gradient group should have at most.
const PATCH_ELEMENTS: usize = 1 << 21;
/// Columns that a weight gradient sums at a time, so that its rows stay in the first cache.
const INNER_COLUMNS: usize = 512;

/// The checked sizes of one convolution.
#[derive(Clone, Copy, Debug)]
pub struct Geometry {
    pub batch: usize,
    pub in_channels: usize,
    pub in_size: [usize; 2],
    pub out_channels: usize,
    pub out_size: [usize; 2],
    pub kernel: [usize; 2],
    pub stride: usize,
    pub padding: usize,
}

impl Geometry {
    /// Checks `x [B, C, H, W]` against `kernel [O, C, kh, kw]`.
    pub fn new(x: &[usize], kernel: &[usize], stride: usize, padding: usize) -> Result<Self> {
        let (&[batch, in_channels, h, w], &[out_channels, c, kh, kw]) = (x, kernel) else {
            bail!("conv2d: shapes {x:?} and {kernel:?}, expected [B, C, H, W] and [O, C, kh, kw]")
        };
        if c != in_channels {
            bail!("conv2d: input {x:?} has {in_channels} channels, kernel {kernel:?} takes {c}")
        }
        if [stride, kh, kw, in_channels, out_channels, h, w].contains(&0) {
            bail!("conv2d: input {x:?}, kernel {kernel:?}, stride {stride}: all must be positive")
        }
        let out = |size: usize, k: usize| match (size + 2 * padding).checked_sub(k) {
            Some(room) => Ok(room / stride + 1),
            None => bail!("conv2d: kernel {kh}×{kw} exceeds input {h}×{w} with padding {padding}"),
        };
        let out_size = [out(h, kh)?, out(w, kw)?];
        Ok(Self {
            batch,
            in_channels,
            in_size: [h, w],
            out_channels,
            out_size,
            kernel: [kh, kw],
            stride,
            padding,
        })
    }

    pub fn out_shape(&self) -> [usize; 4] {
        [self.batch, self.out_channels, self.out_size[0], self.out_size[1]]
    }

    fn in_plane(&self) -> usize {
        self.in_size[0] * self.in_size[1]
    }

    fn out_plane(&self) -> usize {
        self.out_size[0] * self.out_size[1]
    }

    fn in_image(&self) -> usize {
        self.in_channels * self.in_plane()
    }

    fn out_image(&self) -> usize {
        self.out_channels * self.out_plane()
    }

    /// Length of one unfolded patch.
    fn patch(&self) -> usize {
        self.in_channels * self.kernel[0] * self.kernel[1]
    }

    /// Images a group, from the problem's size alone.
    fn group(&self) -> usize {
        COLUMNS.div_ceil(self.out_plane()).clamp(1, self.batch.div_ceil(4).max(1))
    }

    /// Output positions along one axis whose tap `k` falls inside the input.
    fn inside(&self, axis: usize, k: usize) -> Range<usize> {
        let first = self.padding.saturating_sub(k).div_ceil(self.stride);
        let end = (self.in_size[axis] + self.padding).saturating_sub(k).div_ceil(self.stride);
        let end = end.min(self.out_size[axis]);
        first.min(end)..end
    }
}

/// Unfolds one tap of the images `x`: the row `[G·oh·ow]` of its patches for channel `c`
/// and kernel position `[ky, kx]`, all in one index as in the kernel.
fn unfold<T: Real>(g: &Geometry, x: &[T], index: usize, row: &mut [T]) {
    let [kh, kw] = g.kernel;
    let [_, width] = g.in_size;
    let [oh, ow] = g.out_size;
    let (c, ky, kx) = (index / (kh * kw), index / kw % kh, index % kw);
    let (inside_y, inside_x) = (g.inside(0, ky), g.inside(1, kx));
    for (image, out) in x.chunks_exact(g.in_image()).zip(row.chunks_exact_mut(oh * ow)) {
        let plane = &image[c * g.in_plane()..][..g.in_plane()];
        for (oy, out) in out.chunks_exact_mut(ow).enumerate() {
            if !inside_y.contains(&oy) || inside_x.is_empty() {
                out.fill(T::zero());
                continue;
            }
            let source = &plane[(oy * g.stride + ky - g.padding) * width..][..width];
            let start = inside_x.start * g.stride + kx - g.padding;
            out[..inside_x.start].fill(T::zero());
            out[inside_x.end..].fill(T::zero());
            let out = &mut out[inside_x.clone()];
            if g.stride == 1 {
                out.copy_from_slice(&source[start..][..out.len()]);
            } else {
                let taps = source[start..].iter().step_by(g.stride);
                out.iter_mut().zip(taps).for_each(|(o, &s)| *o = s);
            }
        }
    }
}

/// Adds the unfolded gradient of the images back onto them: the adjoint of unfolding.
fn fold<T: Real>(g: &Geometry, patches: &[T], dx: &mut [T]) {
    let [kh, kw] = g.kernel;
    let [_, width] = g.in_size;
    let [oh, ow] = g.out_size;
    let images = dx.len() / g.in_image();
    for (index, row) in patches.chunks_exact(images * oh * ow).enumerate() {
        let (c, ky, kx) = (index / (kh * kw), index / kw % kh, index % kw);
        let (inside_y, inside_x) = (g.inside(0, ky), g.inside(1, kx));
        if inside_x.is_empty() {
            continue;
        }
        for (image, row) in dx.chunks_exact_mut(g.in_image()).zip(row.chunks_exact(oh * ow)) {
            let plane = &mut image[c * g.in_plane()..][..g.in_plane()];
            for oy in inside_y.clone() {
                let target = &mut plane[(oy * g.stride + ky - g.padding) * width..][..width];
                let target = &mut target[inside_x.start * g.stride + kx - g.padding..];
                let row = &row[oy * ow..][inside_x.clone()];
                if g.stride == 1 {
                    target.iter_mut().zip(row).for_each(|(t, &r)| *t += r);
                } else {
                    target.iter_mut().step_by(g.stride).zip(row).for_each(|(t, &r)| *t += r);
                }
            }
        }
    }
}

/// Output channel `o` of all images of `dy`, side by side in one row `[G·oh·ow]`.
fn gather<T: Real>(g: &Geometry, dy: &[T], o: usize, row: &mut [T]) {
    let plane = g.out_plane();
    for (row, dy) in row.chunks_exact_mut(plane).zip(dy.chunks_exact(g.out_image())) {
        row.copy_from_slice(&dy[o * plane..][..plane]);
    }
}

/// `[G, O, plane]` to `[O, G, plane]`, or back: exchanges the two outer axes.
fn exchange<T: Real>(from: &[T], to: &mut [T], outer: usize, inner: usize, plane: usize) {
    for i in 0..outer {
        for j in 0..inner {
            to[(j * outer + i) * plane..][..plane]
                .copy_from_slice(&from[(i * inner + j) * plane..][..plane]);
        }
    }
}

/// A matrix `[M, K]` packed into tiles of rows, `[K, rows]` each, the last filled with zeros.
struct PackedRows<T> {
    tiles: Vec<T>,
    depth: usize,
    rows: usize,
}

impl<T: Real> PackedRows<T> {
    /// Packs `at(m, k)`.
    fn new(
        kernels: &Kernels<T>,
        rows: usize,
        depth: usize,
        at: impl Fn(usize, usize) -> T,
    ) -> Self {
        let tile = kernels.rows;
        let mut tiles = vec![T::zero(); rows.div_ceil(tile) * tile * depth];
        for (t, packed) in tiles.chunks_exact_mut((tile * depth).max(1)).enumerate() {
            for (k, packed) in packed.chunks_exact_mut(tile).enumerate() {
                for (m, packed) in (t * tile..rows).zip(packed) {
                    *packed = at(m, k);
                }
            }
        }
        Self { tiles, depth, rows }
    }
}

/// The right side of a product, packed into panels of a tile's columns, `[K, columns]` each.
/// A thread reuses its memory between groups.
#[derive(Default)]
struct Panels<T> {
    row: Vec<T>,
    panels: Vec<T>,
}

impl<T: Real> Panels<T> {
    /// `out [M, columns] = a [M, K] · b [K, columns]`, where `row_of(k, row)` writes row k of
    /// `b`, which is packed as it comes.
    fn multiply(
        &mut self,
        kernels: &Kernels<T>,
        a: &PackedRows<T>,
        columns: usize,
        mut row_of: impl FnMut(usize, &mut [T]),
        out: &mut [T],
    ) {
        let Self { row, panels } = self;
        let (depth, tile_rows, tile_columns) = (a.depth, kernels.rows, kernels.columns);
        let panel = depth * tile_columns;
        row.resize(columns.next_multiple_of(tile_columns), T::zero());
        panels.resize(row.len() * depth, T::zero());
        row[columns..].fill(T::zero());
        for k in 0..depth {
            row_of(k, &mut row[..columns]);
            for (panel, row) in panels.chunks_exact_mut(panel).zip(row.chunks_exact(tile_columns)) {
                panel[k * tile_columns..][..tile_columns].copy_from_slice(row);
            }
        }
        let mut tile = [T::zero(); LARGEST_TILE];
        let tile = &mut tile[..tile_rows * tile_columns];
        for (p, panel) in panels.chunks_exact(panel).enumerate() {
            let start = p * tile_columns;
            let width = tile_columns.min(columns - start);
            for (t, a_tile) in a.tiles.chunks_exact(depth * tile_rows).enumerate() {
                kernels.outer(a_tile, panel, tile);
                let rows = t * tile_rows..a.rows.min((t + 1) * tile_rows);
                for (m, tile) in rows.zip(tile.chunks_exact(tile_columns)) {
                    out[m * columns + start..][..width].copy_from_slice(&tile[..width]);
                }
            }
        }
    }
}

/// `y [B, O, oh, ow]` of `x [B, C, H, W]` and `kernel [O, C, kh, kw]`, plus `bias [O]`.
pub fn forward<T: Real>(g: &Geometry, x: &[T], kernel: &[T], bias: Option<&[T]>) -> Vec<T> {
    let patch = g.patch();
    convolve(g, x, |o, k| kernel[o * patch + k], bias)
}

/// [`forward`] with the kernel `[O, C·kh·kw]` given by its elements.
fn convolve<T: Real>(
    g: &Geometry,
    x: &[T],
    kernel: impl Fn(usize, usize) -> T,
    bias: Option<&[T]>,
) -> Vec<T> {
    let mut y = vec![T::zero(); g.batch * g.out_image()];
    if y.is_empty() {
        return y;
    }
    let kernels = kernels::<T>();
    let kernel = PackedRows::new(&kernels, g.out_channels, g.patch(), kernel);
    let group = g.group();
    y.par_chunks_mut(group * g.out_image()).zip(x.par_chunks(group * g.in_image())).for_each_init(
        || (Panels::default(), Vec::new()),
        |(panels, product), (y, x)| {
            let images = x.len() / g.in_image();
            let columns = images * g.out_plane();
            let row_of = |k: usize, row: &mut [T]| unfold(g, x, k, row);
            if images == 1 {
                panels.multiply(&kernels, &kernel, columns, row_of, y);
            } else {
                product.resize(y.len(), T::zero());
                panels.multiply(&kernels, &kernel, columns, row_of, product);
                exchange(product, y, g.out_channels, images, g.out_plane());
            }
            if let Some(bias) = bias {
                for (plane, &b) in y.chunks_exact_mut(g.out_plane()).zip(bias.iter().cycle()) {
                    plane.iter_mut().for_each(|v| *v += b);
                }
            }
        },
    );
    y
}

/// Gradient of the input, `[B, C, H, W]`, from `dy [B, O, oh, ow]`.
pub fn input_gradient<T: Real>(g: &Geometry, dy: &[T], kernel: &[T]) -> Vec<T> {
    let [kh, kw] = g.kernel;
    let (patch, taps) = (g.patch(), kh * kw);
    if g.stride == 1 && kh == kw && g.padding < kh {
        // The convolution of dy with the kernel turned around and its channels exchanged.
        let turned = Geometry {
            batch: g.batch,
            in_channels: g.out_channels,
            in_size: g.out_size,
            out_channels: g.in_channels,
            out_size: g.in_size,
            kernel: g.kernel,
            stride: 1,
            padding: kh - 1 - g.padding,
        };
        let at = |c: usize, k: usize| kernel[k / taps * patch + c * taps + taps - 1 - k % taps];
        return convolve(&turned, dy, at, None);
    }
    let mut dx = vec![T::zero(); g.batch * g.in_image()];
    if dy.is_empty() {
        return dx;
    }
    let kernels = kernels::<T>();
    let kernel = PackedRows::new(&kernels, patch, g.out_channels, |k, o| kernel[o * patch + k]);
    let group = g.group();
    dx.par_chunks_mut(group * g.in_image())
        .zip(dy.par_chunks(group * g.out_image()))
        .for_each_init(
            || (Panels::default(), Vec::new()),
            |(panels, product), (dx, dy)| {
                let columns = dy.len() / g.out_channels;
                let row_of = |o: usize, row: &mut [T]| gather(g, dy, o, row);
                product.resize(patch * columns, T::zero());
                panels.multiply(&kernels, &kernel, columns, row_of, product);
                fold(g, product, dx);
            },
        );
    dx
}

/// Gradient of the kernel, `[O, C, kh, kw]`, from `dy [B, O, oh, ow]`.
///
/// Groups follow one another and threads share each group's product by rows, so that every
/// element is summed in the order of the batch.
pub fn kernel_gradient<T: Real>(g: &Geometry, x: &[T], dy: &[T]) -> Vec<T> {
    let (patch, out_channels) = (g.patch(), g.out_channels);
    // Transposed, `[C·kh·kw, O]`, so that threads write apart from each other.
    let mut transposed = vec![T::zero(); out_channels * patch];
    if dy.is_empty() {
        return transposed;
    }
    let kernels = kernels::<T>();
    let group = (PATCH_ELEMENTS / (patch * g.out_plane())).clamp(1, g.batch);
    // A few tiles of rows a task: enough tasks for many threads.
    let task = INNER_B * patch.div_ceil(INNER_B * 64);
    let mut gathered = Vec::new();
    for (x, dy) in x.chunks(group * g.in_image()).zip(dy.chunks(group * g.out_image())) {
        let images = x.len() / g.in_image();
        let columns = images * g.out_plane();
        gathered.resize(dy.len(), T::zero());
        let rows = gathered.par_chunks_mut(columns).enumerate();
        rows.for_each(|(o, row)| gather(g, dy, o, row));
        transposed.par_chunks_mut(task * out_channels).enumerate().for_each_init(
            Vec::new,
            |rows: &mut Vec<T>, (t, dw)| {
                let taps = dw.len() / out_channels;
                rows.resize(taps * columns, T::zero());
                for (i, row) in rows.chunks_exact_mut(columns).enumerate() {
                    unfold(g, x, t * task + i, row);
                }
                inner_products(&kernels, rows, &gathered, columns, dw);
            },
        );
    }
    let mut dw = vec![T::zero(); transposed.len()];
    exchange(&transposed, &mut dw, patch, out_channels, 1);
    dw
}

/// `out [M, N] += b [M, columns] · a [N, columns]ᵀ`.
fn inner_products<T: Real>(kernels: &Kernels<T>, b: &[T], a: &[T], columns: usize, out: &mut [T]) {
    let (m, n) = (b.len() / columns, a.len() / columns);
    for start in (0..columns).step_by(INNER_COLUMNS) {
        let length = INNER_COLUMNS.min(columns - start);
        for i in (0..m).step_by(INNER_B) {
            // Tiles at the edge repeat a row and leave its products out.
            let b_rows: [&[T]; INNER_B] =
                std::array::from_fn(|k| &b[(i + k).min(m - 1) * columns + start..][..length]);
            for j in (0..n).step_by(INNER_A) {
                let a_rows: [&[T]; INNER_A] =
                    std::array::from_fn(|k| &a[(j + k).min(n - 1) * columns + start..][..length]);
                let mut tile = [[T::zero(); INNER_B]; INNER_A];
                kernels.inner(a_rows, b_rows, &mut tile);
                for (k, tile) in tile.iter().enumerate().take(n - j) {
                    for (l, &sum) in tile.iter().enumerate().take(m - i) {
                        out[(i + l) * n + j + k] += sum;
                    }
                }
            }
        }
    }
}

/// Gradient of the bias, `[O]`.
pub fn bias_gradient<T: Real>(g: &Geometry, dy: &[T]) -> Vec<T> {
    let sums = super::batch_norm::channel_sums(dy, g.out_channels, g.out_plane());
    sums.into_iter().map(T::from_f64).collect()
}
