use crate::vector::{add_scaled, dot};

/// A row whose part outside the span of those before it is smaller than this share of it
/// lies inside: the rest is rounding, and has no direction.
const INDEPENDENT: f64 = 1e-8;

/// Short coordinates for a few long vectors, in which all their inner products stay the same.
///
/// Gradient descent on linear scores never leaves the span of the examples and the initial
/// weight, and sees both through inner products alone. So it may as well run on coordinates
/// along an orthonormal basis of that span: S + 1 numbers for a support set of S, instead
/// of D, and the same result up to rounding.
///
/// The basis is that of the examples. The part of a weight outside their span is at right
/// angles to all of them and only ever scaled, so one more coordinate tells it: its length.
pub(crate) struct Span {
    /// `[rank, dim]`, orthonormal rows.
    basis: Vec<f64>,
    dim: usize,
    width: usize,
}

impl Span {
    /// The span of the examples `rows` `[S, dim]`, and their coordinates
    /// `[S, min(S, dim) + 1]` in it.
    pub(crate) fn new(rows: &[f64], dim: usize) -> (Self, Vec<f64>) {
        let most = (rows.len() / dim).min(dim);
        let mut span = Self { basis: Vec::new(), dim, width: most + 1 };
        let mut coordinates = Vec::with_capacity(rows.len() / dim * span.width);
        for row in rows.chunks_exact(dim) {
            let (mut inside, mut outside) = span.split(row);
            let length = dot(&outside, &outside).sqrt();
            if inside.len() < most && length > INDEPENDENT * dot(row, row).sqrt() {
                outside.iter_mut().for_each(|value| *value /= length);
                span.basis.append(&mut outside);
                inside.push(length);
            }
            inside.resize(span.width, 0.0);
            coordinates.append(&mut inside);
        }
        (span, coordinates)
    }

    /// The coordinates `[width]` of a weight, and the direction `[dim]` of its part outside
    /// the span.
    pub(crate) fn shorten(&self, weight: &[f64]) -> (Vec<f64>, Vec<f64>) {
        let (mut short, mut outside) = self.split(weight);
        let length = dot(&outside, &outside).sqrt();
        if length > 0.0 {
            outside.iter_mut().for_each(|value| *value /= length);
        }
        short.resize(self.width - 1, 0.0);
        short.push(length);
        (short, outside)
    }

    /// The weight `[dim]` of which `short` `[width]` are the coordinates and `outside` `[dim]`
    /// is the direction outside the span.
    pub(crate) fn lengthen(&self, short: &[f64], mut outside: Vec<f64>) -> Vec<f64> {
        outside.iter_mut().for_each(|value| *value *= short[self.width - 1]);
        for (axis, &coordinate) in self.basis.chunks_exact(self.dim).zip(short) {
            add_scaled(&mut outside, coordinate, axis);
        }
        outside
    }

    /// The coordinates `[rank]` along the basis, and what they do not tell, `[dim]`, by
    /// modified Gram–Schmidt.
    fn split(&self, vector: &[f64]) -> (Vec<f64>, Vec<f64>) {
        let mut outside = vector.to_vec();
        let along = |axis| {
            let coordinate = dot(axis, &outside);
            add_scaled(&mut outside, -coordinate, axis);
            coordinate
        };
        let inside = self.basis.chunks_exact(self.dim).map(along).collect();
        (inside, outside)
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
            let (span, short) = Span::new(&rows, dim);
            let (short_weight, _) = span.shorten(&weight);
            let width = dim.min(ROWS) + 1;
            assert_eq!((short.len(), short_weight.len()), (ROWS * width, width));
            let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-9, "{dim}: {a} {b}");
            close(dot(&weight, &weight), dot(&short_weight, &short_weight));
            for (a, short_a) in rows.chunks(dim).zip(short.chunks(width)) {
                close(dot(a, &weight), dot(short_a, &short_weight));
                for (b, short_b) in rows.chunks(dim).zip(short.chunks(width)) {
                    close(dot(a, b), dot(short_a, short_b));
                }
            }
        }
    }

    #[test]
    fn shorten_and_back() {
        for dim in [1, 4, 30] {
            let (span, _) = Span::new(&rows(dim), dim);
            let weight: Vec<f64> = (0..dim).map(|i| (i as f64).cos()).collect();
            let (short, outside) = span.shorten(&weight);
            for (weight, back) in weight.iter().zip(span.lengthen(&short, outside)) {
                assert!((weight - back).abs() < 1e-12);
            }
        }
    }
}
