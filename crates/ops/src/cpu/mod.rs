//! Kernels on slices. Images are channels-last, `[batch, height, width, channel]`, row-major.

pub mod batch_norm;
mod buffer;
pub mod conv;
pub mod elementwise;
mod gemm;
pub mod layout;
mod patches;
pub mod pool;
mod product;
pub mod simd;
mod winograd;

pub use gemm::{Matrix, multiply};
pub use simd::instruction_set;
