//! The inner loops of matrix products, one for each instruction set.
//!
//! Two shapes of loop suffice for a convolution. [`Kernels::outer`] sums outer products:
//! `A [K, MR]` times `B [K, NR]`, both packed so that a step reads two short runs.
//! [`Kernels::inner`] takes inner products of rows that are contiguous along the sum.

use crate::tensor::Real;

/// Rows of `A` that an inner-product tile takes.
pub const INNER_A: usize = 4;
/// Rows of `B` that an inner-product tile takes.
pub const INNER_B: usize = 6;
/// The largest tile, `MR · NR`, of any instruction set.
pub const LARGEST_TILE: usize = 384;

/// Sums outer products of packed rows.
type Outer<T> = unsafe fn(&[T], &[T], &mut [T]);
/// Adds inner products of rows.
type Inner<T> = unsafe fn([&[T]; INNER_A], [&[T]; INNER_B], &mut [[T; INNER_B]; INNER_A]);

/// The inner loops for one number type and instruction set.
#[derive(Clone, Copy)]
pub struct Kernels<T> {
    /// The instruction set's name.
    pub name: &'static str,
    /// Rows of an outer-product tile.
    pub rows: usize,
    /// Columns of an outer-product tile.
    pub columns: usize,
    /// `c [rows, columns] = Σ_k a[k, rows] ⊗ b[k, columns]`.
    outer: Outer<T>,
    /// `c [4, 6] += a_i · b_j`, rows of equal length.
    inner: Inner<T>,
}

impl<T: Real> Kernels<T> {
    /// Sums outer products of the packed `a [K, rows]` and `b [K, columns]` into
    /// `c [rows, columns]`.
    pub fn outer(&self, a: &[T], b: &[T], c: &mut [T]) {
        assert_eq!(a.len() / self.rows, b.len() / self.columns);
        assert_eq!(c.len(), self.rows * self.columns);
        // SAFETY: the lengths fit (above), and the instruction set was detected.
        unsafe { (self.outer)(a, b, c) }
    }

    /// Adds the inner products of each row of `a` with each of `b` to `c`.
    pub fn inner(&self, a: [&[T]; INNER_A], b: [&[T]; INNER_B], c: &mut [[T; INNER_B]; INNER_A]) {
        let length = a[0].len();
        assert!(a.iter().chain(&b).all(|row| row.len() == length));
        // SAFETY: all rows have one length (above), and the instruction set was detected.
        unsafe { (self.inner)(a, b, c) }
    }

    /// Plain loops.
    pub fn portable() -> Self {
        Self {
            name: "portable",
            rows: 4,
            columns: 16,
            outer: outer_portable::<T, 4, 16>,
            inner: inner_portable,
        }
    }
}

/// The instruction set of the kernels for `f32` on this machine: `avx512`, `avx2` or `portable`.
///
/// It decides how sums are rounded: results agree bit for bit only where it is the same.
pub fn instruction_set() -> &'static str {
    kernels::<f32>().name
}

/// The fastest loops that this machine has for `T`.
pub fn kernels<T: Real>() -> Kernels<T> {
    #[cfg(target_arch = "x86_64")]
    if std::any::TypeId::of::<T>() == std::any::TypeId::of::<f32>() {
        let best = x86::detected().last().copied();
        if let Some(kernels) = best {
            // SAFETY: T is f32, so both are the same type.
            return unsafe { std::mem::transmute_copy::<Kernels<f32>, Kernels<T>>(&kernels) };
        }
    }
    Kernels::portable()
}

unsafe fn outer_portable<T: Real, const ROWS: usize, const COLUMNS: usize>(
    a: &[T],
    b: &[T],
    c: &mut [T],
) {
    let mut sums = [[T::zero(); COLUMNS]; ROWS];
    for (a, b) in a.chunks_exact(ROWS).zip(b.chunks_exact(COLUMNS)) {
        for (sums, &a) in sums.iter_mut().zip(a) {
            for (sum, &b) in sums.iter_mut().zip(b) {
                *sum += a * b;
            }
        }
    }
    for (c, sums) in c.chunks_exact_mut(COLUMNS).zip(&sums) {
        c.copy_from_slice(sums);
    }
}

