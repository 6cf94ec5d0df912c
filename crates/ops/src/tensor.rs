//! From tensors to slices and back.

use candle_core::{CpuStorage, Layout, Result, Storage, Tensor, WithDType, bail};

/// A real number that the kernels compute with: `f32`, or `f64` for gradient checks.
pub trait Real: WithDType + Default + std::iter::Sum {}
impl Real for f32 {}
impl Real for f64 {}

/// Calls `$body` with `$T` bound to the tensor's number type.
macro_rules! dispatch {
    ($op:literal, $dtype:expr, $T:ident => $body:expr) => {
        match $dtype {
            candle_core::DType::F32 => {
                type $T = f32;
                $body
            }
            candle_core::DType::F64 => {
                type $T = f64;
                $body
            }
            other => candle_core::bail!("{}: dtype {other:?}, expected f32 or f64", $op),
        }
    };
}
pub(crate) use dispatch;

/// The elements of a contiguous storage.
pub(crate) fn slice<'a, T: Real>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [T]> {
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(&storage.as_slice::<T>()?[start..end]),
        None => bail!("kernel called with strides {:?}, expected contiguous", layout.stride()),
    }
}

/// Reads a CPU tensor's elements, row-major, copying only if it is not contiguous.
///
/// # Errors
/// A tensor of another device or another number type than `T`.
pub(crate) fn with_slice<T: Real, R>(tensor: &Tensor, read: impl FnOnce(&[T]) -> R) -> Result<R> {
    let tensor = tensor.contiguous()?;
    let (storage, layout) = tensor.storage_and_layout();
    let Storage::Cpu(storage) = &*storage else {
        bail!("no kernel for device {:?}: expected a CPU tensor", tensor.device().location())
    };
    Ok(read(slice(storage, layout)?))
}

/// Refuses arguments that the kernels cannot take together.
pub(crate) fn check_same(op: &str, tensors: &[&Tensor]) -> Result<()> {
    let first = tensors[0];
    for tensor in tensors {
        if tensor.dtype() != first.dtype() {
            bail!("{op}: dtype {:?} beside {:?}", tensor.dtype(), first.dtype())
        }
        if !tensor.device().same_device(first.device()) {
            bail!("{op}: tensors on two devices")
        }
    }
    Ok(())
}
