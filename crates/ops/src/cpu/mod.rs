//! Kernels for CPUs, on slices. Images are channels-last, `[batch, height, width, channel]`,
//! row-major; numbers are `f32`, or `f64` for gradient checks.

pub mod batch_norm;
mod buffer;
pub mod conv;
pub(crate) mod elementwise;
mod gemm;
pub(crate) mod layout;
mod patches;
pub mod pool;
mod product;
pub mod simd;
mod slices;
mod winograd;

pub use crate::tensor::Real;
pub(crate) use gemm::{Matrix, multiply};
