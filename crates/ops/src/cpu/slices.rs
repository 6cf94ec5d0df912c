//! Sums over images, which tasks share.

use std::ops::Range;

use rayon::prelude::*;

use super::buffer::{Filling, filled};
use super::elementwise::add_to;
use crate::tensor::Real;

/// Tasks that there should be at least.
const TASKS: usize = 8;

/// A sum over `batch` images of `size` numbers, which has `parts`. `work` is given some images,
/// a part, a place, and where in it the images' numbers begin, of which it writes that part.
///
/// Where parts are few, images are divided among tasks, too, whose numbers are added in order.
///
/// # Safety
/// `work` writes all numbers of its part.
pub unsafe fn sum_over_images<T: Real>(
    batch: usize,
    parts: usize,
    size: usize,
    work: impl Fn(Range<usize>, usize, Filling<T>, usize) + Sync,
) -> Vec<T> {
    if batch == 0 {
        return vec![T::zero(); size];
    }
    let slice = batch.div_ceil(TASKS.div_ceil(parts).min(batch));
    let slices = batch.div_ceil(slice);
    // SAFETY: tasks write all parts of all slices.
    let mut numbers = unsafe {
        filled(slices * size, |to| {
            (0..slices * parts).into_par_iter().for_each(|task| {
                let (s, part) = (task / parts, task % parts);
                work(s * slice..((s + 1) * slice).min(batch), part, to, s * size);
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
