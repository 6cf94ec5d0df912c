//! Vectors of the instruction sets, chosen at run time.
//!
//! A kernel is written once, over any [`Vector`]; [`Real::run`]
//! compiles it for AVX-512, AVX2 and any machine, and runs the best that this one has.

use std::sync::LazyLock;

use crate::tensor::Real;

/// Several numbers that are computed with at once.
///
/// # Safety
/// All functions need the instruction set, which a [`SimdKernel`] has; pointers must be good for
/// [`LANES`](Self::LANES) numbers.
#[expect(clippy::missing_safety_doc, reason = "it is the same for all, see above")]
pub trait Vector: Copy {
    /// What it holds.
    type Scalar: Real;
    /// How many.
    const LANES: usize;
    /// Vectors side by side in a tile of a matrix product: as many as registers hold.
    const ABREAST: usize;

    /// Reads numbers that lie side by side.
    unsafe fn load(from: *const Self::Scalar) -> Self;
    /// Writes numbers side by side.
    unsafe fn store(self, to: *mut Self::Scalar);
    /// Loads numbers that lie `step` apart, below 2²⁷.
    unsafe fn gather(from: *const Self::Scalar, step: usize) -> Self;
    /// One number in all lanes.
    unsafe fn splat(value: Self::Scalar) -> Self;
    /// Zero in all lanes.
    #[inline(always)]
    unsafe fn zero() -> Self {
        // SAFETY: the caller's promise.
        unsafe { Self::splat(Self::Scalar::default()) }
    }
    /// The sum.
    unsafe fn add(self, other: Self) -> Self;
    /// The difference.
    unsafe fn sub(self, other: Self) -> Self;
    /// The product, lane by lane.
    unsafe fn mul(self, other: Self) -> Self;
    /// `self · a + b`, rounded once.
    unsafe fn fma(self, a: Self, b: Self) -> Self;
    /// `self` where `sign` is above zero, else `self · slope`.
    unsafe fn scale_below(self, sign: Self, slope: Self) -> Self;
}

/// Code that is compiled for each kind of vector. Everything it calls with vectors must be
/// `inline(always)`, so that it is compiled for the instruction set, too.
pub trait SimdKernel<T> {
    /// What it gives.
    type Output;
    /// Runs it.
    fn run<V: Vector<Scalar = T>>(self) -> Self::Output;
}

/// An instruction set that kernels are compiled for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    Portable,
    Avx2,
    Avx512,
}

const NAMES: [(&str, Level); 3] =
    [("portable", Level::Portable), ("avx2", Level::Avx2), ("avx512", Level::Avx512)];

/// The best that this machine has, or less if `FEWSHOT_INSTRUCTION_SET` says so.
static LEVEL: LazyLock<Level> = LazyLock::new(|| {
    let limit = std::env::var("FEWSHOT_INSTRUCTION_SET").unwrap_or_default();
    let limit = NAMES.iter().find(|(name, _)| *name == limit);
    detected().min(limit.map_or(Level::Avx512, |&(_, level)| level))
});

fn detected() -> Level {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
        let has_avx512 = is_x86_feature_detected!("avx512f");
        return if has_avx512 { Level::Avx512 } else { Level::Avx2 };
    }
    Level::Portable
}

/// The instruction set of the kernels for `f32` on this machine: `avx512`, `avx2` or `portable`.
///
/// It decides how sums are rounded: results agree bit for bit only where it is the same. The
/// environment variable `FEWSHOT_INSTRUCTION_SET` chooses a lesser one than the machine's, to
/// repeat results of another machine.
pub fn instruction_set() -> &'static str {
    NAMES.iter().find(|(_, level)| *level == *LEVEL).map_or("portable", |(name, _)| name)
}

/// Runs a kernel for `f32`.
pub(crate) fn run_f32<K: SimdKernel<f32>>(kernel: K) -> K::Output {
    match *LEVEL {
        // SAFETY: the instruction set was detected.
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => unsafe { x86::run_avx512(kernel) },
        // SAFETY: the instruction set was detected.
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => unsafe { x86::run_avx2(kernel) },
        _ => kernel.run::<Portable<f32, 8>>(),
    }
}

/// Runs a kernel for `f64`, which is there for gradient checks: plain loops.
pub(crate) fn run_f64<K: SimdKernel<f64>>(kernel: K) -> K::Output {
    kernel.run::<Portable<f64, 4>>()
}

