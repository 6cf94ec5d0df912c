//! Addresses of tensors, and new tensors for kernels to write to.

use candle_core::cuda_backend::CudaStorageSlice;
use candle_core::{CudaStorage, DType, Device, Layout, Result, Shape, Storage, Tensor, bail};
use cudarc::driver::DevicePtr;

/// Allocates a tensor whose elements are uninitialized.
pub(crate) fn empty(shape: impl Into<Shape>, dtype: DType, device: &Device) -> Result<Tensor> {
    // SAFETY: every caller launches a kernel that writes all elements before any is read.
    unsafe { Tensor::empty(shape, dtype, device) }
}

/// Returns the address of a contiguous tensor's first element.
///
/// # Errors
/// A tensor that is not contiguous, or not on a GPU.
pub(crate) fn address(tensor: &Tensor) -> Result<u64> {
    let (storage, layout) = tensor.storage_and_layout();
    match &*storage {
        Storage::Cuda(storage) => address_in(storage, layout),
        _ => bail!("a tensor on the CPU beside one on a GPU: move it with to_device"),
    }
}

/// Returns the address of the first element of a custom operation's argument.
pub(crate) fn address_in(storage: &CudaStorage, layout: &Layout) -> Result<u64> {
    let Some((start, _)) = layout.contiguous_offsets() else {
        bail!("kernel called with strides {:?}, expected contiguous", layout.stride())
    };
    let stream = storage.device.cuda_stream();
    let (base, size) = match &storage.slice {
        CudaStorageSlice::F32(s) => (s.device_ptr(&stream).0, 4),
        CudaStorageSlice::F64(s) => (s.device_ptr(&stream).0, 8),
        CudaStorageSlice::BF16(s) => (s.device_ptr(&stream).0, 2),
        CudaStorageSlice::U32(s) => (s.device_ptr(&stream).0, 4),
        CudaStorageSlice::U8(s) => (s.device_ptr(&stream).0, 1),
        _ => bail!("a number type that no kernel takes"),
    };
    Ok(base + (start * size) as u64)
}

/// Allocates uninitialized storage for a custom operation's result; returns it with its address.
pub(crate) fn output(like: &CudaStorage, count: usize, dtype: DType) -> Result<(CudaStorage, u64)> {
    use candle_core::backend::BackendDevice as _;
    let shape = Shape::from(count);
    // SAFETY: every caller launches a kernel that writes all elements before any is read.
    let storage = unsafe { like.device.alloc_uninit(&shape, dtype) }?;
    let address = address_in(&storage, &Layout::contiguous(shape))?;
    Ok((storage, address))
}
