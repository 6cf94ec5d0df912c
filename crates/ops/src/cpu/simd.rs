//! SIMD vectors, with the instruction set chosen at run time.
//!
//! A kernel is written once, over any [`Vector`]; [`Real::run`] compiles it for AVX-512, for AVX2
//! and for any machine, and runs the best version that this machine supports.

use std::sync::LazyLock;

use crate::tensor::Real;

/// A SIMD vector.
///
/// # Safety
/// Every function requires the vector's instruction set, which is available inside a
/// [`SimdKernel`]. Pointers must be valid for [`LANES`](Self::LANES) numbers; they need not be
/// aligned.
#[expect(clippy::missing_safety_doc, reason = "the same for all functions, see above")]
pub trait Vector: Copy {
    /// Type of a lane.
    type Scalar: Real;
    /// Number of lanes.
    const LANES: usize;
    /// Vectors side by side in a tile of a matrix product: as many as the registers hold.
    const TILE_VECTORS: usize;

    /// Reads consecutive numbers.
    unsafe fn load(from: *const Self::Scalar) -> Self;
    /// Writes consecutive numbers, over memory that may be uninitialised.
    unsafe fn store(self, to: *mut Self::Scalar);
    /// Reads numbers that are `step` apart, which must be below 2²⁷; `from` must be valid for all
    /// of them.
    unsafe fn gather(from: *const Self::Scalar, step: usize) -> Self;
    /// Returns one number in all lanes.
    unsafe fn splat(value: Self::Scalar) -> Self;
    /// Returns zero in all lanes.
    #[inline(always)]
    unsafe fn zero() -> Self {
        // SAFETY: the caller guarantees the instruction set.
        unsafe { Self::splat(Self::Scalar::default()) }
    }
    /// Returns `self + other`.
    unsafe fn add(self, other: Self) -> Self;
    /// Returns `self - other`.
    unsafe fn sub(self, other: Self) -> Self;
    /// Returns `self · other`, lane by lane.
    unsafe fn mul(self, other: Self) -> Self;
    /// Returns `self · a + b`, rounded once.
    unsafe fn fma(self, a: Self, b: Self) -> Self;
    /// Returns `self` where `sign` is positive, else `self · slope`.
    unsafe fn scale_below(self, sign: Self, slope: Self) -> Self;
}

/// Code that is compiled for each kind of vector. All functions that it calls with vectors must
/// be `inline(always)`, so that they are compiled for the instruction set, too.
pub trait SimdKernel<T> {
    /// Type of the result.
    type Output;
    /// Runs the kernel.
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

/// The best instruction set of this machine, or a lesser one that `FEWSHOT_INSTRUCTION_SET`
/// names.
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

/// Returns the instruction set of the `f32` kernels on this machine: `avx512`, `avx2` or
/// `portable`.
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
        // SAFETY: `detected` found AVX-512F, AVX2 and FMA.
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => unsafe { x86::run_avx512(kernel) },
        // SAFETY: `detected` found AVX2 and FMA.
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => unsafe { x86::run_avx2(kernel) },
        _ => kernel.run::<Portable<f32, 8>>(),
    }
}

/// Runs a kernel for `f64`, which serves gradient checks: portable loops.
pub(crate) fn run_f64<K: SimdKernel<f64>>(kernel: K) -> K::Output {
    kernel.run::<Portable<f64, 4>>()
}

