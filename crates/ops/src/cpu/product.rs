//! The matrix product of kernels: `C [M, N] = A [M, K] · B [K, N]`, or `C += …`.

use super::simd::{Vector, prefetch};
use crate::tensor::Real;

/// Rows of a tile.
const ROWS: usize = 6;
/// Number of rows of B by which prefetches are ahead: panels come from the second-level cache or
/// the third.
const PREFETCH_ROWS: usize = 8;

/// The left side, given by the addresses of its elements: element `(m, k)` is at
/// `row(m) + column_offset(k)`.
pub trait Left<T>: Copy {
    /// Returns the address that row `m` is relative to.
    ///
    /// # Safety
    /// `m` must be a row of the matrix.
    unsafe fn row(&self, m: usize) -> *const T;
    /// Returns the offset of column `k` in each row.
    ///
    /// # Safety
    /// `k` must be a column of the matrix.
    unsafe fn column_offset(&self, k: usize) -> usize;
}

/// A matrix with element `(m, k)` at `start + m·row + k·step`.
#[derive(Clone, Copy)]
pub struct Strided<T> {
    pub start: *const T,
    pub row: usize,
    pub step: usize,
}

impl<T: Copy> Left<T> for Strided<T> {
    #[inline(always)]
    unsafe fn row(&self, m: usize) -> *const T {
        // SAFETY: the caller guarantees that row `m` is in the matrix, so its first element is in
        // the allocation of `start`.
        unsafe { self.start.add(m * self.row) }
    }

    #[inline(always)]
    unsafe fn column_offset(&self, k: usize) -> usize {
        k * self.step
    }
}

/// A matrix with element `(m, k)` at `start + rows[m] + columns[k]`: patches of images, read in
/// place.
#[derive(Clone, Copy)]
pub struct Indexed<'a, T> {
    pub start: *const T,
    pub rows: &'a [usize],
    pub columns: &'a [usize],
}

impl<T: Copy> Left<T> for Indexed<'_, T> {
    #[inline(always)]
    unsafe fn row(&self, m: usize) -> *const T {
        // SAFETY: the caller guarantees that `m` is below the number of rows; row offsets stay in
        // the allocation of `start`.
        unsafe { self.start.add(*self.rows.get_unchecked(m)) }
    }

    #[inline(always)]
    unsafe fn column_offset(&self, k: usize) -> usize {
        // SAFETY: the caller guarantees that `k` is below the number of columns.
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
    /// Whether the product is added to what the memory holds.
    pub accumulate: bool,
}

/// Columns of each panel but the last, which may have fewer.
pub const fn panel_width<V: Vector>() -> usize {
    V::TILE_VECTORS * V::LANES
}

/// Multiplies matrices of `[rows, columns, depth]`, M, N and K; `columns` must be a multiple of
/// the vector's lanes.
///
/// # Safety
/// The vector's instruction set must be available. A and B must be readable and initialised, C
/// writable (and initialised to accumulate), all at their full sizes; C must not overlap A and B.
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
        // SAFETY: `first` is a column of B and C, and `width` columns from there are in both; the
        // rest is the caller's guarantee.
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
    /// Multiplies `rows` rows by the panel's `N` vectors of columns.
    ///
    /// # Safety
    /// As for [`multiply`](fn@multiply), with `N` vectors of columns.
    #[inline(always)]
    unsafe fn multiply<V: Vector<Scalar = T>, const N: usize>(self, rows: usize, depth: usize) {
        let mut row = 0;
        // SAFETY: each tile's rows are below `rows`; the rest is the caller's guarantee.
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

    /// Multiplies `M` rows from `row` on by the panel's `N` vectors of columns.
    ///
    /// # Safety
    /// As for [`multiply`](Self::multiply), with all `M` rows in A and C.
    #[inline(always)]
    unsafe fn tile<V: Vector<Scalar = T>, const M: usize, const N: usize>(
        self,
        row: usize,
        depth: usize,
    ) {
        // SAFETY: the caller guarantees that all `M` rows, `N` vectors of columns and `depth`
        // are inside the matrices, and the instruction set. Pointers into B beyond its last row
        // are made by `wrapping_add`, and are only prefetched or not used.
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
                    prefetch(b.wrapping_add(PREFETCH_ROWS * self.b_step + j * V::LANES));
                }
                let mut columns = [V::zero(); N];
                for (j, column) in columns.iter_mut().enumerate() {
                    *column = V::load(b.add(j * V::LANES));
                }
                let offset = self.a.column_offset(k);
                for (row, sums) in rows.iter().zip(&mut sums) {
                    let a = V::splat(*row.add(offset));
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
