//! Convolutions by cuDNN. When a convolution's sizes first occur, its algorithms are timed; the
//! fastest is used from then on.

use std::collections::HashMap;
use std::ffi::c_void;
use std::sync::Arc;

use candle_core::{Error, Result, bail};
use cudarc::cudnn::{CudnnError, result, sys};
use cudarc::driver::{CudaSlice, CudaStream, DevicePtr};

use super::Gpu;
use super::NumberType;

pub(crate) use crate::cudnn_plan::{Direction, Format, Key};

/// Most bytes of workspace that an algorithm may use.
const MAX_WORKSPACE: usize = 1 << 30;

/// cuDNN for one device.
pub(crate) struct Dnn {
    handle: sys::cudnnHandle_t,
    stream: Arc<CudaStream>,
    plans: HashMap<Key, Plan>,
    workspace: Option<CudaSlice<u8>>,
}

// SAFETY: cuDNN lets any thread use a handle, one at a time; `Gpu` keeps it behind a mutex.
unsafe impl Send for Dnn {}

/// cuDNN's descriptors of a convolution, and the chosen algorithm. Kept as long as the program
/// runs.
struct Plan {
    images: sys::cudnnTensorDescriptor_t,
    outputs: sys::cudnnTensorDescriptor_t,
    kernel: sys::cudnnFilterDescriptor_t,
    convolution: sys::cudnnConvolutionDescriptor_t,
    format: Format,
    algorithm: Algorithm,
    workspace: usize,
}

#[derive(Clone, Copy)]
enum Algorithm {
    Forward(sys::cudnnConvolutionFwdAlgo_t),
    Images(sys::cudnnConvolutionBwdDataAlgo_t),
    Kernel(sys::cudnnConvolutionBwdFilterAlgo_t),
}

/// An algorithm with its time and workspace.
struct Found {
    algorithm: Algorithm,
    math: sys::cudnnMathType_t,
    time: f32,
    workspace: usize,
}

/// Addresses of images, kernel and outputs, one of which is written.
pub(crate) type Arguments = [u64; 3];

fn wrap(error: CudnnError) -> Error {
    Error::msg(format!("cuDNN: {error:?}"))
}

impl Dnn {
    /// Starts cuDNN on a stream.
    ///
    /// # Errors
    /// cuDNN does not start.
    pub(crate) fn new(stream: &Arc<CudaStream>) -> Result<Self> {
        stream.context().bind_to_thread().map_err(Error::wrap)?;
        let handle = result::create_handle().map_err(wrap)?;
        // SAFETY: handle and stream are valid.
        unsafe { result::set_stream(handle, stream.cu_stream().cast()) }.map_err(wrap)?;
        Ok(Self { handle, stream: Arc::clone(stream), plans: HashMap::new(), workspace: None })
    }

    /// Returns the layout in which [`run`](Self::run) takes its arguments.
    ///
    /// The first call for a key times algorithms with `arguments`, and so writes to the one that is
    /// to be computed.
    ///
    /// # Errors
    /// No algorithm for these sizes.
    pub(crate) fn format(&mut self, key: &Key, arguments: Arguments) -> Result<Format> {
        if !self.plans.contains_key(key) {
            let plan = self.plan(key, arguments)?;
            self.plans.insert(*key, plan);
        }
        Ok(self.plans[key].format)
    }

    fn plan(&mut self, key: &Key, arguments: Arguments) -> Result<Plan> {
        let mut refusal = String::new();
        for format in key.formats() {
            let mut plan = describe(key, format).map_err(wrap)?;
            let limit = self.limit();
            let workspace = self.reserve(limit)?;
            // Times depend on sizes alone, so that `arguments` may be in the other layout.
            match find(self.handle, &plan, key.direction, arguments, (workspace, limit)) {
                Ok(Some(found)) => {
                    let convolution = plan.convolution;
                    // SAFETY: the descriptor is valid.
                    unsafe { result::set_convolution_math_type(convolution, found.math) }
                        .map_err(wrap)?;
                    plan.algorithm = found.algorithm;
                    plan.workspace = found.workspace;
                    return Ok(plan);
                }
                Ok(None) => refusal = "no deterministic algorithm".to_owned(),
                Err(e) => refusal = format!("{e:?}"),
            }
        }
        bail!("cuDNN: {refusal} ({key:?})")
    }

    /// Returns the bytes of workspace while algorithms are timed: at most a quarter of the free
    /// memory.
    fn limit(&self) -> usize {
        let free = self.stream.context().mem_get_info().map_or(0, |(free, _)| free);
        let held = self.workspace.as_ref().map_or(0, CudaSlice::len);
        MAX_WORKSPACE.min(free / 4).max(held)
    }

