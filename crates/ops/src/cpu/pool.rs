//! Pooling over the planes of `[B, C, H, W]`.

use crate::tensor::Real;
use candle_core::{Result, bail};
use rayon::prelude::*;

/// The checked sizes of one max pooling.
#[derive(Clone, Copy, Debug)]
pub struct Geometry {
    pub in_size: [usize; 2],
    pub out_size: [usize; 2],
    pub window: usize,
    pub stride: usize,
    pub padding: usize,
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
        let mut out_size = [0; 2];
        for (out, size) in out_size.iter_mut().zip(in_size) {
            match (size + 2 * padding).checked_sub(window) {
                Some(room) if size > 0 => *out = room / stride + 1,
                _ => bail!("max_pool2d: window {window} exceeds input {in_size:?} and its padding"),
            }
        }
        Ok(Self { in_size, out_size, window, stride, padding })
    }

    /// Whether windows are 2×2 side by side, the commonest pooling, which needs no branches.
    fn is_halving(&self) -> bool {
        (self.window, self.stride, self.padding) == (2, 2, 0)
    }

    /// The input positions of output `o` along one axis.
    fn window(&self, axis: usize, o: usize) -> std::ops::Range<usize> {
        let start = o * self.stride;
        let end = (start + self.window).saturating_sub(self.padding).min(self.in_size[axis]);
        start.saturating_sub(self.padding).min(end)..end
    }

    /// Calls `visit(output index, input index)` with the place of each window's maximum:
    /// the first in reading order, or the last NaN if there is one.
    fn for_each_maximum<T: Real>(&self, x: &[T], mut visit: impl FnMut(usize, usize)) {
        let width = self.in_size[1];
        let [rows, columns] = self.out_size;
        for oy in 0..rows {
            let ys = self.window(0, oy);
            for ox in 0..columns {
                let xs = self.window(1, ox);
                let mut best = ys.start * width + xs.start;
                for y in ys.clone() {
                    for i in y * width + xs.start..y * width + xs.end {
                        // NaN compares unequal to itself and wins, as in PyTorch.
                        if x[i] > x[best] || x[i].partial_cmp(&x[i]).is_none() {
                            best = i;
                        }
                    }
                }
                visit(oy * columns + ox, best);
            }
        }
    }
}

/// The larger of two; NaN is larger than anything, as in PyTorch.
#[inline(always)]
fn larger<T: Real>(a: T, b: T) -> T {
    if b > a || b.partial_cmp(&b).is_none() { b } else { a }
}

/// The maximum of each window of each plane.
pub fn max<T: Real>(g: &Geometry, x: &[T]) -> Vec<T> {
    let (in_plane, out_plane) = (g.in_size[0] * g.in_size[1], g.out_size[0] * g.out_size[1]);
    let mut y = vec![T::zero(); x.len() / in_plane * out_plane];
    y.par_chunks_mut(out_plane).zip(x.par_chunks(in_plane)).with_min_len(8).for_each(|(y, x)| {
        if !g.is_halving() {
            return g.for_each_maximum(x, |o, i| y[o] = x[i]);
        }
        let rows = y.chunks_exact_mut(g.out_size[1]).zip(x.chunks_exact(2 * g.in_size[1]));
        for (y, x) in rows {
            let (upper, lower) = x.split_at(g.in_size[1]);
            let pairs = upper.chunks_exact(2).zip(lower.chunks_exact(2));
            for (y, (u, l)) in y.iter_mut().zip(pairs) {
                *y = larger(larger(u[0], u[1]), larger(l[0], l[1]));
            }
        }
    });
    y
}

/// The gradient of [`max`]: each window's goes to its maximum, summed where windows overlap.
pub fn max_gradient<T: Real>(g: &Geometry, x: &[T], dy: &[T]) -> Vec<T> {
    let (in_plane, out_plane) = (g.in_size[0] * g.in_size[1], g.out_size[0] * g.out_size[1]);
    let mut dx = vec![T::zero(); x.len()];
    let planes = dx.par_chunks_mut(in_plane).zip(x.par_chunks(in_plane));
    planes.zip(dy.par_chunks(out_plane)).with_min_len(8).for_each(|((dx, x), dy)| {
        if !g.is_halving() {
            return g.for_each_maximum(x, |o, i| dx[i] += dy[o]);
        }
        let width = g.in_size[1];
        let rows = dx.chunks_exact_mut(2 * width).zip(x.chunks_exact(2 * width));
        for ((dx, x), dy) in rows.zip(dy.chunks_exact(g.out_size[1])) {
            let (upper, lower) = x.split_at(width);
            let (dx_upper, dx_lower) = dx.split_at_mut(width);
            let pairs = upper.chunks_exact(2).zip(lower.chunks_exact(2));
            let targets = dx_upper.chunks_exact_mut(2).zip(dx_lower.chunks_exact_mut(2));
            for (((du, dl), (u, l)), &d) in targets.zip(pairs).zip(dy) {
                // All of it to the first that is no smaller than any other.
                let give = |is_it: bool| if is_it { d } else { T::zero() };
                let (above, below) = (larger(u[0], u[1]), larger(l[0], l[1]));
                let (is_above, is_left) = (above >= below, u[0] >= u[1]);
                du[0] = give(is_above && is_left);
                du[1] = give(is_above && !is_left);
                dl[0] = give(!is_above && l[0] >= l[1]);
                dl[1] = give(!is_above && l[0] < l[1]);
            }
        }
    });
    dx
}

/// The mean of each plane.
pub fn mean<T: Real>(x: &[T], plane: usize) -> Vec<T> {
    let mean = |x: &[T]| x.iter().map(|v| v.to_f64()).sum::<f64>() / plane as f64;
    x.par_chunks(plane).with_min_len(64).map(|x| T::from_f64(mean(x))).collect()
}

/// The gradient of [`mean`]: spread evenly.
pub fn mean_gradient<T: Real>(dy: &[T], plane: usize) -> Vec<T> {
    let mut dx = vec![T::zero(); dy.len() * plane];
    let share = T::from_f64(1.0 / plane as f64);
    dx.par_chunks_mut(plane).zip(dy).with_min_len(64).for_each(|(dx, &dy)| dx.fill(dy * share));
    dx
}
