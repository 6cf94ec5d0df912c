//! The number types that the sources are compiled for.

use candle_core::{DType, Result, bail};
use cudarc::driver::DeviceRepr;

/// What images are kept in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Numbers {
    Double,
    Single,
    /// bfloat16, with parameters, statistics and sums in single precision.
    Brain,
}

impl Numbers {
    pub(crate) fn of(dtype: DType) -> Result<Self> {
        match dtype {
            DType::F64 => Ok(Self::Double),
            DType::F32 => Ok(Self::Single),
            DType::BF16 => Ok(Self::Brain),
            other => bail!("dtype {other:?}, expected f32, f64 or bf16 on a GPU"),
        }
    }

    pub(crate) fn dtype(self) -> DType {
        match self {
            Self::Double => DType::F64,
            Self::Single => DType::F32,
            Self::Brain => DType::BF16,
        }
    }

    /// What is computed in.
    pub(crate) fn real(self) -> DType {
        if self == Self::Double { DType::F64 } else { DType::F32 }
    }

    /// Numbers in 16 bytes.
    pub(crate) fn wide(self) -> usize {
        16 / self.dtype().size_in_bytes()
    }

    /// A scalar argument of the type `Real`.
    pub(crate) fn scalar(self, value: f64) -> Scalar {
        let mut bytes = [0; 8];
        match self {
            Self::Double => bytes = value.to_ne_bytes(),
            Self::Single | Self::Brain => {
                bytes[..4].copy_from_slice(&(value as f32).to_ne_bytes());
            }
        }
        Scalar(bytes)
    }

    /// The kernel's variant that takes `width` channels a thread.
    pub(crate) fn variant(width: usize, single: &'static str, wide: &'static str) -> &'static str {
        if width == 1 { single } else { wide }
    }
}

/// A float or a double: a launch copies as many bytes as the kernel's parameter has.
#[repr(C, align(8))]
#[derive(Clone, Copy)]
pub(crate) struct Scalar([u8; 8]);

// SAFETY: plain bytes.
unsafe impl DeviceRepr for Scalar {}
