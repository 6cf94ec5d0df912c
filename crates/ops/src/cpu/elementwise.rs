//! Elementwise operations: activations, sums and products.

use rayon::prelude::*;

use super::buffer::filled;
use crate::{Activation, tensor::Real};

/// Elements of a task.
const CHUNK: usize = 1 << 14;

/// Returns the factor that an activation multiplies `x` by: 1 or `slope`.
///
/// A choice between constants compiles to a mask; one between products compiles to a branch,
/// which random signs mispredict.
#[inline(always)]
pub fn factor<T: Real>(x: T, slope: T) -> T {
    if x > T::zero() { T::one() } else { slope }
}

/// Returns `activation(x)`.
pub fn activate<T: Real>(x: &[T], activation: Activation) -> Vec<T> {
    let slope = T::from_f64(activation.slope());
    let mut y = vec![T::zero(); x.len()];
    y.par_chunks_mut(CHUNK)
        .zip(x.par_chunks(CHUNK))
        .for_each(|(y, x)| y.iter_mut().zip(x).for_each(|(y, &x)| *y = x * factor(x, slope)));
    y
}

/// Returns the input's gradient from the output `y` and its gradient `dy`: the output has the
/// input's sign.
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

/// Adds `from` to `to`, on all threads.
pub fn add_to<T: Real>(to: &mut [T], from: &[T]) {
    to.par_chunks_mut(CHUNK)
        .zip(from.par_chunks(CHUNK))
        .for_each(|(to, from)| to.iter_mut().zip(from).for_each(|(t, &f)| *t += f));
}

/// Returns `a + b`.
pub fn sum<T: Real>(a: &[T], b: &[T]) -> Vec<T> {
    zip(a, b, |a, b| a + b)
}

/// Returns `a · b`, element by element.
pub fn product<T: Real>(a: &[T], b: &[T]) -> Vec<T> {
    zip(a, b, |a, b| a * b)
}

fn zip<T: Real>(a: &[T], b: &[T], f: impl Fn(T, T) -> T + Sync) -> Vec<T> {
    assert_eq!(a.len(), b.len());
    // SAFETY: the three slices have one length, so that chunks of equal length cover all of it.
    unsafe {
        filled(a.len(), |to| {
            let inputs = a.par_chunks(CHUNK).zip(b.par_chunks(CHUNK));
            to.par_chunks_mut(CHUNK).zip(inputs).for_each(|(to, (a, b))| {
                for (to, (&a, &b)) in to.iter_mut().zip(a.iter().zip(b)) {
                    to.write(f(a, b));
                }
            });
        })
    }
}
