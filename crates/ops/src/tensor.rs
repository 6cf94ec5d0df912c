//! Access to tensors' elements as slices, and dispatch by number type and device.

use std::marker::PhantomData;
use std::ops::{Deref, Range};

use candle_core::{CpuStorage, DType, Layout, Result, Storage, Tensor, WithDType, bail};

use crate::cpu::simd::{SimdKernel, run_f32, run_f64};

/// A number type of the kernels: `f32`, or `f64` for gradient checks.
pub trait Real: WithDType + Default + std::iter::Sum {
    /// Runs a kernel, compiled for this machine's instruction set.
    fn run<K: SimdKernel<Self>>(kernel: K) -> K::Output;
}
impl Real for f32 {
    fn run<K: SimdKernel<Self>>(kernel: K) -> K::Output {
        run_f32(kernel)
    }
}
impl Real for f64 {
    fn run<K: SimdKernel<Self>>(kernel: K) -> K::Output {
        run_f64(kernel)
    }
}

/// Evaluates `$body` with the type `$T` bound to that of the numbers, `$dtype`.
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

/// Returns `$work` from the function if the tensor is on a GPU.
macro_rules! on_cuda {
    ($tensor:expr, $work:expr) => {
        #[cfg(feature = "cuda")]
        {
            if $tensor.device().is_cuda() {
                return $work;
            }
        }
    };
}
pub(crate) use on_cuda;

/// Returns the elements of a contiguous storage.
pub(crate) fn slice<'a, T: Real>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [T]> {
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(&storage.as_slice::<T>()?[start..end]),
        None => bail!("kernel called with strides {:?}, expected contiguous", layout.stride()),
    }
}

/// The elements of a tensor, row-major; its storage is locked while this lives.
struct Slice<G, T> {
    storage: G,
    range: Range<usize>,
    number: PhantomData<T>,
}

/// Returns the elements of a contiguous tensor on the CPU.
///
/// # Errors
/// A tensor of another device or another number type than `T`, or one that is not contiguous.
pub(crate) fn slice_of<T: Real>(tensor: &Tensor) -> Result<impl Deref<Target = [T]>> {
    let (storage, layout) = tensor.storage_and_layout();
    match &*storage {
        Storage::Cpu(storage) => drop(slice::<T>(storage, layout)?),
        _ => bail!(
            "no kernel for device {:?}: expected a CPU tensor (GPUs take the feature `cuda`)",
            tensor.device().location()
        ),
    };
    let range = layout.contiguous_offsets().map_or(0..0, |(start, end)| start..end);
    Ok(Slice { storage, range, number: PhantomData })
}

impl<G: Deref<Target = Storage>, T: Real> Deref for Slice<G, T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        let Storage::Cpu(storage) = &*self.storage else { return &[] };
        storage.as_slice().map_or(&[], |numbers| &numbers[self.range.clone()])
    }
}

/// Calls `read` with a tensor's elements, row-major; copies them only if it is not contiguous.
///
/// # Errors
/// A tensor of another device or another number type than `T`.
pub(crate) fn with_slice<T: Real, R>(tensor: &Tensor, read: impl FnOnce(&[T]) -> R) -> Result<R> {
    Ok(read(&slice_of(&tensor.contiguous()?)?))
}

/// Checks that parameters have the type of the images (`f32` for images of bfloat16) and their
/// device.
pub(crate) fn check_parameters(op: &str, images: &Tensor, parameters: &[&Tensor]) -> Result<()> {
    let expected = if images.dtype() == DType::BF16 { DType::F32 } else { images.dtype() };
    for parameter in parameters {
        if parameter.dtype() != expected {
            bail!("{op}: dtype {:?} beside images of {:?}", parameter.dtype(), images.dtype())
        }
        if !parameter.device().same_device(images.device()) {
            bail!("{op}: tensors on two devices")
        }
    }
    Ok(())
}

/// Checks that tensors have one number type and one device.
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
