//! Differentiable kernels that candle lacks or computes slowly: all that it takes to train a ResNet.
//!
//! candle 0.11 has no gradient for max pooling with overlapping windows, writes the
//! gradients of a convolution as transposed convolutions, and composes batch normalization
//! from a chain of small operations. The functions here take and return candle tensors, work with
//! candle's `backward`, and have forward and backward kernels of their own:
//!
//! * [`conv2d`]: any stride and padding, gradients for input, kernel and bias;
//! * [`batch_norm`]: training and evaluation form, with the activation and the residual
//!   addition that follow it in a ResNet done in the same pass;
//! * [`max_pool2d`] (overlapping windows, padding) and [`global_avg_pool`];
//! * [`activate`] (ReLU, leaky ReLU), [`linear`], [`l2_normalize`], [`cross_entropy`].
//!
//! A [`Tape`] makes the image layers among them one network: it keeps images channels-last from
//! layer to layer and is one operation to candle, which saves conversions and sums at every edge.
//!
//! Everything works in `f32`, and in `f64` for gradient checks. Results do not depend on the
//! number of threads: work is divided by the problem's size alone, and sums are taken in a fixed
//! order. [`mod@reference`] has naive loops that every fast kernel is tested against.
//!
//! ```
//! use candle_core::{Device, Tensor, Var};
//! use fewshot_ops::{Activation, BatchStatistics, Conv2dOptions, batch_norm, conv2d};
//!
//! # fn main() -> candle_core::Result<()> {
//! let x = Tensor::ones((2, 3, 8, 8), candle_core::DType::F32, &Device::Cpu)?;
//! let kernel = Var::randn(0f32, 0.1, (4, 3, 3, 3), &Device::Cpu)?;
//! let (scale, shift) = (Var::ones(4, x.dtype(), x.device())?, Var::zeros(4, x.dtype(), x.device())?);
//!
//! let y = conv2d(&x, &kernel, None, Conv2dOptions { stride: 2, padding: 1 })?;
//! let statistics = BatchStatistics::of(&y, 1e-5)?;
//! let y = batch_norm(&y, &scale, &shift, &statistics, Activation::Relu, None)?;
//! let gradients = y.sum_all()?.backward()?;
//! assert_eq!(gradients.get(&kernel).unwrap().dims(), [4, 3, 3, 3]);
//! # Ok(())
//! # }
//! ```
//!
//! Tensors may be on the CPU or, with the feature `cuda`, on an NVIDIA GPU: the functions are the
//! same, and so are the tests. [`cpu`] has the CPU's kernels, on slices; `cuda` those of GPUs.

mod activation;
mod batch_norm;
mod conv;
pub mod cpu;
mod cross_entropy;
#[cfg(feature = "cuda")]
pub mod cuda;
#[cfg(any(test, feature = "cuda"))]
#[cfg_attr(not(feature = "cuda"), allow(dead_code))]
mod cudnn_plan;
#[cfg(any(test, feature = "cuda"))]
#[cfg_attr(not(feature = "cuda"), allow(dead_code))]
mod launch;
mod linear;
mod margin;
mod memory;
mod normalize;
mod pool;
pub mod reference;
mod tape;
mod tensor;

pub use activation::{Activation, activate};
pub use batch_norm::{BatchStatistics, batch_norm};
pub use conv::{Conv2dOptions, FollowingNorm, conv2d};
pub use cpu::simd::instruction_set;
pub use cross_entropy::cross_entropy;
pub use linear::linear;
pub use margin::{MarginOptions, count_correct, margin_scores};
pub use memory::keep_freed_memory;
pub use normalize::l2_normalize;
pub use pool::{PoolOptions, global_avg_pool, max_pool2d};
pub use tape::{Mixing, Tape, TapeContext, TapeTensor};
