//! Gradients averaged over GPUs by NCCL, while the way back goes on.

use std::cell::RefCell;
use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use candle_core::{DType, Device, Error, Result, Tensor, bail};
use cudarc::driver::{CudaEvent, CudaStream};
use cudarc::nccl::{result, sys};

use super::{Gpu, address};

/// Bytes that are sent together: small gradients alone would each cost a round of all GPUs.
const BUCKET: usize = 25 << 20;

/// A communicator that gradients and batch norms both use.
#[derive(Clone)]
pub struct Shared(Arc<Mutex<Communicator>>);

thread_local! {
    /// What batch norms of this thread share their statistics by.
    static STATISTICS: RefCell<Option<Shared>> = const { RefCell::new(None) };
}

impl Shared {
    /// One to share.
    pub fn new(communicator: Communicator) -> Self {
        Self(Arc::new(Mutex::new(communicator)))
    }

    /// The communicator, for as long as the guard lives.
    pub fn lock(&self) -> MutexGuard<'_, Communicator> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `forward`, in which [`BatchStatistics::of`](crate::BatchStatistics::of) a batch are
    /// those of all ranks' batches together, which must be equally large. The way back through
    /// them keeps to that.
    pub fn share_statistics<T>(&self, forward: impl FnOnce() -> T) -> T {
        let before = STATISTICS.replace(Some(self.clone()));
        let result = forward();
        STATISTICS.set(before);
        result
    }

    /// What statistics are shared by now, if they are.
    pub(crate) fn of_statistics() -> Option<Self> {
        STATISTICS.with_borrow(Clone::clone)
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Shared")
    }
}

/// What ranks find each other by: rank 0 makes it and tells the others.
pub type UniqueId = [u8; 128];

fn wrap(error: result::NcclError) -> Error {
    Error::msg(format!("NCCL: {error:?}"))
}

/// A new one.
///
/// # Errors
/// NCCL's.
pub fn unique_id() -> Result<UniqueId> {
    let id = result::get_uniqueid().map_err(wrap)?;
    Ok(id.internal.map(|byte| byte as u8))
}

/// One rank's end of all ranks' communication. Sends on a stream of its own.
pub struct Communicator {
    comm: sys::ncclComm_t,
    count: usize,
    device: Device,
    stream: Arc<CudaStream>,
    /// What is computed is done; what is sent is done.
    computed: CudaEvent,
    sent: CudaEvent,
    /// Gradients of the bucket that is being filled, and all since the last
    /// [`finish`](Self::finish), which have to live until they are sent.
    bucket: Vec<Tensor>,
    all: Vec<Tensor>,
}

// SAFETY: NCCL lets any thread use a communicator, one at a time.
unsafe impl Send for Communicator {}

impl Communicator {
    /// Waits for all ranks.
    ///
    /// # Errors
    /// A device that is no GPU; NCCL's.
    pub fn new(device: &Device, rank: usize, count: usize, id: &UniqueId) -> Result<Self> {
        let gpu = Gpu::of(device)?;
        let context = gpu.stream().context();
        context.bind_to_thread().map_err(Error::wrap)?;
        let stream = context.new_stream().map_err(Error::wrap)?;
        let event = || context.new_event(None).map_err(Error::wrap);
        let id = sys::ncclUniqueId { internal: id.map(|byte| byte as std::ffi::c_char) };
        let mut comm = std::ptr::null_mut();
        // SAFETY: writes only to `comm`.
        unsafe { result::comm_init_rank(&mut comm, count as i32, id, rank as i32) }
            .map_err(wrap)?;
        Ok(Self {
            comm,
            count,
            device: device.clone(),
            computed: event()?,
            sent: event()?,
            stream,
            bucket: Vec::new(),
            all: Vec::new(),
        })
    }

    /// How many ranks there are.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Averages a tensor over all ranks, in place and at once: what the GPU does next has it.
    ///
    /// # Errors
    /// A tensor that is not contiguous `f32` on this GPU; NCCL's.
    pub fn average_now(&self, tensor: &Tensor) -> Result<()> {
        if tensor.dtype() != DType::F32 {
            bail!("average: {:?}, expected f32", tensor.dtype())
        }
        let (of, by) = (sys::ncclDataType_t::ncclFloat32, sys::ncclRedOp_t::ncclAvg);
        self.reduce_now(tensor, of, by)
    }

    fn reduce_now(
        &self,
        tensor: &Tensor,
        of: sys::ncclDataType_t,
        by: sys::ncclRedOp_t,
    ) -> Result<()> {
        let gpu = Gpu::of(&self.device)?;
        self.computed.record(gpu.stream()).map_err(Error::wrap)?;
        self.stream.wait(&self.computed).map_err(Error::wrap)?;
        self.reduce(address(tensor)?, tensor.elem_count(), of, by)?;
        self.sent.record(&self.stream).map_err(Error::wrap)?;
        gpu.stream().wait(&self.sent).map_err(Error::wrap)
    }

    /// Averages a gradient over all ranks, in place; sends it when a bucket is full.
    ///
    /// # Errors
    /// A tensor that is not contiguous `f32` on this GPU; NCCL's.
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
        self.all.append(&mut self.bucket);
        Ok(())
    }

    fn reduce(
        &self,
        data: u64,
        count: usize,
        of: sys::ncclDataType_t,
        by: sys::ncclRedOp_t,
    ) -> Result<()> {
        let (from, to) = (data as *const std::ffi::c_void, data as *mut std::ffi::c_void);
        let stream = self.stream.cu_stream().cast();
        // SAFETY: `data` is of `count` numbers, alive until the stream has passed this.
        let status = unsafe { result::all_reduce(from, to, count, of, by, self.comm, stream) };
        status.map(|_| ()).map_err(wrap)
    }

    /// Sends what is left of `gradients`, and has the GPU wait for all that was sent.
    ///
    /// # Errors
    /// As [`average`](Self::average).
    pub fn finish<'a>(&mut self, gradients: impl IntoIterator<Item = &'a Tensor>) -> Result<()> {
        let known = self.all.iter().chain(&self.bucket).map(Tensor::id);
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
        // Freed on the GPU's stream, behind that.
        self.all.clear();
        Ok(())
    }

    /// Whether any rank says so. Waits for all ranks.
    ///
    /// # Errors
    /// NCCL's.
    pub fn any(&self, flag: bool) -> Result<bool> {
        let flag = Tensor::new(&[u32::from(flag)], &self.device)?;
        let (of, by) = (sys::ncclDataType_t::ncclUint32, sys::ncclRedOp_t::ncclMax);
        self.reduce_now(&flag, of, by)?;
        Ok(flag.to_vec1::<u32>()?[0] > 0)
    }
}

impl Drop for Communicator {
    fn drop(&mut self) {
        // SAFETY: made by `new`, destroyed once. That it fails is of no more use to anyone.
        let _ = unsafe { result::comm_destroy(self.comm) };
    }
}
