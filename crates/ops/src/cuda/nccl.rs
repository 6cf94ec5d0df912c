//! Averages of gradients over several GPUs by NCCL, during the backward pass.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use candle_core::{DType, Device, Error, Result, Tensor, bail};
use cudarc::driver::{CudaEvent, CudaStream};
use cudarc::nccl::{result, sys};

use super::{Gpu, address};

/// Bytes of gradients that are sent together: each message costs a round trip of all GPUs.
const BUCKET: usize = 25 << 20;

/// A communicator that the optimizer and batch norms share.
#[derive(Clone)]
pub struct SharedCommunicator(Arc<Mutex<Communicator>>);

impl SharedCommunicator {
    /// Wraps a communicator.
    pub fn new(communicator: Communicator) -> Self {
        Self(Arc::new(Mutex::new(communicator)))
    }

    /// Locks the communicator for as long as the guard lives.
    pub fn lock(&self) -> MutexGuard<'_, Communicator> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for SharedCommunicator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SharedCommunicator")
    }
}

/// Identifier of a group of ranks: rank 0 creates it and sends it to the others.
pub type UniqueId = [u8; 128];

fn wrap(error: result::NcclError) -> Error {
    Error::msg(format!("NCCL: {error:?}"))
}

/// Creates an identifier for a new group of ranks.
///
/// # Errors
/// NCCL's errors.
pub fn unique_id() -> Result<UniqueId> {
    let id = result::get_uniqueid().map_err(wrap)?;
    Ok(id.internal.map(|byte| byte as u8))
}

/// One rank's connection to all ranks. Messages are sent on a separate stream.
pub struct Communicator {
    comm: sys::ncclComm_t,
    world_size: usize,
    device: Device,
    stream: Arc<CudaStream>,
    /// Recorded on the device's stream when what is to be sent has been computed.
    computed: CudaEvent,
    /// Recorded on this stream when messages have been sent.
    sent: CudaEvent,
    /// Gradients to be sent with the next message.
    bucket: Vec<Tensor>,
    /// Gradients sent since the last [`finish`](Self::finish), kept alive until they have arrived.
    in_flight: Vec<Tensor>,
}

// SAFETY: NCCL lets any thread use a communicator, one at a time.
unsafe impl Send for Communicator {}

impl Communicator {
    /// Connects this rank with all others, after waiting for them.
    ///
    /// # Errors
    /// A device that is no GPU; NCCL's errors.
    pub fn new(device: &Device, rank: usize, world_size: usize, id: &UniqueId) -> Result<Self> {
        let gpu = Gpu::of(device)?;
        let context = gpu.stream().context();
        context.bind_to_thread().map_err(Error::wrap)?;
        let stream = context.new_stream().map_err(Error::wrap)?;
        let event = || context.new_event(None).map_err(Error::wrap);
        let id = sys::ncclUniqueId { internal: id.map(|byte| byte as std::ffi::c_char) };
        let mut comm = std::ptr::null_mut();
        // SAFETY: writes only to `comm`.
        unsafe { result::comm_init_rank(&mut comm, world_size as i32, id, rank as i32) }
            .map_err(wrap)?;
        Ok(Self {
            comm,
            world_size,
            device: device.clone(),
            computed: event()?,
            sent: event()?,
            stream,
            bucket: Vec::new(),
            in_flight: Vec::new(),
        })
    }

    /// Returns the number of ranks (world size).
    pub fn world_size(&self) -> usize {
        self.world_size
    }

    /// Averages a tensor over all ranks, in place, before the GPU's next computation.
    ///
    /// # Errors
    /// A tensor that is not contiguous `f32` on this GPU; NCCL's errors.
    pub fn average_now(&self, tensor: &Tensor) -> Result<()> {
        if tensor.dtype() != DType::F32 {
            bail!("average: {:?}, expected f32", tensor.dtype())
        }
        let (dtype, operation) = (sys::ncclDataType_t::ncclFloat32, sys::ncclRedOp_t::ncclAvg);
        self.reduce_now(tensor, dtype, operation)
    }

