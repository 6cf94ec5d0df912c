//! Sums over images, in a fixed order whatever the number of threads.

use std::ops::Range;

use rayon::prelude::*;

use super::buffer::{SharedOutput, filled_by_tasks};
use super::elementwise::add_to;
use crate::tensor::Real;

/// Minimum number of tasks.
const MIN_TASKS: usize = 8;

/// Returns a sum of `size` numbers over `batch` images, which is computed in `parts`.
///
/// `work(images, part, output, start)` writes the sum over `images` of one part to `output`,
/// where the numbers of all parts begin at `start`. Where there are few parts, images are divided
/// among tasks, too, whose sums are added in order.
///
/// # Safety
/// Together, the calls of `work` for all parts must initialise all numbers from `start` on.
pub unsafe fn sum_over_images<T: Real>(
    batch: usize,
    parts: usize,
    size: usize,
    work: impl Fn(Range<usize>, usize, SharedOutput<T>, usize) + Sync,
) -> Vec<T> {
    if batch == 0 {
        return vec![T::zero(); size];
    }
    let slice = batch.div_ceil(MIN_TASKS.div_ceil(parts).min(batch));
    let slices = batch.div_ceil(slice);
    // SAFETY: there is a task for each part of each slice; the caller guarantees that together
    // they initialise all numbers.
    let mut numbers = unsafe {
        filled_by_tasks(slices * size, |output| {
            (0..slices * parts).into_par_iter().for_each(|task| {
                let (slice_index, part) = (task / parts, task % parts);
                let images = slice_index * slice..((slice_index + 1) * slice).min(batch);
                work(images, part, output, slice_index * size);
            });
        })
    };
    if slices > 1 {
        let (sum, others) = numbers.split_at_mut(size);
        others.chunks_exact(size).for_each(|numbers| add_to(sum, numbers));
        numbers.truncate(size);
        numbers.shrink_to_fit();
    }
    numbers
}
