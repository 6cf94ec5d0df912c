//! Tensors as addresses and back.

use candle_core::cuda_backend::CudaStorageSlice;
use candle_core::{CudaStorage, DType, Device, Layout, Result, Shape, Storage, Tensor, bail};
use cudarc::driver::DevicePtr;

/// A tensor of memory that is yet to be written.
pub(crate) fn empty(shape: impl Into<Shape>, dtype: DType, device: &Device) -> Result<Tensor> {
    // SAFETY: the kernel that it is made for writes all of it.
    unsafe { Tensor::empty(shape, dtype, device) }
}

/// Where a contiguous tensor begins.
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

/// The same for a custom operation's argument.
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

/// Storage for a custom operation's result, and where it begins.
pub(crate) fn output(like: &CudaStorage, count: usize, dtype: DType) -> Result<(CudaStorage, u64)> {
    use candle_core::backend::BackendDevice as _;
    let shape = Shape::from(count);
    // SAFETY: the kernel that it is made for writes all of it.
    let storage = unsafe { like.device.alloc_uninit(&shape, dtype) }?;
    let address = address_in(&storage, &Layout::contiguous(shape))?;
    Ok((storage, address))
}
