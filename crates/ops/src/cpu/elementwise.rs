//! Activations.

use rayon::prelude::*;

use super::buffer::filled;
use crate::{Activation, tensor::Real};

/// Elements a task.
const CHUNK: usize = 1 << 14;

/// What an activation multiplies `x` by: a choice between constants, which compiles to a
/// mask, where a choice between products compiles to a branch that random signs mispredict.
#[inline(always)]
pub fn factor<T: Real>(x: T, slope: T) -> T {
    if x > T::zero() { T::one() } else { slope }
}

/// `activation(x)`.
pub fn activate<T: Real>(x: &[T], activation: Activation) -> Vec<T> {
    let slope = T::from_f64(activation.slope());
    let mut y = vec![T::zero(); x.len()];
    y.par_chunks_mut(CHUNK)
        .zip(x.par_chunks(CHUNK))
        .for_each(|(y, x)| y.iter_mut().zip(x).for_each(|(y, &x)| *y = x * factor(x, slope)));
    y
}

/// Gradient of the input from that of the output; the output's sign tells the branch.
pub fn activation_gradient<T: Real>(y: &[T], dy: &[T], activation: Activation) -> Vec<T> {
    let slope = T::from_f64(activation.slope());
    let mut dx = vec![T::zero(); y.len()];
    dx.par_chunks_mut(CHUNK).zip(y.par_chunks(CHUNK)).zip(dy.par_chunks(CHUNK)).for_each(
        |((dx, y), dy)| {
            for ((dx, &y), &dy) in dx.iter_mut().zip(y).zip(dy) {
                *dx = dy * factor(y, slope);
            }
        },
    );
    dx
}

/// `to += from`, on all threads.
pub fn add_to<T: Real>(to: &mut [T], from: &[T]) {
    to.par_chunks_mut(CHUNK)
        .zip(from.par_chunks(CHUNK))
        .for_each(|(to, from)| to.iter_mut().zip(from).for_each(|(t, &f)| *t += f));
}

/// `a + b`.
pub fn sum<T: Real>(a: &[T], b: &[T]) -> Vec<T> {
    zip(a, b, |a, b| a + b)
}

/// `a · b`, number by number.
pub fn product<T: Real>(a: &[T], b: &[T]) -> Vec<T> {
    zip(a, b, |a, b| a * b)
}

fn zip<T: Real>(a: &[T], b: &[T], f: impl Fn(T, T) -> T + Sync) -> Vec<T> {
    // SAFETY: chunks cover all numbers.
    unsafe {
        filled(a.len(), |to| {
            a.par_chunks(CHUNK).zip(b.par_chunks(CHUNK)).enumerate().for_each(|(i, (a, b))| {
                let to: *mut T = to.at(i * CHUNK, a.len());
                for (j, (&a, &b)) in a.iter().zip(b).enumerate() {
                    to.add(j).write(f(a, b));
                }
            });
        })
    }
}