    /// Returns the address of at least `bytes` of workspace.
    fn reserve(&mut self, bytes: usize) -> Result<u64> {
        if self.workspace.as_ref().is_none_or(|held| held.len() < bytes) {
            // The stream frees the old workspace after the convolutions that use it.
            self.workspace = None;
            // SAFETY: cuDNN writes to a workspace before it reads from it.
            let fresh = unsafe { self.stream.alloc::<u8>(bytes.max(1)) }.map_err(Error::wrap)?;
            self.workspace = Some(fresh);
        }
        Ok(self.workspace.as_ref().map_or(0, |held| held.device_ptr(&self.stream).0))
    }

    /// Computes the argument that the key's direction says from the two others.
    ///
    /// # Errors
    /// A key that was not passed to [`format`](Self::format) before; cuDNN's errors.
    pub(crate) fn run(&mut self, key: &Key, [images, kernel, outputs]: Arguments) -> Result<()> {
        let Some(bytes) = self.plans.get(key).map(|plan| plan.workspace) else {
            bail!("cuDNN: no plan for {key:?}")
        };
        let workspace = self.reserve(bytes)? as *mut c_void;
        let plan = &self.plans[key];
        let (one, zero) = ([1f32, 0.0], [1f64, 0.0]);
        let (alpha, beta): (*const c_void, *const c_void) = match key.number_type {
            NumberType::F64 => ((&raw const zero[0]).cast(), (&raw const zero[1]).cast()),
            _ => ((&raw const one[0]).cast(), (&raw const one[1]).cast()),
        };
        let (x, w, y) = (images as *mut c_void, kernel as *mut c_void, outputs as *mut c_void);
        let handle = self.handle;
        // SAFETY: descriptors are valid, and at each address lies as much memory as they describe.
        unsafe {
            match plan.algorithm {
                Algorithm::Forward(algorithm) => result::convolution_forward(
                    handle,
                    alpha,
                    plan.images,
                    x,
                    plan.kernel,
                    w,
                    plan.convolution,
                    algorithm,
                    workspace,
                    bytes,
                    beta,
                    plan.outputs,
                    y,
                ),
                Algorithm::Images(algorithm) => result::convolution_backward_data(
                    handle,
                    alpha,
                    plan.kernel,
                    w,
                    plan.outputs,
                    y,
                    plan.convolution,
                    algorithm,
                    workspace,
                    bytes,
                    beta,
                    plan.images,
                    x,
                ),
                Algorithm::Kernel(algorithm) => result::convolution_backward_filter(
                    handle,
                    alpha,
                    plan.images,
                    x,
                    plan.outputs,
                    y,
                    plan.convolution,
                    algorithm,
                    workspace,
                    bytes,
                    beta,
                    plan.kernel,
                    w,
                ),
            }
        }
        .map_err(wrap)
    }
}

/// Creates the descriptors of a convolution; the algorithm is yet to be chosen.
fn describe(key: &Key, format: Format) -> std::result::Result<Plan, CudnnError> {
    use sys::cudnnConvolutionMode_t::CUDNN_CROSS_CORRELATION;
    let number_type = match key.number_type {
        NumberType::F64 => sys::cudnnDataType_t::CUDNN_DATA_DOUBLE,
        NumberType::F32 => sys::cudnnDataType_t::CUDNN_DATA_FLOAT,
        NumberType::BF16 => sys::cudnnDataType_t::CUDNN_DATA_BFLOAT16,
    };
    let sums = match key.number_type {
        NumberType::F64 => sys::cudnnDataType_t::CUDNN_DATA_DOUBLE,
        _ => sys::cudnnDataType_t::CUDNN_DATA_FLOAT,
    };
    let layout = match format {
        Format::ChannelsLast => sys::cudnnTensorFormat_t::CUDNN_TENSOR_NHWC,
        Format::Planes => sys::cudnnTensorFormat_t::CUDNN_TENSOR_NCHW,
    };
    let [images, kernel, outputs] = key.sizes().map(|sizes| sizes.map(|size| size as i32));
    // SAFETY: each descriptor is created before it is set.
    unsafe {
        let x = result::create_tensor_descriptor()?;
        result::set_tensor4d_descriptor(x, layout, number_type, images)?;
        let y = result::create_tensor_descriptor()?;
        result::set_tensor4d_descriptor(y, layout, number_type, outputs)?;
        let w = result::create_filter_descriptor()?;
        result::set_filter4d_descriptor(w, number_type, layout, kernel)?;
        let convolution = result::create_convolution_descriptor()?;
        let (padding, stride) = (key.padding as i32, key.stride as i32);
        result::set_convolution2d_descriptor(
            convolution,
            padding,
            padding,
            stride,
            stride,
            1,
            1,
            CUDNN_CROSS_CORRELATION,
            sums,
        )?;
        let math = match (key.number_type, key.allows_tf32) {
            (NumberType::F32, false) => sys::cudnnMathType_t::CUDNN_FMA_MATH,
            (NumberType::F64, _) => sys::cudnnMathType_t::CUDNN_DEFAULT_MATH,
            _ => sys::cudnnMathType_t::CUDNN_TENSOR_OP_MATH,
        };
        result::set_convolution_math_type(convolution, math)?;
        let none = sys::cudnnConvolutionFwdAlgo_t::CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_GEMM;
        Ok(Plan {
            images: x,
            outputs: y,
            kernel: w,
            convolution,
            format,
            algorithm: Algorithm::Forward(none),
            workspace: 0,
        })
    }
}

