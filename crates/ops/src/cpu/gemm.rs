//! The matrix product of the `gemm` crate, on one thread: callers divide the work, so that the
//! order of each sum never depends on the number of threads.

use gemm::Parallelism;

use crate::tensor::Real;

/// A borrowed row-major matrix, or the transpose of one.
#[derive(Clone, Copy)]
pub struct Matrix<'a, T> {
    data: &'a [T],
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
}

impl<'a, T> Matrix<'a, T> {
    /// Views row-major `data` as `[rows, columns]`.
    pub fn new(data: &'a [T], rows: usize, columns: usize) -> Self {
        assert_eq!(data.len(), rows * columns);
        Self { data, rows, columns, row_stride: columns, column_stride: 1 }
    }

    /// Returns the transpose, of the same elements.
    pub fn transposed(self) -> Self {
        Self {
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
            ..self
        }
    }
}

/// Computes `out = a · b`, or `out += a · b` if `accumulate`; `out` is row-major
/// `[a.rows, b.columns]`.
pub fn multiply<T: Real>(out: &mut [T], a: Matrix<T>, b: Matrix<T>, accumulate: bool) {
    assert_eq!(a.columns, b.rows);
    assert_eq!(out.len(), a.rows * b.columns);
    assert_eq!(a.data.len(), a.rows * a.columns);
    assert_eq!(b.data.len(), b.rows * b.columns);
    // SAFETY: each matrix covers its slice exactly (checked above), with strides that
    // address every element once; `out` is borrowed mutably, so nothing overlaps it.
    unsafe {
        gemm::gemm(
            a.rows,
            b.columns,
            a.columns,
            out.as_mut_ptr(),
            1,
            b.columns as isize,
            accumulate,
            a.data.as_ptr(),
            a.column_stride as isize,
            a.row_stride as isize,
            b.data.as_ptr(),
            b.column_stride as isize,
            b.row_stride as isize,
            T::one(),
            T::one(),
            false,
            false,
            false,
            Parallelism::None,
        )
    }
}