/// Prefetches the memory at an address, which need not be valid.
#[inline(always)]
pub(crate) fn prefetch<T>(address: *const T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch is a hint, which accesses no memory and needs no more than the SSE of
    // every x86-64 processor.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(address.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}

/// Returns the number of lanes of this machine's vectors.
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

/// A vector for any machine, which the compiler translates as well as it can.
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
    const TILE_VECTORS: usize = 2;

    #[inline(always)]
    unsafe fn load(from: *const T) -> Self {
        // SAFETY: the caller guarantees that `from` is valid for `N` numbers; the read needs no
        // alignment.
        Self(unsafe { from.cast::<[T; N]>().read_unaligned() })
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut T) {
        // SAFETY: the caller guarantees that `to` is valid for `N` numbers; the write needs no
        // alignment.
        unsafe { to.cast::<[T; N]>().write_unaligned(self.0) }
    }
    #[inline(always)]
    unsafe fn gather(from: *const T, step: usize) -> Self {
        let mut numbers = [T::zero(); N];
        for (i, number) in numbers.iter_mut().enumerate() {
            // SAFETY: the caller guarantees that `from` is valid for `N` numbers `step` apart.
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
        // Rounded twice: without the instruction a fused product would be a function call.
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

    /// Implements [`Vector`] by intrinsics, which differ between the vectors in name alone.
    macro_rules! vector {
        (
            $vector:ty, $lanes:literal, $tile_vectors:literal, $load:ident, $store:ident, $set1:ident, |$from:ident, $step:ident| $gather:expr,
            $add:ident, $sub:ident, $mul:ident, $fma:ident, |$x:ident, $sign:ident, $scaled:ident| $below:expr
        ) => {
            impl Vector for $vector {
                type Scalar = f32;
                const LANES: usize = $lanes;
                const TILE_VECTORS: usize = $tile_vectors;

                #[inline(always)]
                unsafe fn load(from: *const f32) -> Self {
                    // SAFETY: the caller guarantees the instruction set, and that `from` is valid
                    // for `LANES` numbers; the intrinsic needs no alignment.
                    unsafe { $load(from) }
                }
                #[inline(always)]
                unsafe fn store(self, to: *mut f32) {
                    // SAFETY: the caller guarantees the instruction set, and that `to` is valid
                    // for `LANES` numbers; the intrinsic needs no alignment.
                    unsafe { $store(to, self) }
                }
                #[inline(always)]
                unsafe fn gather(from: *const f32, step: usize) -> Self {
                    let ($from, $step) = (from, step as i32);
                    // SAFETY: the caller guarantees the instruction set, that `from` is valid for
                    // all `LANES` numbers, and that `step` is below 2²⁷, so that offsets fit
                    // into 31 bits.
                    unsafe { $gather }
                }
                #[inline(always)]
                unsafe fn splat(value: f32) -> Self {
                    // SAFETY: the caller guarantees the instruction set.
                    unsafe { $set1(value) }
                }
                #[inline(always)]
                unsafe fn add(self, other: Self) -> Self {
                    // SAFETY: the caller guarantees the instruction set.
                    unsafe { $add(self, other) }
                }
                #[inline(always)]
                unsafe fn sub(self, other: Self) -> Self {
                    // SAFETY: the caller guarantees the instruction set.
                    unsafe { $sub(self, other) }
                }
                #[inline(always)]
                unsafe fn mul(self, other: Self) -> Self {
                    // SAFETY: the caller guarantees the instruction set.
                    unsafe { $mul(self, other) }
                }
                #[inline(always)]
                unsafe fn fma(self, a: Self, b: Self) -> Self {
                    // SAFETY: the caller guarantees the instruction set.
                    unsafe { $fma(self, a, b) }
                }
                #[inline(always)]
                unsafe fn scale_below(self, sign: Self, slope: Self) -> Self {
                    let ($x, $sign) = (self, sign);
                    // SAFETY: the caller guarantees the instruction set.
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
            let offsets = _mm512_mullo_epi32(lanes, _mm512_set1_epi32(step));
            _mm512_i32gather_ps::<4>(offsets, from)
        },
        _mm512_add_ps,
        _mm512_sub_ps,
        _mm512_mul_ps,
        _mm512_fmadd_ps,
        |x, sign, scaled| {
            let is_positive = _mm512_cmp_ps_mask::<_CMP_GT_OQ>(sign, _mm512_setzero_ps());
            _mm512_mask_blend_ps(is_positive, scaled, x)
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
            let offsets = _mm256_mullo_epi32(lanes, _mm256_set1_epi32(step));
            _mm256_i32gather_ps::<4>(from, offsets)
        },
        _mm256_add_ps,
        _mm256_sub_ps,
        _mm256_mul_ps,
        _mm256_fmadd_ps,
        |x, sign, scaled| {
            let is_positive = _mm256_cmp_ps::<_CMP_GT_OQ>(sign, _mm256_setzero_ps());
            _mm256_blendv_ps(scaled, x, is_positive)
        }
    );
}
