//! Kernels on slices. Tensors are row-major, images `[batch, channel, height, width]`.

pub mod batch_norm;
pub mod conv;
pub mod elementwise;
mod gemm;
pub mod pool;
mod tile;

pub use gemm::{Matrix, multiply};
pub use tile::instruction_set;
