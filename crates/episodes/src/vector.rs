//! Vector operations.

/// Number of independent partial sums, which allow the compiler to vectorise.
const LANES: usize = 8;

/// The smallest norm that [`normalize`] divides by, as in PyTorch's `F.normalize`.
pub(crate) const MIN_NORM: f64 = 1e-12;

/// Returns `a · b` of two slices of equal length.
pub(crate) fn dot(a: &[f64], b: &[f64]) -> f64 {
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    let mut sums = [0.0; LANES];
    for (a, b) in a.iter().zip(b) {
        for lane in 0..LANES {
            sums[lane] += a[lane] * b[lane];
        }
    }
    let rest: f64 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    sums.iter().sum::<f64>() + rest
}

/// Returns `‖a - b‖²` of two slices of equal length.
///
/// It is computed in single precision, because raw images are long and only the order of distances
/// matters.
pub(crate) fn squared_distance(a: &[f32], b: &[f32]) -> f32 {
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    let mut sums = [0.0; LANES];
    for (a, b) in a.iter().zip(b) {
        for lane in 0..LANES {
            let difference = a[lane] - b[lane];
            sums[lane] += difference * difference;
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| (a - b) * (a - b)).sum();
    sums.iter().sum::<f32>() + rest
}

/// Adds `factor · from` to `to`.
pub(crate) fn add_scaled(to: &mut [f64], factor: f64, from: &[f64]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to += factor * from;
    }
}

/// Returns the norm of `a`, at least [`MIN_NORM`].
pub(crate) fn clamped_norm(a: &[f64]) -> f64 {
    dot(a, a).sqrt().max(MIN_NORM)
}

/// Divides `a` by its norm; zero stays zero.
pub(crate) fn normalize(a: &mut [f64]) {
    let norm = clamped_norm(a);
    a.iter_mut().for_each(|a| *a /= norm);
}

/// Returns `a` in double precision.
pub(crate) fn widen(a: &[f32]) -> Vec<f64> {
    a.iter().copied().map(f64::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_counts_every_element() {
        for n in 0..40 {
            let a: Vec<f64> = (0..n).map(|i| i as f64 - 7.0).collect();
            let b: Vec<f64> = (0..n).map(|i| 3.0 - 2.0 * i as f64).collect();
            let expected: f64 = (0..n).map(|i| a[i] * b[i]).sum();
            assert_eq!(dot(&a, &b), expected);
            let narrow = |v: &[f64]| v.iter().map(|&v| v as f32).collect::<Vec<_>>();
            let expected: f64 = (0..n).map(|i| (a[i] - b[i]).powi(2)).sum();
            assert_eq!(f64::from(squared_distance(&narrow(&a), &narrow(&b))), expected);
        }
    }

    #[test]
    fn zero_has_no_direction() {
        let mut zero = [0.0; 3];
        normalize(&mut zero);
        assert_eq!(zero, [0.0; 3]);
    }
}
