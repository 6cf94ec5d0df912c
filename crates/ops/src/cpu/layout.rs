//! From planes to channels last, and back.

use rayon::prelude::*;

use crate::tensor::Real;

/// Side of the squares that are exchanged at a time.
const SQUARE: usize = 16;

/// Exchanges the inner two axes of `x [B, rows, columns]`.
pub fn exchange<T: Real>(x: &[T], rows: usize, columns: usize) -> Vec<T> {
    let matrix = (rows * columns).max(1);
    let mut y = vec![T::zero(); x.len()];
    y.par_chunks_mut(matrix).zip(x.par_chunks(matrix)).for_each(|(y, x)| {
        for top in (0..rows).step_by(SQUARE) {
            for left in (0..columns).step_by(SQUARE) {
                for row in top..(top + SQUARE).min(rows) {
                    for column in left..(left + SQUARE).min(columns) {
                        y[column * rows + row] = x[row * columns + column];
                    }
                }
            }
        }
    });
    y
}
