//! GPUs, and what is kept for each as long as the program runs: compiled kernels, cuDNN's plans.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use candle_core::cuda_backend::DeviceId;
use candle_core::{CudaDevice, Device, Error, Result, bail};
use cudarc::driver::{CudaContext, CudaFunction, CudaModule, CudaStream};
use cudarc::nvrtc::{CompileError, CompileOptions, compile_ptx_with_opts};

use super::dnn::Dnn;
use super::number_type::NumberType;

/// Sources of all kernels, which are compiled as one; the header comes first.
const SOURCES: [&str; 9] = [
    include_str!("kernels/numbers.cuh"),
    include_str!("kernels/layout.cu"),
    include_str!("kernels/batch_norm.cu"),
    include_str!("kernels/pool.cu"),
    include_str!("kernels/heads.cu"),
    include_str!("kernels/optimizer.cu"),
    include_str!("kernels/drop.cu"),
    include_str!("kernels/episodes.cu"),
    include_str!("kernels/images.cu"),
];

static TF32: AtomicBool = AtomicBool::new(false);

/// Sets whether `f32` convolutions and matrix products may round their factors to 10 bits of
/// mantissa (TF32), which is several times faster on GPUs since Ampere. Off by default.
pub fn allow_tf32(is_allowed: bool) {
    TF32.store(is_allowed, Ordering::Relaxed);
    candle_core::cuda_backend::set_gemm_reduced_precision_f32(is_allowed);
}

/// Opens the GPU number `ordinal`, counted from 0. Every call returns the same device, so that
/// compiled kernels and measured algorithms are reused.
///
/// # Errors
/// No driver, no such GPU, or a context that cannot be created.
pub fn open(ordinal: usize) -> Result<Device> {
    static OPEN: Mutex<Vec<(usize, Device)>> = Mutex::new(Vec::new());
    let mut all = lock(&OPEN);
    if let Some((_, device)) = all.iter().find(|(number, _)| *number == ordinal) {
        return Ok(device.clone());
    }
    let count = CudaContext::device_count().map_err(|e| {
        Error::msg(format!(
            "cuda:{ordinal}: NVIDIA's driver does not answer ({e}): does nvidia-smi?"
        ))
    })?;
    if ordinal >= count.max(0) as usize {
        bail!(
            "cuda:{ordinal}: there are {count} GPUs, counted from 0 (CUDA_VISIBLE_DEVICES hides some)"
        )
    }
    let device = Device::new_cuda_with_stream(ordinal)?;
    if let Device::Cuda(cuda) = &device {
        // SAFETY: all work is on the device's one stream, except for copies and NCCL's work, which
        // wait for events explicitly.
        unsafe { cuda.disable_event_tracking() };
        keep_freed_memory(cuda)?;
    }
    all.push((ordinal, device.clone()));
    Ok(device)
}

/// Returns the name of the GPU number `ordinal`.
///
/// # Errors
/// No driver, no such GPU.
pub fn name(ordinal: usize) -> Result<String> {
    let context = CudaContext::new(ordinal).map_err(Error::wrap)?;
    context.name().map_err(Error::wrap)
}

/// Makes the driver's memory pool keep freed memory, instead of releasing it whenever the host
/// waits.
fn keep_freed_memory(device: &CudaDevice) -> Result<()> {
    use cudarc::driver::sys;
    let context = device.cuda_stream().context().clone();
    if !context.has_async_alloc() {
        return Ok(());
    }
    let mut pool = std::ptr::null_mut();
    let mut threshold = u64::MAX;
    // SAFETY: both calls write only to `pool`, and read `threshold`, which outlives them.
    unsafe {
        sys::cuDeviceGetDefaultMemPool(&mut pool, context.cu_device())
            .result()
            .map_err(Error::wrap)?;
        let attribute = sys::CUmemPool_attribute::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD;
        let value = std::ptr::from_mut(&mut threshold).cast();
        sys::cuMemPoolSetAttribute(pool, attribute, value).result().map_err(Error::wrap)
    }
}

/// Stream, compiled kernels and cuDNN's plans of one device.
pub(crate) struct Gpu {
    stream: Arc<CudaStream>,
    modules: Mutex<HashMap<NumberType, Module>>,
    dnn: Mutex<Dnn>,
}

struct Module {
    module: Arc<CudaModule>,
    functions: HashMap<&'static str, CudaFunction>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Gpu {
    /// Returns the `Gpu` of a device; it is created at the first call.
    ///
    /// # Errors
    /// A device that is no GPU, or cuDNN missing.
    pub(crate) fn of(device: &Device) -> Result<Arc<Self>> {
        match device {
            Device::Cuda(device) => Self::of_cuda(device),
            _ => bail!("a tensor on the CPU beside one on a GPU: move it with to_device"),
        }
    }

    pub(crate) fn of_cuda(device: &CudaDevice) -> Result<Arc<Self>> {
        static GPUS: Mutex<Vec<(DeviceId, Arc<Gpu>)>> = Mutex::new(Vec::new());
        let mut gpus = lock(&GPUS);
        if let Some((_, gpu)) = gpus.iter().find(|(id, _)| *id == device.id()) {
            return Ok(Arc::clone(gpu));
        }
        let stream = device.cuda_stream();
        let dnn = Mutex::new(Dnn::new(&stream)?);
        let gpu = Arc::new(Self { stream, modules: Mutex::default(), dnn });
        gpus.push((device.id(), Arc::clone(&gpu)));
        Ok(gpu)
    }

    pub(crate) fn stream(&self) -> &Arc<CudaStream> {
        &self.stream
    }

    pub(crate) fn dnn(&self) -> MutexGuard<'_, Dnn> {
        lock(&self.dnn)
    }

    pub(crate) fn allows_tf32() -> bool {
        TF32.load(Ordering::Relaxed)
    }

    /// Returns the kernel `name` for one number type.
    ///
    /// # Errors
    /// NVRTC refuses the sources, or they have no kernel of this name.
    pub(crate) fn function(
        &self,
        number_type: NumberType,
        name: &'static str,
    ) -> Result<CudaFunction> {
        let mut modules = lock(&self.modules);
        let module = match modules.entry(number_type) {
            std::collections::hash_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::hash_map::Entry::Vacant(entry) => {
                let module = self.compile(number_type)?;
                entry.insert(Module { module, functions: HashMap::new() })
            }
        };
        if let Some(function) = module.functions.get(name) {
            return Ok(function.clone());
        }
        let function = module.module.load_function(name).map_err(Error::wrap)?;
        module.functions.insert(name, function.clone());
        Ok(function)
    }

    fn compile(&self, number_type: NumberType) -> Result<Arc<CudaModule>> {
        let context = self.stream.context();
        let (major, minor) = context.compute_capability().map_err(Error::wrap)?;
        let bits = 8 * number_type.dtype().size_in_bytes();
        let source = format!("#define NUMBER_BITS {bits}\n{}", SOURCES.concat());
        let options = CompileOptions {
            options: vec![
                format!("--gpu-architecture=compute_{major}{minor}"),
                "--std=c++17".to_owned(),
            ],
            ..CompileOptions::default()
        };
        let ptx = compile_ptx_with_opts(source, options).map_err(|e| match e {
            CompileError::CompileError { log, .. } => {
                Error::msg(format!("NVRTC refused the kernels: {}", log.to_string_lossy()))
            }
            other => Error::msg(format!("NVRTC: {other:?}")),
        })?;
        context.load_module(ptx).map_err(Error::wrap)
    }
}
