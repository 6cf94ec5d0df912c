//! The transforms of F(3×3, 3×3), in one dimension.
//!
//! Three outputs of a three-tap filter take five products: those of polynomials evaluated at
//! 0, 1, -1/2, -2 and ∞ (Lavin & Gray, "Fast Algorithms for Convolutional Neural Networks",
//! 2015; the points after Barabasz et al., "Error analysis and improving the accuracy of
//! Winograd convolution", 2018: these four give the smallest errors of those tried,
//! 1.6 times those of direct convolution). Two-dimensional transforms apply them to columns,
//! then to rows.

use candle_core::WithDType as _;

use crate::cpu::simd::Vector;

/// Side of a transformed tile.
pub const SIDE: usize = 5;
/// Products of a tile, the points at which polynomials are evaluated.
pub const POINTS: usize = SIDE * SIDE;
/// Side of a tile of outputs, and of the kernel.
pub const OUT: usize = 3;

/// Returns a constant in all lanes.
///
/// # Safety
/// The vector's instruction set must be available.
#[inline(always)]
unsafe fn number<V: Vector>(value: f64) -> V {
    // SAFETY: the caller guarantees the instruction set.
    unsafe { V::splat(V::Scalar::from_f64(value)) }
}

/// A linear transform of `N` numbers to `M`, along one axis.
pub trait Transform<V: Vector, const N: usize, const M: usize> {
    /// Applies the transform.
    ///
    /// # Safety
    /// The vector's instruction set must be available.
    unsafe fn apply(x: [V; N]) -> [V; M];
}

/// `Bᵀ`: five inputs to five points.
pub struct Input;
impl<V: Vector> Transform<V, SIDE, SIDE> for Input {
    #[inline(always)]
    unsafe fn apply([a, b, c, d, e]: [V; SIDE]) -> [V; SIDE] {
        // SAFETY: the caller guarantees the instruction set.
        unsafe {
            let (two, three, five) = (number::<V>(2.0), number::<V>(3.0), number::<V>(5.0));
            let minus_two = number::<V>(-2.0);
            let (b_c, a_d, b_d) = (b.sub(c), a.sub(d), b.add(d));
            [
                a_d.fma(two, b_c.mul(three)),
                b_d.fma(two, c.mul(five)),
                b.fma(minus_two, c.add(d)),
                d.fma(minus_two, b.add(c)),
                e.sub(b).fma(two, d.sub(c).mul(three)),
            ]
        }
    }
}

/// `Aᵀ`: five products to three outputs.
pub struct Outputs;
impl<V: Vector> Transform<V, SIDE, OUT> for Outputs {
    #[inline(always)]
    unsafe fn apply([a, b, c, d, e]: [V; SIDE]) -> [V; OUT] {
        // SAFETY: the caller guarantees the instruction set.
        unsafe {
            [
                a.add(b).add(c.add(d)),
                c.fma(number(-0.5), d.fma(number(-2.0), b)),
                c.fma(number(0.25), d.fma(number(4.0), b.add(e))),
            ]
        }
    }
}

/// `A`: the gradients of three outputs to those of five products.
pub struct OutputGradient;
impl<V: Vector> Transform<V, OUT, SIDE> for OutputGradient {
    #[inline(always)]
    unsafe fn apply([a, b, c]: [V; OUT]) -> [V; SIDE] {
        // SAFETY: the caller guarantees the instruction set.
        unsafe {
            [
                a,
                a.add(b).add(c),
                c.fma(number(0.25), b.fma(number(-0.5), a)),
                c.fma(number(4.0), b.fma(number(-2.0), a)),
                c,
            ]
        }
    }
}

/// `G`: three taps to five points.
pub struct Taps;
impl<V: Vector> Transform<V, OUT, SIDE> for Taps {
    #[inline(always)]
    unsafe fn apply([a, b, c]: [V; OUT]) -> [V; SIDE] {
        // SAFETY: the caller guarantees the instruction set.
        unsafe {
            let (half, ninth) = (number::<V>(0.5), number::<V>(1.0 / 9.0));
            let (two_ninths, four_ninths) = (number::<V>(2.0 / 9.0), number::<V>(4.0 / 9.0));
            let four = a.mul(four_ninths);
            [
                a.mul(half),
                a.add(b).add(c).mul(ninth),
                c.fma(two_ninths, four.add(four).sub(b.mul(four_ninths))),
                a.fma(number(1.0 / 18.0), c.mul(two_ninths).sub(b.mul(ninth))),
                c.mul(half),
            ]
        }
    }
}

/// `Gᵀ`: the gradients of five points to those of three taps.
pub struct TapGradient;
impl<V: Vector> Transform<V, SIDE, OUT> for TapGradient {
    #[inline(always)]
    unsafe fn apply([a, b, c, d, e]: [V; SIDE]) -> [V; OUT] {
        // SAFETY: the caller guarantees the instruction set.
        unsafe {
            let (half, ninth) = (number::<V>(0.5), number::<V>(1.0 / 9.0));
            let (two_ninths, four_ninths) = (number::<V>(2.0 / 9.0), number::<V>(4.0 / 9.0));
            let first = a.fma(half, c.mul(number(8.0 / 9.0)));
            [
                d.fma(number(1.0 / 18.0), b.fma(ninth, first)),
                b.sub(d).fma(ninth, V::zero().sub(c.mul(four_ninths))),
                e.fma(half, b.fma(ninth, c.add(d).mul(two_ninths))),
            ]
        }
    }
}

/// Applies a transform to the columns, then to the rows of `x [N, N]`, giving `[M, M]`.
///
/// # Safety
/// The vector's instruction set must be available.
#[inline(always)]
pub unsafe fn transform_2d<V: Vector, R: Transform<V, N, M>, const N: usize, const M: usize>(
    x: &[[V; N]; N],
) -> [[V; M]; M] {
    // SAFETY: the caller guarantees the instruction set.
    unsafe {
        let zero = V::zero();
        let mut between = [[zero; N]; M];
        for j in 0..N {
            let mut column = [zero; N];
            for i in 0..N {
                column[i] = x[i][j];
            }
            let column = R::apply(column);
            for i in 0..M {
                between[i][j] = column[i];
            }
        }
        let mut result = [[zero; M]; M];
        for i in 0..M {
            result[i] = R::apply(between[i]);
        }
        result
    }
}