unsafe fn inner_portable<T: Real>(
    a: [&[T]; INNER_A],
    b: [&[T]; INNER_B],
    c: &mut [[T; INNER_B]; INNER_A],
) {
    const LANES: usize = 8;
    for (c, a) in c.iter_mut().zip(a) {
        for (c, b) in c.iter_mut().zip(b) {
            let mut lanes = [T::zero(); LANES];
            let (a_chunks, b_chunks) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
            let rest = a_chunks.remainder().iter().zip(b_chunks.remainder());
            let rest: T = rest.map(|(&a, &b)| a * b).sum();
            for (a, b) in a_chunks.zip(b_chunks) {
                for (lane, (&a, &b)) in lanes.iter_mut().zip(a.iter().zip(b)) {
                    *lane += a * b;
                }
            }
            *c += lanes.into_iter().sum::<T>() + rest;
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{INNER_A, INNER_B, Kernels};
    use std::arch::x86_64::*;

    /// The instruction sets of this machine, slowest first.
    pub fn detected() -> &'static [Kernels<f32>] {
        const AVX2: Kernels<f32> =
            Kernels { name: "avx2", rows: 4, columns: 24, outer: outer_avx2, inner: inner_avx2 };
        const AVX512: Kernels<f32> = Kernels {
            name: "avx512",
            rows: 8,
            columns: 48,
            outer: outer_avx512,
            inner: inner_avx512,
        };
        static ALL: [Kernels<f32>; 2] = [AVX2, AVX512];
        if !(is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")) {
            &[]
        } else if !is_x86_feature_detected!("avx512f") {
            &ALL[..1]
        } else {
            &ALL
        }
    }

    /// Both loops for vectors of `$lanes` floats, whose operations are the given intrinsics.
    macro_rules! loops {
        (
            $feature:literal, $lanes:literal, $rows:literal, $outer:ident, $inner:ident,
            $zero:ident, $load:ident, $broadcast:ident, $fma:ident, $store:ident
        ) => {
            #[target_feature(enable = $feature)]
            fn $outer(a: &[f32], b: &[f32], c: &mut [f32]) {
                let mut sums = [[$zero(); 3]; $rows];
                for (a, b) in a.chunks_exact($rows).zip(b.chunks_exact(3 * $lanes)) {
                    // SAFETY: `b` holds three vectors.
                    let b = unsafe {
                        let at = b.as_ptr();
                        [$load(at), $load(at.add($lanes)), $load(at.add(2 * $lanes))]
                    };
                    for i in 0..$rows {
                        let a = $broadcast(a[i]);
                        for j in 0..3 {
                            sums[i][j] = $fma(a, b[j], sums[i][j]);
                        }
                    }
                }
                for (c, sums) in c.chunks_exact_mut(3 * $lanes).zip(sums) {
                    for (c, sum) in c.chunks_exact_mut($lanes).zip(sums) {
                        // SAFETY: `c` holds one vector.
                        unsafe { $store(c.as_mut_ptr(), sum) };
                    }
                }
            }

            #[target_feature(enable = $feature)]
            fn $inner(
                a: [&[f32]; INNER_A],
                b: [&[f32]; INNER_B],
                c: &mut [[f32; INNER_B]; INNER_A],
            ) {
                let length = a[0].len();
                // In halves where registers do not hold all sums.
                const AT_ONCE: usize = if $lanes == 16 { 6 } else { 3 };
                for start in (0..INNER_B).step_by(AT_ONCE) {
                    let mut sums = [[$zero(); AT_ONCE]; INNER_A];
                    for n in (0..length / $lanes).map(|n| n * $lanes) {
                        // SAFETY: every row holds a whole vector at `n`.
                        let va = a.map(|row| unsafe { $load(row.as_ptr().add(n)) });
                        for j in 0..AT_ONCE {
                            let vb = unsafe { $load(b[start + j].as_ptr().add(n)) };
                            for i in 0..INNER_A {
                                sums[i][j] = $fma(va[i], vb, sums[i][j]);
                            }
                        }
                    }
                    for i in 0..INNER_A {
                        for j in 0..AT_ONCE {
                            let mut lanes = [0f32; $lanes];
                            // SAFETY: `lanes` holds one vector.
                            unsafe { $store(lanes.as_mut_ptr(), sums[i][j]) };
                            let mut sum: f32 = lanes.iter().sum();
                            for n in length / $lanes * $lanes..length {
                                sum += a[i][n] * b[start + j][n];
                            }
                            c[i][start + j] += sum;
                        }
                    }
                }
            }
        };
    }

    loops!(
        "avx2,fma",
        8,
        4,
        outer_avx2,
        inner_avx2,
        _mm256_setzero_ps,
        _mm256_loadu_ps,
        _mm256_set1_ps,
        _mm256_fmadd_ps,
        _mm256_storeu_ps
    );
    loops!(
        "avx512f",
        16,
        8,
        outer_avx512,
        inner_avx512,
        _mm512_setzero_ps,
        _mm512_loadu_ps,
        _mm512_set1_ps,
        _mm512_fmadd_ps,
        _mm512_storeu_ps
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(count: usize, seed: u64) -> Vec<f32> {
        use rand::Rng;
        let mut rng = fewshot_seed::stream(seed, "tile", &[]);
        (0..count).map(|_| rng.random_range(-1.0..1.0)).collect()
    }

    fn check(kernels: Kernels<f32>) {
        for length in [0, 1, 7, 16, 27, 100] {
            let (rows, columns) = (kernels.rows, kernels.columns);
            assert!(rows * columns <= LARGEST_TILE);
            let (a, b) = (numbers(length * rows, 1), numbers(length * columns, 2));
            let mut c = vec![9.0; rows * columns];
            kernels.outer(&a, &b, &mut c);
            for i in 0..rows {
                for j in 0..columns {
                    let product =
                        |k: usize| f64::from(a[k * rows + i]) * f64::from(b[k * columns + j]);
                    let expected: f64 = (0..length).map(product).sum();
                    assert!((f64::from(c[i * columns + j]) - expected).abs() < 1e-5);
                }
            }
            let (a, b) = (numbers(length * INNER_A, 3), numbers(length * INNER_B, 4));
            let a: [&[f32]; INNER_A] = std::array::from_fn(|i| &a[i * length..][..length]);
            let b: [&[f32]; INNER_B] = std::array::from_fn(|j| &b[j * length..][..length]);
            let mut c = [[2.0; INNER_B]; INNER_A];
            kernels.inner(a, b, &mut c);
            for i in 0..INNER_A {
                for j in 0..INNER_B {
                    let product = |k: usize| f64::from(a[i][k]) * f64::from(b[j][k]);
                    let expected: f64 = 2.0 + (0..length).map(product).sum::<f64>();
                    assert!((f64::from(c[i][j]) - expected).abs() < 1e-5);
                }
            }
        }
    }

    #[test]
    fn every_instruction_set_of_this_machine_is_right() {
        check(Kernels::portable());
        #[cfg(target_arch = "x86_64")]
        x86::detected().iter().for_each(|&kernels| check(kernels));
    }
}