/// Asks for the memory around a place, which need not exist.
#[inline(always)]
pub(crate) fn prefetch<T>(place: *const T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: it is a hint, which every processor of this kind takes.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(place.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = place;
}

/// Numbers in a vector of this machine.
pub(crate) fn lanes<T: Real>() -> usize {
    struct Lanes;
    impl<T> SimdKernel<T> for Lanes {
        type Output = usize;

        #[inline(always)]
        fn run<V: Vector<Scalar = T>>(self) -> usize {
            V::LANES
        }
    }
    T::run(Lanes)
}

/// Vectors of any machine, which the compiler makes the best of.
#[derive(Clone, Copy)]
pub struct Portable<T, const N: usize>([T; N]);

impl<T: Real, const N: usize> Portable<T, N> {
    #[inline(always)]
    fn zip(self, other: Self, f: impl Fn(T, T) -> T) -> Self {
        let mut result = self;
        for (r, &o) in result.0.iter_mut().zip(&other.0) {
            *r = f(*r, o);
        }
        result
    }
}

impl<T: Real, const N: usize> Vector for Portable<T, N> {
    type Scalar = T;
    const LANES: usize = N;
    const ABREAST: usize = 2;

    #[inline(always)]
    unsafe fn load(from: *const T) -> Self {
        // SAFETY: the caller's promise.
        Self(unsafe { from.cast::<[T; N]>().read_unaligned() })
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut T) {
        // SAFETY: the caller's promise.
        unsafe { to.cast::<[T; N]>().write_unaligned(self.0) }
    }
    #[inline(always)]
    unsafe fn gather(from: *const T, step: usize) -> Self {
        let mut numbers = [T::zero(); N];
        for (i, number) in numbers.iter_mut().enumerate() {
            // SAFETY: the caller's promise.
            *number = unsafe { *from.add(i * step) };
        }
        Self(numbers)
    }
    #[inline(always)]
    unsafe fn splat(value: T) -> Self {
        Self([value; N])
    }
    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        self.zip(other, |a, b| a + b)
    }
    #[inline(always)]
    unsafe fn sub(self, other: Self) -> Self {
        self.zip(other, |a, b| a - b)
    }
    #[inline(always)]
    unsafe fn mul(self, other: Self) -> Self {
        self.zip(other, |a, b| a * b)
    }
    #[inline(always)]
    unsafe fn fma(self, a: Self, b: Self) -> Self {
        // Not rounded once: without the instruction that would be a function call.
        self.zip(a, |x, y| x * y).zip(b, |x, y| x + y)
    }
    #[inline(always)]
    unsafe fn scale_below(self, sign: Self, slope: Self) -> Self {
        let scaled = self.zip(slope, |a, b| a * b);
        let mut result = scaled;
        for i in 0..N {
            result.0[i] = if sign.0[i] > T::zero() { self.0[i] } else { scaled.0[i] };
        }
        result
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{SimdKernel, Vector};
    use std::arch::x86_64::*;

    #[target_feature(enable = "avx512f,avx2,fma")]
    pub fn run_avx512<K: SimdKernel<f32>>(kernel: K) -> K::Output {
        kernel.run::<__m512>()
    }

    #[target_feature(enable = "avx2,fma")]
    pub fn run_avx2<K: SimdKernel<f32>>(kernel: K) -> K::Output {
        kernel.run::<__m256>()
    }

    /// The operations that differ by their names alone.
    macro_rules! vector {
        (
            $vector:ty, $lanes:literal, $abreast:literal, $load:ident, $store:ident, $set1:ident, |$from:ident, $step:ident| $gather:expr,
            $add:ident, $sub:ident, $mul:ident, $fma:ident, |$x:ident, $sign:ident, $scaled:ident| $below:expr
        ) => {
            // SAFETY of all: the caller's promises.
            impl Vector for $vector {
                type Scalar = f32;
                const LANES: usize = $lanes;
                const ABREAST: usize = $abreast;

                #[inline(always)]
                unsafe fn load(from: *const f32) -> Self {
                    unsafe { $load(from) }
                }
                #[inline(always)]
                unsafe fn store(self, to: *mut f32) {
                    unsafe { $store(to, self) }
                }
                #[inline(always)]
                unsafe fn gather(from: *const f32, step: usize) -> Self {
                    let ($from, $step) = (from, step as i32);
                    unsafe { $gather }
                }
                #[inline(always)]
                unsafe fn splat(value: f32) -> Self {
                    unsafe { $set1(value) }
                }
                #[inline(always)]
                unsafe fn add(self, other: Self) -> Self {
                    unsafe { $add(self, other) }
                }
                #[inline(always)]
                unsafe fn sub(self, other: Self) -> Self {
                    unsafe { $sub(self, other) }
                }
                #[inline(always)]
                unsafe fn mul(self, other: Self) -> Self {
                    unsafe { $mul(self, other) }
                }
                #[inline(always)]
                unsafe fn fma(self, a: Self, b: Self) -> Self {
                    unsafe { $fma(self, a, b) }
                }
                #[inline(always)]
                unsafe fn scale_below(self, sign: Self, slope: Self) -> Self {
                    let ($x, $sign) = (self, sign);
                    unsafe {
                        let $scaled = $mul(self, slope);
                        $below
                    }
                }
            }
        };
    }

    vector!(
        __m512,
        16,
        4,
        _mm512_loadu_ps,
        _mm512_storeu_ps,
        _mm512_set1_ps,
        |from, step| {
            let lanes = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
            let places = _mm512_mullo_epi32(lanes, _mm512_set1_epi32(step));
            _mm512_i32gather_ps::<4>(places, from)
        },
        _mm512_add_ps,
        _mm512_sub_ps,
        _mm512_mul_ps,
        _mm512_fmadd_ps,
        |x, sign, scaled| {
            let above = _mm512_cmp_ps_mask::<_CMP_GT_OQ>(sign, _mm512_setzero_ps());
            _mm512_mask_blend_ps(above, scaled, x)
        }
    );
    vector!(
        __m256,
        8,
        2,
        _mm256_loadu_ps,
        _mm256_storeu_ps,
        _mm256_set1_ps,
        |from, step| {
            let lanes = _mm256_set_epi32(7, 6, 5, 4, 3, 2, 1, 0);
            let places = _mm256_mullo_epi32(lanes, _mm256_set1_epi32(step));
            _mm256_i32gather_ps::<4>(from, places)
        },
        _mm256_add_ps,
        _mm256_sub_ps,
        _mm256_mul_ps,
        _mm256_fmadd_ps,
        |x, sign, scaled| {
            let above = _mm256_cmp_ps::<_CMP_GT_OQ>(sign, _mm256_setzero_ps());
            _mm256_blendv_ps(scaled, x, above)
        }
    );
}
