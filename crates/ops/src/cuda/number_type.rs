//! Number types that the kernels are compiled for.

use candle_core::{DType, Result, bail};
use cudarc::driver::DeviceRepr;

/// The number type of images (`Number` in the kernels).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum NumberType {
    F64,
    F32,
    /// Images in bfloat16; parameters, statistics and sums in `f32`.
    BF16,
}

impl NumberType {
    pub(crate) fn of(dtype: DType) -> Result<Self> {
        match dtype {
            DType::F64 => Ok(Self::F64),
            DType::F32 => Ok(Self::F32),
            DType::BF16 => Ok(Self::BF16),
            other => bail!("dtype {other:?}, expected f32, f64 or bf16 on a GPU"),
        }
    }

    pub(crate) fn dtype(self) -> DType {
        match self {
            Self::F64 => DType::F64,
            Self::F32 => DType::F32,
            Self::BF16 => DType::BF16,
        }
    }

    /// Returns the type of parameters, statistics and sums (`Real` in the kernels).
    pub(crate) fn real(self) -> DType {
        if self == Self::F64 { DType::F64 } else { DType::F32 }
    }

    /// Returns how many numbers 16 bytes hold (`WIDE` in the kernels).
    pub(crate) fn wide(self) -> usize {
        16 / self.dtype().size_in_bytes()
    }

    /// Returns a kernel's scalar argument of the type `Real`.
    pub(crate) fn scalar(self, value: f64) -> Scalar {
        let mut bytes = [0; 8];
        match self {
            Self::F64 => bytes = value.to_ne_bytes(),
            Self::F32 | Self::BF16 => {
                bytes[..4].copy_from_slice(&(value as f32).to_ne_bytes());
            }
        }
        Scalar(bytes)
    }

    /// Chooses the variant of a kernel whose threads process `width` channels at once.
    pub(crate) fn variant(width: usize, single: &'static str, wide: &'static str) -> &'static str {
        if width == 1 { single } else { wide }
    }
}

/// A float or a double: a launch copies as many bytes as the kernel's parameter has.
#[repr(C, align(8))]
#[derive(Clone, Copy)]
pub(crate) struct Scalar([u8; 8]);

// SAFETY: plain bytes without padding or pointers.
unsafe impl DeviceRepr for Scalar {}
