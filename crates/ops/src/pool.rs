//! Pooling.

use crate::cpu::pool::{self, Geometry};
use crate::tensor::{dispatch, slice, with_slice};
use candle_core::backend::BackendStorage as _;
use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor, WithDType, bail};

/// Window, stride and padding of a max pooling, the same along both axes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolOptions {
    /// Side of the window.
    pub window: usize,
    /// Step between windows; smaller than the window, they overlap.
    pub stride: usize,
    /// Positions added on each side that never win, at most half the window.
    pub padding: usize,
}

/// The maximum over windows of `x [B, C, H, W]`; sizes are rounded down.
///
/// The gradient goes to the first maximum of each window.
///
/// # Errors
/// Another rank, a window larger than the padded input, stride or window 0.
pub fn max_pool2d(x: &Tensor, options: PoolOptions) -> Result<Tensor> {
    let (_, _, height, width) = x.dims4()?;
    let PoolOptions { window, stride, padding } = options;
    let geometry = Geometry::new([height, width], window, stride, padding)?;
    x.contiguous()?.apply_op1(MaxPool(geometry))
}

/// The mean over height and width: `[B, C, H, W]` to `[B, C]`.
///
/// # Errors
/// Another rank, or an empty plane.
pub fn global_avg_pool(x: &Tensor) -> Result<Tensor> {
    let (batch, channels, height, width) = x.dims4()?;
    if height * width == 0 {
        bail!("global_avg_pool: {:?} has an empty plane", x.dims())
    }
    x.reshape((batch, channels, height * width))?.apply_op1(PlaneMean)
}

struct MaxPool(Geometry);

impl CustomOp1 for MaxPool {
    fn name(&self) -> &'static str {
        "max_pool2d"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (batch, channels, _, _) = layout.shape().dims4()?;
        let [height, width] = self.0.out_size;
        dispatch!("max_pool2d", x.dtype(), T => {
            let y = pool::max(&self.0, slice::<T>(x, layout)?);
            Ok((T::to_cpu_storage_owned(y), (batch, channels, height, width).into()))
        })
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, dy: &Tensor) -> Result<Option<Tensor>> {
        dispatch!("max_pool2d", x.dtype(), T => {
            let dx = with_slice::<T, _>(x, |x| {
                with_slice::<T, _>(dy, |dy| pool::max_gradient(&self.0, x, dy))
            })??;
            Ok(Some(Tensor::from_vec(dx, x.shape(), x.device())?))
        })
    }
}

struct PlaneMean;

impl CustomOp1 for PlaneMean {
    fn name(&self) -> &'static str {
        "global_avg_pool"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (batch, channels, plane) = layout.shape().dims3()?;
        dispatch!("global_avg_pool", x.dtype(), T => {
            let y = pool::mean(slice::<T>(x, layout)?, plane);
            Ok((T::to_cpu_storage_owned(y), (batch, channels).into()))
        })
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, dy: &Tensor) -> Result<Option<Tensor>> {
        let plane = x.dims3()?.2;
        dispatch!("global_avg_pool", x.dtype(), T => {
            let dx = with_slice::<T, _>(dy, |dy| pool::mean_gradient(dy, plane))?;
            Ok(Some(Tensor::from_vec(dx, x.shape(), x.device())?))
        })
    }
}
