//! Kernels for NVIDIA GPUs: convolutions by cuDNN, everything else by our own kernels, which NVRTC
//! compiles for the GPU at run time, when they are first used.
//!
//! All work is queued on the device's one stream, and nothing waits for it.

pub(crate) mod batch_norm;
pub(crate) mod conv;
mod device;
mod dnn;
pub mod drop;
pub mod episodes;
pub(crate) mod heads;
pub mod images;
pub(crate) mod layout;
#[cfg(feature = "nccl")]
pub mod nccl;
mod number_type;
pub mod optimizer;
pub(crate) mod pool;
mod tensor;
mod upload;

pub(crate) use device::Gpu;
pub use device::{allow_tf32, name, open};
pub(crate) use number_type::NumberType;
pub(crate) use tensor::{address, address_in, empty, output};
pub use upload::Uploader;

/// Launches the kernel `$name` on the device's stream.
macro_rules! launch {
    ($gpu:expr, $number_type:expr, $name:expr, $shape:expr, $($arg:expr),+ $(,)?) => {{
        let gpu: &crate::cuda::Gpu = &$gpu;
        let function = gpu.function($number_type, $name)?;
        let shape: crate::launch::LaunchShape = $shape;
        let mut launch = gpu.stream().launch_builder(&function);
        launch!(@arguments launch, $($arg,)+);
        let config = cudarc::driver::LaunchConfig {
            grid_dim: shape.grid,
            block_dim: shape.block,
            shared_mem_bytes: 0,
        };
        // SAFETY: callers pass the arguments that the kernel's source declares, and tensors large
        // enough; they are freed on the same stream, after the kernel.
        unsafe { launch.launch(config) }.map_err(candle_core::Error::wrap)?;
    }};
    (@arguments $launch:ident, $first:expr, $($rest:expr,)*) => {
        let argument = $first;
        cudarc::driver::PushKernelArg::arg(&mut $launch, &argument);
        launch!(@arguments $launch, $($rest,)*);
    };
    (@arguments $launch:ident,) => {};
}
pub(crate) use launch;
