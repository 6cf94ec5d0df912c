//! Batches on their way to a GPU, copied while it computes.

use std::sync::Arc;

use candle_core::{DType, Device, Error, Result, Tensor, bail};
use cudarc::driver::{CudaEvent, CudaSlice, CudaStream, DevicePtr, PinnedHostSlice};

use super::{Gpu, Numbers, address, empty, launch};
use crate::launch::Shape;

/// Two buffers in pinned memory and two on the GPU: while it computes on one batch, the next is
/// on its way.
pub struct Uploader {
    device: Device,
    /// Copies only, so that they need not wait for what is computed.
    copies: Arc<CudaStream>,
    slots: [Option<Slot>; 2],
    next: usize,
}

struct Slot {
    pinned: PinnedHostSlice<f32>,
    staged: CudaSlice<f32>,
    /// The copy out of `pinned` is done.
    copied: CudaEvent,
    /// What was made of `staged` is done.
    taken: CudaEvent,
}

impl Slot {
    fn new(copies: &Arc<CudaStream>, length: usize) -> Result<Self> {
        let context = copies.context();
        let event = || context.new_event(None).map_err(Error::wrap);
        let (copied, taken) = (event()?, event()?);
        // SAFETY: both are written before they are read.
        let (pinned, staged) = unsafe {
            let pinned = context.alloc_pinned(length).map_err(Error::wrap)?;
            (pinned, copies.alloc(length).map_err(Error::wrap)?)
        };
        copied.record(copies).map_err(Error::wrap)?;
        taken.record(copies).map_err(Error::wrap)?;
        // The staging memory is used from another stream than it is allocated on.
        copies.synchronize().map_err(Error::wrap)?;
        Ok(Self { pinned, staged, copied, taken })
    }
}

impl Uploader {
    /// # Errors
    /// A device that is no GPU.
    pub fn new(device: &Device) -> Result<Self> {
        let gpu = Gpu::of(device)?;
        let copies = gpu.stream().context().new_stream().map_err(Error::wrap)?;
        Ok(Self { device: device.clone(), copies, slots: [None, None], next: 0 })
    }

    /// `values`, row-major, as a tensor of `shape` on the GPU: `f32` or bfloat16. Returns when
    /// they are in pinned memory; the GPU waits for the rest.
    ///
    /// # Errors
    /// As many values as the shape has are expected; no memory, on the GPU or pinned.
    pub fn upload(&mut self, values: &[f32], shape: &[usize], dtype: DType) -> Result<Tensor> {
        if shape.iter().product::<usize>() != values.len() || values.is_empty() {
            bail!("upload: {} values for {shape:?}", values.len())
        }
        let gpu = Gpu::of(&self.device)?;
        let slot = &mut self.slots[self.next];
        self.next = (self.next + 1) % 2;
        if slot.as_ref().is_none_or(|slot| slot.pinned.len() < values.len()) {
            if let Some(old) = slot.take() {
                // What is still read may not be freed.
                old.taken.synchronize().map_err(Error::wrap)?;
            }
            *slot = Some(Slot::new(&self.copies, values.len())?);
        }
        let Some(slot) = slot else { bail!("upload: no buffer") };
        slot.copied.synchronize().map_err(Error::wrap)?;
        slot.pinned.as_mut_slice().map_err(Error::wrap)?[..values.len()].copy_from_slice(values);

        self.copies.wait(&slot.taken).map_err(Error::wrap)?;
        let mut staged = slot.staged.slice_mut(..values.len());
        let pinned = &slot.pinned.as_slice().map_err(Error::wrap)?[..values.len()];
        self.copies.memcpy_htod(pinned, &mut staged).map_err(Error::wrap)?;
        slot.copied.record(&self.copies).map_err(Error::wrap)?;

        gpu.stream().wait(&slot.copied).map_err(Error::wrap)?;
        let y = empty(shape, dtype, &self.device)?;
        let from = slot.staged.device_ptr(gpu.stream()).0;
        launch!(
            gpu,
            Numbers::of(dtype)?,
            "from_real",
            Shape::flat(values.len()),
            from,
            address(&y)?,
            values.len() as u64
        );
        slot.taken.record(gpu.stream()).map_err(Error::wrap)?;
        Ok(y)
    }
}
