//! Linear equations with a symmetric positive definite matrix.

use crate::vector::dot;

/// Solves `A x = b` for each row `b` of `right`, in place, by Cholesky's decomposition of `a`
/// `[n, n]`, which is overwritten. Returns whether `a` was positive definite.
pub(crate) fn solve_spd(a: &mut [f64], n: usize, right: &mut [f64]) -> bool {
    for i in 0..n {
        for j in 0..=i {
            let sum = a[i * n + j] - dot(&a[i * n..][..j], &a[j * n..][..j]);
            if i != j {
                a[i * n + j] = sum / a[j * n + j];
            } else if sum > 0.0 {
                a[i * n + i] = sum.sqrt();
            } else {
                return false;
            }
        }
    }
    for x in right.chunks_exact_mut(n) {
        for i in 0..n {
            x[i] = (x[i] - dot(&a[i * n..][..i], &x[..i])) / a[i * n + i];
        }
        for i in (0..n).rev() {
            let later: f64 = (i + 1..n).map(|j| a[j * n + i] * x[j]).sum();
            x[i] = (x[i] - later) / a[i * n + i];
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equations_are_solved() {
        let a = [4.0, 2.0, 0.6, 2.0, 5.0, 1.0, 0.6, 1.0, 3.0];
        let expected = [1.0, -2.0, 0.5, 0.0, 3.0, -1.0];
        let mut right: Vec<f64> = expected
            .chunks_exact(3)
            .flat_map(|x| a.chunks_exact(3).map(|row| dot(row, x)))
            .collect();
        assert!(solve_spd(&mut a.clone(), 3, &mut right));
        for (x, expected) in right.iter().zip(expected) {
            assert!((x - expected).abs() < 1e-12, "{right:?}");
        }
        assert!(!solve_spd(&mut [1.0, 2.0, 2.0, 1.0], 2, &mut [0.0, 0.0]));
    }
}