/// Times all algorithms and returns the fastest of those that are deterministic and fit in the
/// workspace.
fn find(
    handle: sys::cudnnHandle_t,
    plan: &Plan,
    direction: Direction,
    [images, kernel, outputs]: Arguments,
    (workspace, bytes): (u64, usize),
) -> std::result::Result<Option<Found>, CudnnError> {
    /// More algorithms than cuDNN has for any direction.
    const MAX_ALGORITHMS: usize = 16;
    let (x, w, y) = (images as *mut c_void, kernel as *mut c_void, outputs as *mut c_void);
    let workspace = workspace as *mut c_void;
    let (wanted, mut count) = (MAX_ALGORITHMS as i32, 0);
    macro_rules! found {
        ($call:expr, $results:ident, $algorithm:path) => {{
            // SAFETY: descriptors are valid, and `$results` has room for as many as are wanted.
            unsafe { $call }.result()?;
            let results = &$results[..(count.max(0) as usize).min(MAX_ALGORITHMS)];
            let usable = results.iter().filter(|found| {
                found.status == sys::cudnnStatus_t::CUDNN_STATUS_SUCCESS
                    && found.determinism == sys::cudnnDeterminism_t::CUDNN_DETERMINISTIC
                    && found.memory <= bytes
            });
            let all = usable.map(|found| Found {
                algorithm: $algorithm(found.algo),
                math: found.mathType,
                time: found.time,
                workspace: found.memory,
            });
            Ok(all.min_by(|a, b| a.time.total_cmp(&b.time)))
        }};
    }
    match direction {
        Direction::Forward => {
            let mut results: [sys::cudnnConvolutionFwdAlgoPerf_t; MAX_ALGORITHMS] =
                // SAFETY: a struct of plain numbers and enums, for which zeros are valid.
                unsafe { std::mem::zeroed() };
            found!(
                sys::cudnnFindConvolutionForwardAlgorithmEx(
                    handle,
                    plan.images,
                    x,
                    plan.kernel,
                    w,
                    plan.convolution,
                    plan.outputs,
                    y,
                    wanted,
                    &mut count,
                    results.as_mut_ptr(),
                    workspace,
                    bytes,
                ),
                results,
                Algorithm::Forward
            )
        }
        Direction::Images => {
            let mut results: [sys::cudnnConvolutionBwdDataAlgoPerf_t; MAX_ALGORITHMS] =
                // SAFETY: as above.
                unsafe { std::mem::zeroed() };
            found!(
                sys::cudnnFindConvolutionBackwardDataAlgorithmEx(
                    handle,
                    plan.kernel,
                    w,
                    plan.outputs,
                    y,
                    plan.convolution,
                    plan.images,
                    x,
                    wanted,
                    &mut count,
                    results.as_mut_ptr(),
                    workspace,
                    bytes,
                ),
                results,
                Algorithm::Images
            )
        }
        Direction::Kernel => {
            let mut results: [sys::cudnnConvolutionBwdFilterAlgoPerf_t; MAX_ALGORITHMS] =
                // SAFETY: as above.
                unsafe { std::mem::zeroed() };
            found!(
                sys::cudnnFindConvolutionBackwardFilterAlgorithmEx(
                    handle,
                    plan.images,
                    x,
                    plan.outputs,
                    y,
                    plan.convolution,
                    plan.kernel,
                    w,
                    wanted,
                    &mut count,
                    results.as_mut_ptr(),
                    workspace,
                    bytes,
                ),
                results,
                Algorithm::Kernel
            )
        }
    }
}

impl Key {
    /// Returns the key of a convolution under the present setting of TF32.
    pub(crate) fn new(
        direction: Direction,
        number_type: NumberType,
        geometry: &crate::cpu::conv::Geometry,
    ) -> Self {
        Self::of(direction, number_type, Gpu::allows_tf32(), geometry)
    }
}
