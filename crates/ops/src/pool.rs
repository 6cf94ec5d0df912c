//! Pooling.

use crate::cpu::pool::{self, Geometry};
use crate::tensor::{dispatch, slice_of};
use crate::{Tape, Value};
use candle_core::{Result, Tensor, bail};

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
/// Another rank, a window larger than the padded input, stride or window 0, or a
/// window wider than 15.
pub fn max_pool2d(x: &Tensor, options: PoolOptions) -> Result<Tensor> {
    let mut tape = Tape::new();
    let x = tape.enter(x)?;
    let y = tape.max_pool2d(&x, options)?;
    tape.leave(y)
}

/// The mean over height and width: `[B, C, H, W]` to `[B, C]`.
///
/// # Errors
/// Another rank, or an empty plane.
pub fn global_avg_pool(x: &Tensor) -> Result<Tensor> {
    let mut tape = Tape::new();
    let x = tape.enter(x)?;
    let y = tape.global_avg_pool(&x)?;
    tape.leave(y)
}

impl Tape {
    /// [`max_pool2d`] as a layer.
    ///
    /// # Errors
    /// As there.
    pub fn max_pool2d(&mut self, x: &Value, options: PoolOptions) -> Result<Value> {
        let (batch, height, width, channels) = x.tensor.dims4()?;
        let PoolOptions { window, stride, padding } = options;
        let geometry = Geometry::new([height, width], window, stride, padding)?;
        if channels == 0 {
            bail!("max_pool2d: images without channels")
        }
        let (y, places) = dispatch!("max_pool2d", x.tensor.dtype(), T => {
            let (y, places) = pool::max(&geometry, &slice_of::<T>(&x.tensor)?, channels);
            let [height, width] = geometry.out_size;
            (Tensor::from_vec(y, (batch, height, width, channels), x.tensor.device())?, places)
        });
        let layer = x.layer;
        Ok(self.layer(y, layer.is_some(), move |dy, gradients| {
            let dx = dispatch!("max_pool2d", dy.dtype(), T => {
                let dx = pool::max_gradient(&geometry, &slice_of::<T>(&dy)?, &places, channels);
                Tensor::from_vec(dx, (batch, height, width, channels), dy.device())?
            });
            gradients.add(layer, dx)
        }))
    }

    /// [`global_avg_pool`] as a layer.
    ///
    /// # Errors
    /// As there.
    pub fn global_avg_pool(&mut self, x: &Value) -> Result<Value> {
        let (batch, height, width, channels) = x.tensor.dims4()?;
        let pixels = height * width;
        if pixels * channels == 0 {
            bail!("global_avg_pool: {channels} channels of {height}×{width}: all must be positive")
        }
        let y = dispatch!("global_avg_pool", x.tensor.dtype(), T => {
            let y = pool::mean(&slice_of::<T>(&x.tensor)?, pixels, channels);
            Tensor::from_vec(y, (batch, channels), x.tensor.device())?
        });
        let layer = x.layer;
        Ok(self.layer(y, layer.is_some(), move |dy, gradients| {
            let dx = dispatch!("global_avg_pool", dy.dtype(), T => {
                let dx = pool::mean_gradient(&slice_of::<T>(&dy)?, pixels, channels);
                Tensor::from_vec(dx, (batch, height, width, channels), dy.device())?
            });
            gradients.add(layer, dx)
        }))
    }
}
