//! ReLU and leaky ReLU.

use candle_core::backend::BackendStorage as _;
use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor, WithDType};

use crate::cpu::elementwise;
use crate::tensor::{dispatch, on_cuda, slice, with_slice};

/// An elementwise activation function.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Activation {
    /// `x` itself.
    Identity,
    /// `max(x, 0)`.
    Relu,
    /// `x` where positive, else `slope · x`; the slope must be positive.
    LeakyRelu(f64),
}

impl Activation {
    /// Returns the factor of negative values.
    pub(crate) fn slope(self) -> f64 {
        match self {
            Self::Identity => 1.0,
            Self::Relu => 0.0,
            Self::LeakyRelu(slope) => slope,
        }
    }
}

/// Applies an activation to a tensor of any shape. At zero the gradient is that of negative
/// values, as in PyTorch.
///
/// # Errors
/// A number type other than `f32` and `f64`.
pub fn activate(x: &Tensor, activation: Activation) -> Result<Tensor> {
    match activation {
        Activation::Identity => Ok(x.clone()),
        activation => x.contiguous()?.apply_op1(Activate(activation)),
    }
}

struct Activate(Activation);

impl CustomOp1 for Activate {
    fn name(&self) -> &'static str {
        "activate"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        dispatch!("activate", x.dtype(), T => {
            let y = elementwise::activate(slice::<T>(x, layout)?, self.0);
            Ok((T::to_cpu_storage_owned(y), layout.shape().clone()))
        })
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        x: &candle_core::CudaStorage,
        layout: &Layout,
    ) -> Result<(candle_core::CudaStorage, Shape)> {
        let y = crate::cuda::heads::activate(x, layout, self.0.slope())?;
        Ok((y, layout.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, y: &Tensor, dy: &Tensor) -> Result<Option<Tensor>> {
        let dy = &dy.contiguous()?;
        on_cuda!(x, crate::cuda::heads::activation_gradient(y, dy, self.0.slope()).map(Some));
        dispatch!("activate", x.dtype(), T => {
            let dx = with_slice::<T, _>(y, |y| {
                with_slice::<T, _>(dy, |dy| elementwise::activation_gradient(y, dy, self.0))
            })??;
            Ok(Some(Tensor::from_vec(dx, x.shape(), x.device())?))
        })
    }
}
