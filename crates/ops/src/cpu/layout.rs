//! Conversion between planes by channel and channels-last images.

use rayon::prelude::*;

use crate::tensor::Real;

/// Side of the blocks that are transposed at a time.
const BLOCK: usize = 16;

/// Exchanges the inner two axes of `x [B, rows, columns]`.
pub fn exchange<T: Real>(x: &[T], rows: usize, columns: usize) -> Vec<T> {
    let matrix = (rows * columns).max(1);
    let mut y = vec![T::zero(); x.len()];
    y.par_chunks_mut(matrix).zip(x.par_chunks(matrix)).for_each(|(y, x)| {
        for top in (0..rows).step_by(BLOCK) {
            for left in (0..columns).step_by(BLOCK) {
                for row in top..(top + BLOCK).min(rows) {
                    for column in left..(left + BLOCK).min(columns) {
                        y[column * rows + row] = x[row * columns + column];
                    }
                }
            }
        }
    });
    y
}
