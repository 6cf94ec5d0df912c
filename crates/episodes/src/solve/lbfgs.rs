//! Minimisation of smooth functions.

use std::collections::VecDeque;

use crate::vector::{add_scaled, dot};

/// Number of updates that approximate the Hessian.
const HISTORY: usize = 10;
/// Share of the decrease along the gradient that a step has to reach (Armijo's condition).
const SUFFICIENT: f64 = 1e-4;
/// Most halvings of a step.
const HALVINGS: usize = 40;

/// Minimises a smooth convex function by L-BFGS (Nocedal and Wright, Numerical Optimization,
/// algorithm 7.5), from `x` on, with steps that are halved until they decrease it enough.
///
/// `function` returns the value at its first argument and writes the gradient to its second one. It
/// ends when no element of the gradient is larger than `tolerance`, when rounding leaves nothing to
/// gain, or after `iterations`.
pub(crate) fn minimize(
    mut x: Vec<f64>,
    tolerance: f64,
    iterations: usize,
    mut function: impl FnMut(&[f64], &mut [f64]) -> f64,
) -> Vec<f64> {
    let mut gradient = vec![0.0; x.len()];
    let mut value = function(&x, &mut gradient);
    // Steps, changes of the gradient, and 1 over their products.
    let mut history = VecDeque::<(Vec<f64>, Vec<f64>, f64)>::new();
    for _ in 0..iterations {
        if gradient.iter().all(|g| g.abs() <= tolerance) {
            break;
        }
        let mut direction = descent(&gradient, &history);
        let mut slope = dot(&direction, &gradient);
        if slope >= 0.0 {
            // Rounding has spoilt the approximation.
            history.clear();
            direction = descent(&gradient, &history);
            slope = dot(&direction, &gradient);
        }
        if -slope <= f64::EPSILON * value.abs() {
            break;
        }
        let mut step = 1.0;
        let mut next_gradient = vec![0.0; x.len()];
        let mut tried = 0;
        let next = loop {
            let mut next = x.clone();
            add_scaled(&mut next, step, &direction);
            let next_value = function(&next, &mut next_gradient);
            if next_value <= value + SUFFICIENT * step * slope {
                value = next_value;
                break Some(next);
            }
            tried += 1;
            if tried == HALVINGS {
                break None;
            }
            step /= 2.0;
        };
        let Some(next) = next else { break };
        let difference = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a - b).collect();
        let moved: Vec<f64> = difference(&next, &x);
        let changed: Vec<f64> = difference(&next_gradient, &gradient);
        let curvature = dot(&moved, &changed);
        if curvature > f64::EPSILON * dot(&changed, &changed) {
            if history.len() == HISTORY {
                history.pop_front();
            }
            history.push_back((moved, changed, curvature.recip()));
        }
        (x, gradient) = (next, next_gradient);
    }
    x
}

/// Minus the gradient, times the approximate inverse Hessian.
fn descent(gradient: &[f64], history: &VecDeque<(Vec<f64>, Vec<f64>, f64)>) -> Vec<f64> {
    let mut direction: Vec<f64> = gradient.iter().map(|g| -g).collect();
    let Some((moved, changed, inverse)) = history.back() else {
        // Nothing is known of the curvature: a first step of length 1 at most.
        let length = dot(&direction, &direction).sqrt().max(1.0);
        direction.iter_mut().for_each(|d| *d /= length);
        return direction;
    };
    let scale = dot(moved, changed) / dot(changed, changed);
    debug_assert!(*inverse > 0.0);
    let mut along = Vec::with_capacity(history.len());
    for (moved, changed, inverse) in history.iter().rev() {
        let a = inverse * dot(moved, &direction);
        add_scaled(&mut direction, -a, changed);
        along.push(a);
    }
    direction.iter_mut().for_each(|d| *d *= scale);
    for ((moved, changed, inverse), a) in history.iter().zip(along.into_iter().rev()) {
        let b = inverse * dot(changed, &direction);
        add_scaled(&mut direction, a - b, moved);
    }
    direction
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_minimum_of_an_ill_conditioned_quadratic_is_found() {
        let curvatures: Vec<f64> = (0..30).map(|i| 10f64.powf(i as f64 / 10.0)).collect();
        let mut calls = 0;
        let found = minimize(vec![0.0; 30], 1e-9, 1_000, |x, gradient| {
            calls += 1;
            let mut value = 0.0;
            for (i, curvature) in curvatures.iter().enumerate() {
                let off = x[i] - i as f64;
                value += curvature * off * off / 2.0;
                gradient[i] = curvature * off;
            }
            value
        });
        for (i, x) in found.iter().enumerate() {
            assert!((x - i as f64).abs() < 1e-8, "{found:?}");
        }
        assert!(calls < 400, "{calls}");
    }

    /// Rosenbrock's function is not convex, but its valley leads to the minimum.
    #[test]
    fn a_curved_valley_is_followed() {
        let found = minimize(vec![-1.2, 1.0], 1e-10, 1_000, |x, gradient| {
            let (a, b) = (1.0 - x[0], x[1] - x[0] * x[0]);
            gradient[0] = -2.0 * a - 400.0 * x[0] * b;
            gradient[1] = 200.0 * b;
            a * a + 100.0 * b * b
        });
        assert!((found[0] - 1.0).abs() < 1e-8 && (found[1] - 1.0).abs() < 1e-8, "{found:?}");
    }
}
