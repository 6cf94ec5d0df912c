//! Convolution as a matrix product over unfolded patches.
//!
//! Images are taken in groups, so that the product has enough columns even where feature
//! maps are small: `patches [C·kh·kw, G·oh·ow]`, `kernel [O, C·kh·kw]`.

use super::{Matrix, multiply};
use crate::tensor::Real;
use candle_core::{Result, bail};
use rayon::prelude::*;
use std::ops::Range;

/// Columns that a forward or data-gradient product should have at least.
const COLUMNS: usize = 256;
/// Elements that the patches of a weight-gradient group should have at most.
const PATCH_ELEMENTS: usize = 1 << 22;

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
        if stride == 0 || kh == 0 || kw == 0 {
            bail!("conv2d: stride {stride} and kernel {kh}×{kw} must be positive")
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
        COLUMNS.div_ceil(self.out_plane().max(1)).clamp(1, self.batch.div_ceil(4).max(1))
    }

    /// Whether the patches are the input itself.
    fn is_pointwise(&self) -> bool {
        self.kernel == [1, 1] && self.stride == 1 && self.padding == 0
    }

    /// Output positions along one axis whose tap `k` falls inside the input.
    fn inside(&self, axis: usize, k: usize) -> Range<usize> {
        let first = self.padding.saturating_sub(k).div_ceil(self.stride);
        let end = (self.in_size[axis] + self.padding).saturating_sub(k).div_ceil(self.stride);
        let end = end.min(self.out_size[axis]);
        first.min(end)..end
    }
}

/// Unfolds channel `c` of the images `x` into its `kh·kw` rows of `G·oh·ow` columns.
fn unfold_channel<T: Real>(g: &Geometry, x: &[T], c: usize, rows: &mut [T]) {
    let [kh, kw] = g.kernel;
    let [_, width] = g.in_size;
    let [oh, ow] = g.out_size;
    let images = x.len() / g.in_image();
    for (tap, row) in rows.chunks_exact_mut(images * oh * ow).enumerate() {
        let (ky, kx) = (tap / kw, tap % kw);
        debug_assert!(ky < kh);
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

/// `[G, O, plane]` to `[O, G, plane]`, or back: exchanges the two outer axes.
fn exchange<T: Real>(from: &[T], to: &mut [T], outer: usize, inner: usize, plane: usize) {
    for i in 0..outer {
        for j in 0..inner {
            to[(j * outer + i) * plane..][..plane]
                .copy_from_slice(&from[(i * inner + j) * plane..][..plane]);
        }
    }
}

/// `y [B, O, oh, ow]` of `x [B, C, H, W]` and `kernel [O, C, kh, kw]`, plus `bias [O]`.
pub fn forward<T: Real>(g: &Geometry, x: &[T], kernel: &[T], bias: Option<&[T]>) -> Vec<T> {
    let mut y = vec![T::zero(); g.batch * g.out_image()];
    if y.is_empty() {
        return y;
    }
    let kernel = Matrix::new(kernel, g.out_channels, g.patch());
    let group = g.group();
    y.par_chunks_mut(group * g.out_image()).zip(x.par_chunks(group * g.in_image())).for_each_init(
        || (Vec::new(), Vec::new()),
        |(patches, scratch), (y, x)| {
            let images = x.len() / g.in_image();
            let columns = images * g.out_plane();
            let patches: &[T] = if g.is_pointwise() && images == 1 {
                x
            } else {
                patches.resize(g.patch() * columns, T::zero());
                let rows = g.patch() / g.in_channels * columns;
                for (c, rows) in patches.chunks_exact_mut(rows).enumerate() {
                    unfold_channel(g, x, c, rows);
                }
                patches
            };
            let patches = Matrix::new(patches, g.patch(), columns);
            if images == 1 {
                multiply(y, kernel, patches, false);
            } else {
                scratch.resize(y.len(), T::zero());
                multiply(scratch, kernel, patches, false);
                exchange(scratch, y, g.out_channels, images, g.out_plane());
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
    let mut dx = vec![T::zero(); g.batch * g.in_image()];
    if dy.is_empty() {
        return dx;
    }
    let kernel = Matrix::new(kernel, g.out_channels, g.patch()).transposed();
    let group = g.group();
    dx.par_chunks_mut(group * g.in_image())
        .zip(dy.par_chunks(group * g.out_image()))
        .for_each_init(
            || (Vec::new(), Vec::new()),
            |(patches, scratch), (dx, dy)| {
                let images = dy.len() / g.out_image();
                let columns = images * g.out_plane();
                let dy = if images == 1 {
                    dy
                } else {
                    scratch.resize(dy.len(), T::zero());
                    exchange(dy, scratch, images, g.out_channels, g.out_plane());
                    scratch
                };
                let dy = Matrix::new(dy, g.out_channels, columns);
                if g.is_pointwise() && images == 1 {
                    return multiply(dx, kernel, dy, false);
                }
                patches.resize(g.patch() * columns, T::zero());
                multiply(patches, kernel, dy, false);
                fold(g, patches, dx);
            },
        );
    dx
}

/// Gradient of the kernel, `[O, C, kh, kw]`, from `dy [B, O, oh, ow]`.
///
/// Groups follow one another and threads share each group's product by rows, so that every
/// element is summed in the order of the batch.
pub fn kernel_gradient<T: Real>(g: &Geometry, x: &[T], dy: &[T]) -> Vec<T> {
    let mut dw = vec![T::zero(); g.out_channels * g.patch()];
    if dy.is_empty() {
        return dw;
    }
    let group = (PATCH_ELEMENTS / (g.patch() * g.out_plane())).clamp(1, g.batch);
    let row_block = g.out_channels.div_ceil(8).max(32);
    let (mut patches, mut scratch) = (Vec::new(), Vec::new());
    for (x, dy) in x.chunks(group * g.in_image()).zip(dy.chunks(group * g.out_image())) {
        let images = x.len() / g.in_image();
        let columns = images * g.out_plane();
        patches.resize(g.patch() * columns, T::zero());
        patches
            .par_chunks_exact_mut(g.patch() / g.in_channels * columns)
            .enumerate()
            .for_each(|(c, rows)| unfold_channel(g, x, c, rows));
        scratch.resize(dy.len(), T::zero());
        exchange(dy, &mut scratch, images, g.out_channels, g.out_plane());
        let patches = Matrix::new(&patches, g.patch(), columns).transposed();
        dw.par_chunks_mut(row_block * g.patch())
            .zip(scratch.par_chunks(row_block * columns))
            .for_each(|(dw, dy)| {
                multiply(dw, Matrix::new(dy, dy.len() / columns, columns), patches, true)
            });
    }
    dw
}

/// Gradient of the bias, `[O]`.
pub fn bias_gradient<T: Real>(g: &Geometry, dy: &[T]) -> Vec<T> {
    let sums = super::batch_norm::channel_sums(dy, g.out_channels, g.out_plane(), |_, v| v);
    sums.into_iter().map(T::from_f64).collect()
}
