//! The matrix product of kernels: `C [M, N] = A [M, K] · B [K, N]`, or `C += …`.

use super::simd::{Vector, prefetch};
use crate::tensor::Real;

/// Rows of a tile.
const ROWS: usize = 6;
/// How many rows of B are asked for before they are needed: panels come from the second cache
/// or the third.
const AHEAD: usize = 8;

/// The left side: where its elements are.
pub trait Left<T>: Copy {
    /// Where row `m` begins.
    ///
    /// # Safety
    /// The row must be there.
    unsafe fn row(&self, m: usize) -> *const T;
    /// How far behind its row's beginning the element of column `k` is.
    ///
    /// # Safety
    /// The column must be there.
    unsafe fn place(&self, k: usize) -> usize;
}

/// Element `(m, k)` at `start + m·row + k·step`.
#[derive(Clone, Copy)]
pub struct Dense<T> {
    pub start: *const T,
    pub row: usize,
    pub step: usize,
}

impl<T: Copy> Left<T> for Dense<T> {
    #[inline(always)]
    unsafe fn row(&self, m: usize) -> *const T {
        // SAFETY: the caller's promise.
        unsafe { self.start.add(m * self.row) }
    }

    #[inline(always)]
    unsafe fn place(&self, k: usize) -> usize {
        k * self.step
    }
}

/// Element `(m, k)` at `start + rows[m] + columns[k]`: patches of images, where they lie.
#[derive(Clone, Copy)]
pub struct Scattered<'a, T> {
    pub start: *const T,
    pub rows: &'a [usize],
    pub columns: &'a [usize],
}

impl<T: Copy> Left<T> for Scattered<'_, T> {
    #[inline(always)]
    unsafe fn row(&self, m: usize) -> *const T {
        // SAFETY: the caller's promise.
        unsafe { self.start.add(*self.rows.get_unchecked(m)) }
    }

    #[inline(always)]
    unsafe fn place(&self, k: usize) -> usize {
        // SAFETY: the caller's promise.
        unsafe { *self.columns.get_unchecked(k) }
    }
}

/// The right side, row-major in panels of [`panel_width`] columns: element `(k, n)` of a
/// panel is at `start + first·panel + k·step + n - first`, where `first` is the panel's first
/// column.
#[derive(Clone, Copy)]
pub struct Right<T> {
    pub start: *const T,
    /// Elements from one panel to the next, for each of a panel's columns: 1 in a row-major
    /// matrix, K where each panel is stored apart.
    pub panel: usize,
    /// Elements from one row to the next; `None`: the panel's own width.
    pub step: Option<usize>,
}

/// The result: element `(m, n)` is at `start + m·row + n`.
#[derive(Clone, Copy)]
pub struct Output<T> {
    pub start: *mut T,
    pub row: usize,
    /// Whether to add to what is there.
    pub accumulate: bool,
}

/// Columns of a panel, but for the last.
pub const fn panel_width<V: Vector>() -> usize {
    V::ABREAST * V::LANES
}

/// Multiplies; `columns` must be a multiple of the vector's lanes.
///
/// # Safety
/// The matrices must be there, and C apart from the others.
#[inline(always)]
pub unsafe fn multiply<V: Vector>(
    [rows, columns, depth]: [usize; 3],
    a: impl Left<V::Scalar>,
    b: Right<V::Scalar>,
    c: Output<V::Scalar>,
) {
    debug_assert_eq!(columns % V::LANES, 0);
    let mut first = 0;
    while first < columns {
        let width = panel_width::<V>().min(columns - first);
        // SAFETY: the panel and its columns of C are inside.
        unsafe {
            let panel = Panel {
                a,
                b: b.start.add(first * b.panel),
                b_step: b.step.unwrap_or(width),
                c: Output { start: c.start.add(first), ..c },
            };
            match width / V::LANES {
                4 => panel.multiply::<V, 4>(rows, depth),
                3 => panel.multiply::<V, 3>(rows, depth),
                2 => panel.multiply::<V, 2>(rows, depth),
                _ => panel.multiply::<V, 1>(rows, depth),
            }
        }
        first += width;
    }
}

/// All rows of A with one panel of B.
#[derive(Clone, Copy)]
struct Panel<T, A> {
    a: A,
    b: *const T,
    b_step: usize,
    c: Output<T>,
}

impl<T: Real, A: Left<T>> Panel<T, A> {
    #[inline(always)]
    unsafe fn multiply<V: Vector<Scalar = T>, const N: usize>(self, rows: usize, depth: usize) {
        let mut row = 0;
        // SAFETY: the rows are inside.
        unsafe {
            while row + ROWS <= rows {
                self.tile::<V, ROWS, N>(row, depth);
                row += ROWS;
            }
            match rows - row {
                5 => self.tile::<V, 5, N>(row, depth),
                4 => self.tile::<V, 4, N>(row, depth),
                3 => self.tile::<V, 3, N>(row, depth),
                2 => self.tile::<V, 2, N>(row, depth),
                1 => self.tile::<V, 1, N>(row, depth),
                _ => {}
            }
        }
    }

    #[inline(always)]
    unsafe fn tile<V: Vector<Scalar = T>, const M: usize, const N: usize>(
        self,
        row: usize,
        depth: usize,
    ) {
        // SAFETY: rows, columns and depth are inside the matrices.
        unsafe {
            let c = self.c.start.add(row * self.c.row);
            let mut sums = [[V::zero(); N]; M];
            if self.c.accumulate {
                for (i, sums) in sums.iter_mut().enumerate() {
                    for (j, sum) in sums.iter_mut().enumerate() {
                        *sum = V::load(c.add(i * self.c.row + j * V::LANES));
                    }
                }
            }
            let mut rows = [std::ptr::null(); M];
            for (i, start) in rows.iter_mut().enumerate() {
                *start = self.a.row(row + i);
            }
            let mut b = self.b;
            for k in 0..depth {
                for j in 0..N {
                    prefetch(b.wrapping_add(AHEAD * self.b_step + j * V::LANES));
                }
                let mut columns = [V::zero(); N];
                for (j, column) in columns.iter_mut().enumerate() {
                    *column = V::load(b.add(j * V::LANES));
                }
                let place = self.a.place(k);
                for (row, sums) in rows.iter().zip(&mut sums) {
                    let a = V::splat(*row.add(place));
                    for (sum, column) in sums.iter_mut().zip(columns) {
                        *sum = a.fma(column, *sum);
                    }
                }
                b = b.wrapping_add(self.b_step);
            }
            for (i, sums) in sums.iter().enumerate() {
                for (j, sum) in sums.iter().enumerate() {
                    sum.store(c.add(i * self.c.row + j * V::LANES));
                }
            }
        }
    }
}