    fn reduce_now(
        &self,
        tensor: &Tensor,
        dtype: sys::ncclDataType_t,
        operation: sys::ncclRedOp_t,
    ) -> Result<()> {
        let gpu = Gpu::of(&self.device)?;
        self.computed.record(gpu.stream()).map_err(Error::wrap)?;
        self.stream.wait(&self.computed).map_err(Error::wrap)?;
        self.reduce(address(tensor)?, tensor.elem_count(), dtype, operation)?;
        self.sent.record(&self.stream).map_err(Error::wrap)?;
        gpu.stream().wait(&self.sent).map_err(Error::wrap)
    }

    /// Averages a gradient over all ranks, in place, as soon as enough gradients for a message have
    /// come.
    ///
    /// # Errors
    /// A tensor that is not contiguous `f32` on this GPU; NCCL's errors.
    pub fn average(&mut self, gradient: &Tensor) -> Result<()> {
        if gradient.dtype() != DType::F32 {
            bail!("average: {:?}, expected f32", gradient.dtype())
        }
        self.bucket.push(gradient.clone());
        let bytes: usize = self.bucket.iter().map(|gradient| 4 * gradient.elem_count()).sum();
        if bytes >= BUCKET { self.send() } else { Ok(()) }
    }

    fn send(&mut self) -> Result<()> {
        if self.bucket.is_empty() {
            return Ok(());
        }
        let gpu = Gpu::of(&self.device)?;
        self.computed.record(gpu.stream()).map_err(Error::wrap)?;
        self.stream.wait(&self.computed).map_err(Error::wrap)?;
        result::group_start().map_err(wrap)?;
        for gradient in &self.bucket {
            let (data, count) = (address(gradient)?, gradient.elem_count());
            self.reduce(data, count, sys::ncclDataType_t::ncclFloat32, sys::ncclRedOp_t::ncclAvg)?;
        }
        result::group_end().map_err(wrap)?;
        self.in_flight.append(&mut self.bucket);
        Ok(())
    }

    fn reduce(
        &self,
        data: u64,
        count: usize,
        dtype: sys::ncclDataType_t,
        operation: sys::ncclRedOp_t,
    ) -> Result<()> {
        let (from, to) = (data as *const std::ffi::c_void, data as *mut std::ffi::c_void);
        let stream = self.stream.cu_stream().cast();
        // SAFETY: at `data` lie `count` numbers, which are freed after the stream has finished this.
        let status =
            unsafe { result::all_reduce(from, to, count, dtype, operation, self.comm, stream) };
        status.map(|_| ()).map_err(wrap)
    }

    /// Averages those of `gradients` that were not passed to [`average`](Self::average) yet, and
    /// makes the GPU wait for all averages.
    ///
    /// # Errors
    /// As [`average`](Self::average).
    pub fn finish<'a>(&mut self, gradients: impl IntoIterator<Item = &'a Tensor>) -> Result<()> {
        let known = self.in_flight.iter().chain(&self.bucket).map(Tensor::id);
        let known: HashSet<_> = known.collect();
        for gradient in gradients {
            if !known.contains(&gradient.id()) {
                self.average(gradient)?;
            }
        }
        self.send()?;
        let gpu = Gpu::of(&self.device)?;
        self.sent.record(&self.stream).map_err(Error::wrap)?;
        gpu.stream().wait(&self.sent).map_err(Error::wrap)?;
        // The GPU's stream frees them after that wait.
        self.in_flight.clear();
        Ok(())
    }

    /// Returns whether `flag` is set on any rank. Waits for all ranks.
    ///
    /// # Errors
    /// NCCL's errors.
    pub fn any(&self, flag: bool) -> Result<bool> {
        let flag = Tensor::new(&[u32::from(flag)], &self.device)?;
        let (dtype, operation) = (sys::ncclDataType_t::ncclUint32, sys::ncclRedOp_t::ncclMax);
        self.reduce_now(&flag, dtype, operation)?;
        Ok(flag.to_vec1::<u32>()?[0] > 0)
    }
}

impl Drop for Communicator {
    fn drop(&mut self) {
        // SAFETY: created by `new`, destroyed once. An error could not be handled here.
        let _ = unsafe { result::comm_destroy(self.comm) };
    }
}
