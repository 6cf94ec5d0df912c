//! Copies of batches to a GPU, while it computes.

use std::sync::Arc;

use candle_core::{DType, Device, Error, Result, Tensor, bail};
use cudarc::driver::{CudaEvent, CudaSlice, CudaStream, DevicePtr, PinnedHostSlice};

use super::{Gpu, NumberType, address, empty, launch};
use crate::launch::LaunchShape;

/// Copies batches to a GPU through two buffers in pinned memory and two on the GPU: while it
/// computes on one batch, the next is copied.
pub struct Uploader {
    device: Device,
    /// A stream for copies alone, so that they do not wait for computations.
    copies: Arc<CudaStream>,
    slots: [Option<Slot>; 2],
    next: usize,
}

struct Slot {
    pinned: PinnedHostSlice<f32>,
    staged: CudaSlice<f32>,
    /// Recorded after the copy from `pinned` to `staged`.
    copied: CudaEvent,
    /// Recorded after the conversion of `staged` to a tensor.
    converted: CudaEvent,
}

impl Slot {
    fn new(copies: &Arc<CudaStream>, length: usize) -> Result<Self> {
        let context = copies.context();
        let event = || context.new_event(None).map_err(Error::wrap);
        let (copied, converted) = (event()?, event()?);
        // SAFETY: `upload` writes to both before anything is read from them.
        let (pinned, staged) = unsafe {
            let pinned = context.alloc_pinned(length).map_err(Error::wrap)?;
            (pinned, copies.alloc(length).map_err(Error::wrap)?)
        };
        copied.record(copies).map_err(Error::wrap)?;
        converted.record(copies).map_err(Error::wrap)?;
        // The GPU's main stream, too, uses `staged`, which is allocated on this stream.
        copies.synchronize().map_err(Error::wrap)?;
        Ok(Self { pinned, staged, copied, converted })
    }
}

impl Uploader {
    /// Creates an uploader for a GPU; buffers are allocated when the first batches come.
    ///
    /// # Errors
    /// A device that is no GPU.
    pub fn new(device: &Device) -> Result<Self> {
        let gpu = Gpu::of(device)?;
        let copies = gpu.stream().context().new_stream().map_err(Error::wrap)?;
        Ok(Self { device: device.clone(), copies, slots: [None, None], next: 0 })
    }

    /// Copies row-major `values` to the GPU as a tensor of `shape` and `dtype`, `f32` or bfloat16.
    /// Returns as soon as they are in pinned memory; the GPU waits for the rest.
    ///
    /// # Errors
    /// A number of values that does not fit `shape`, or no values; out of memory, on the GPU or
    /// pinned.
    pub fn upload(&mut self, values: &[f32], shape: &[usize], dtype: DType) -> Result<Tensor> {
        if shape.iter().product::<usize>() != values.len() || values.is_empty() {
            bail!("upload: {} values for {shape:?}", values.len())
        }
        let gpu = Gpu::of(&self.device)?;
        let slot = &mut self.slots[self.next];
        self.next = (self.next + 1) % 2;
        if slot.as_ref().is_none_or(|slot| slot.pinned.len() < values.len()) {
            if let Some(old) = slot.take() {
                // The GPU may still read from the old buffer.
                old.converted.synchronize().map_err(Error::wrap)?;
            }
            *slot = Some(Slot::new(&self.copies, values.len())?);
        }
        let Some(slot) = slot else { bail!("upload: no buffer") };
        slot.copied.synchronize().map_err(Error::wrap)?;
        slot.pinned.as_mut_slice().map_err(Error::wrap)?[..values.len()].copy_from_slice(values);

        self.copies.wait(&slot.converted).map_err(Error::wrap)?;
        let mut staged = slot.staged.slice_mut(..values.len());
        let pinned = &slot.pinned.as_slice().map_err(Error::wrap)?[..values.len()];
        self.copies.memcpy_htod(pinned, &mut staged).map_err(Error::wrap)?;
        slot.copied.record(&self.copies).map_err(Error::wrap)?;

        gpu.stream().wait(&slot.copied).map_err(Error::wrap)?;
        let y = empty(shape, dtype, &self.device)?;
        let from = slot.staged.device_ptr(gpu.stream()).0;
        launch!(
            gpu,
            NumberType::of(dtype)?,
            "from_real",
            LaunchShape::linear(values.len()),
            from,
            address(&y)?,
            values.len() as u64
        );
        slot.converted.record(gpu.stream()).map_err(Error::wrap)?;
        Ok(y)
    }
}
