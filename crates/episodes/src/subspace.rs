//! Coordinates in the subspace that the support set spans.

use crate::vector::{add_scaled, dot};

/// A row whose part outside the span of the rows before it is smaller than this share of it counts
/// as inside: what is left is rounding error, and has no direction.
const INDEPENDENT: f64 = 1e-8;

/// The subspace spanned by the examples, in whose coordinates all inner products stay the same.
///
/// A linear classifier that a multiple of `‖w‖²` holds back lies in that span (the representer theorem).
/// Gradient descent on linear scores never leaves the span of the examples and the initial weight,
/// and depends on both through inner products alone. It can therefore run on coordinates along an
/// orthonormal basis of that span: S + 1 numbers for a support set of S, instead of D, with the
/// same result up to rounding.
///
/// The basis is that of the examples. The residual of a weight outside their span is orthogonal to
/// all of them and is only ever scaled, so that one more coordinate describes it: its length.
pub(crate) struct Subspace {
    /// `[rank, dim]`, orthonormal rows.
    basis: Vec<f64>,
    dim: usize,
    /// Number of coordinates: at most `rank` along the basis, and the residual's length.
    width: usize,
}

impl Subspace {
    /// Returns the span of the examples `rows` `[S, dim]`, and their coordinates
    /// `[S, min(S, dim) + 1]` in it.
    pub(crate) fn new(rows: &[f64], dim: usize) -> (Self, Vec<f64>) {
        let max_rank = (rows.len() / dim).min(dim);
        let mut subspace = Self { basis: Vec::new(), dim, width: max_rank + 1 };
        let mut coordinates = Vec::with_capacity(rows.len() / dim * subspace.width);
        for row in rows.chunks_exact(dim) {
            let (mut inside, mut residual) = subspace.decompose(row);
            let length = dot(&residual, &residual).sqrt();
            if inside.len() < max_rank && length > INDEPENDENT * dot(row, row).sqrt() {
                residual.iter_mut().for_each(|value| *value /= length);
                subspace.basis.append(&mut residual);
                inside.push(length);
            }
            inside.resize(subspace.width, 0.0);
            coordinates.append(&mut inside);
        }
        (subspace, coordinates)
    }

    /// Returns the coordinates `[width]` of a weight, and the direction `[dim]` of its residual
    /// outside the subspace.
    pub(crate) fn project(&self, weight: &[f64]) -> (Vec<f64>, Vec<f64>) {
        let (mut coordinates, mut residual) = self.decompose(weight);
        let length = dot(&residual, &residual).sqrt();
        if length > 0.0 {
            residual.iter_mut().for_each(|value| *value /= length);
        }
        coordinates.resize(self.width - 1, 0.0);
        coordinates.push(length);
        (coordinates, residual)
    }

    /// Returns the weight `[dim]` with these `coordinates` `[width]`, where `residual` `[dim]` is
    /// the direction of its residual outside the subspace.
    pub(crate) fn reconstruct(&self, coordinates: &[f64], mut residual: Vec<f64>) -> Vec<f64> {
        residual.iter_mut().for_each(|value| *value *= coordinates[self.width - 1]);
        for (axis, &coordinate) in self.basis.chunks_exact(self.dim).zip(coordinates) {
            add_scaled(&mut residual, coordinate, axis);
        }
        residual
    }

    /// Returns the vectors `[K, dim]` in the subspace with these `coordinates` `[K, width]`.
    pub(crate) fn vectors(&self, coordinates: &[f64]) -> Vec<f64> {
        let inside = coordinates.chunks_exact(self.width);
        inside.flat_map(|inside| self.reconstruct(inside, vec![0.0; self.dim])).collect()
    }

    /// Returns the coordinates `[rank]` along the basis, and the residual `[dim]`, by modified
    /// Gram–Schmidt.
    fn decompose(&self, vector: &[f64]) -> (Vec<f64>, Vec<f64>) {
        let mut residual = vector.to_vec();
        let along = |axis| {
            let coordinate = dot(axis, &residual);
            add_scaled(&mut residual, -coordinate, axis);
            coordinate
        };
        let inside = self.basis.chunks_exact(self.dim).map(along).collect();
        (inside, residual)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROWS: usize = 7;

    /// Independent rows, one twice, one almost twice and one zero.
    fn rows(dim: usize) -> Vec<f64> {
        let wave = |k: usize| (0..dim).map(move |i| ((k * dim + i) as f64 * 0.7).sin());
        let mut rows: Vec<f64> = (0..3).flat_map(wave).chain(wave(1)).collect();
        rows.extend(wave(1).map(|value| value * (1.0 + 1e-15)));
        rows.extend(vec![0.0; dim]);
        rows.extend(wave(3));
        rows
    }

    #[test]
    fn inner_products_stay() {
        for dim in [1, 2, 3, 5, ROWS, 16, 64] {
            let rows = rows(dim);
            let weight: Vec<f64> = (0..dim).map(|i| (i as f64).cos()).collect();
            let (subspace, coordinates) = Subspace::new(&rows, dim);
            let (projected, _) = subspace.project(&weight);
            let width = dim.min(ROWS) + 1;
            assert_eq!((coordinates.len(), projected.len()), (ROWS * width, width));
            let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-9, "{dim}: {a} {b}");
            close(dot(&weight, &weight), dot(&projected, &projected));
            for (a, coordinates_a) in rows.chunks(dim).zip(coordinates.chunks(width)) {
                close(dot(a, &weight), dot(coordinates_a, &projected));
                for (b, coordinates_b) in rows.chunks(dim).zip(coordinates.chunks(width)) {
                    close(dot(a, b), dot(coordinates_a, coordinates_b));
                }
            }
        }
    }

    #[test]
    fn projected_and_reconstructed() {
        for dim in [1, 4, 30] {
            let (subspace, _) = Subspace::new(&rows(dim), dim);
            let weight: Vec<f64> = (0..dim).map(|i| (i as f64).cos()).collect();
            let (coordinates, residual) = subspace.project(&weight);
            for (weight, back) in weight.iter().zip(subspace.reconstruct(&coordinates, residual)) {
                assert!((weight - back).abs() < 1e-12);
            }
        }
    }
}
