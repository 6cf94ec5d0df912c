//! Kernels for NVIDIA GPUs: convolutions by cuDNN, the rest from sources of our own, which NVRTC
//! compiles for the device at hand when they are first used.
//!
//! Everything is put on the device's one stream, and nothing waits for it.

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
mod numbers;
pub mod optimizer;
pub(crate) mod pool;
mod tensor;
mod upload;

pub(crate) use device::Gpu;
pub use device::{allow_tf32, name, open};
pub(crate) use numbers::Numbers;
pub(crate) use tensor::{address, address_in, empty, output};
pub use upload::Uploader;

/// Puts a kernel on the device's stream.
macro_rules! launch {
    ($gpu:expr, $numbers:expr, $name:expr, $shape:expr, $($arg:expr),+ $(,)?) => {{
        let gpu: &crate::cuda::Gpu = &$gpu;
        let function = gpu.function($numbers, $name)?;
        let shape: crate::launch::Shape = $shape;
        let mut launch = gpu.stream().launch_builder(&function);
        launch!(@arguments launch, $($arg,)+);
        let config = cudarc::driver::LaunchConfig {
            grid_dim: shape.grid,
            block_dim: shape.block,
            shared_mem_bytes: 0,
        };
        // SAFETY: the arguments are those of the kernel's source, and their memory lives on
        // the same stream, which frees it after this.
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
