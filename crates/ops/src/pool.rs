//! Max pooling and global average pooling.

use candle_core::{DType, Result, Tensor, bail};

use crate::cpu::pool::{self, Geometry};
use crate::tensor::{dispatch, on_cuda, slice_of};
use crate::{Tape, TapeTensor};

/// Window, stride and padding of max pooling, the same along both axes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolOptions {
    /// Side of the window.
    pub window: usize,
    /// Step between windows; windows overlap if it is smaller than they are.
    pub stride: usize,
    /// Positions added on each side, which are never the maximum; at most half the window.
    pub padding: usize,
}

/// Returns the maxima over windows of `x [B, C, H, W]`; output sizes are rounded down.
///
/// The gradient goes to the first maximum of each window.
///
/// # Errors
/// Another rank, a window larger than the padded input, stride or window 0, or a
/// window wider than 15.
pub fn max_pool2d(x: &Tensor, options: PoolOptions) -> Result<Tensor> {
    let mut tape = Tape::new();
    let x = tape.input(x)?;
    let y = tape.max_pool2d(&x, options)?;
    tape.finish(y)
}

/// Returns the means over height and width of `x [B, C, H, W]`: `[B, C]`.
///
/// # Errors
/// Another rank, or an empty plane.
pub fn global_avg_pool(x: &Tensor) -> Result<Tensor> {
    let mut tape = Tape::new();
    let x = tape.input(x)?;
    let y = tape.global_avg_pool(&x)?;
    tape.finish(y)
}

impl Tape {
    /// Adds [`max_pool2d`] as a layer.
    ///
    /// # Errors
    /// As for [`max_pool2d`].
    pub fn max_pool2d(&mut self, x: &TapeTensor, options: PoolOptions) -> Result<TapeTensor> {
        let (_, height, width, channels) = x.tensor.dims4()?;
        let PoolOptions { window, stride, padding } = options;
        let geometry = Geometry::new([height, width], window, stride, padding)?;
        if channels == 0 {
            bail!("max_pool2d: images without channels")
        }
        let (y, indices) = maxima(&geometry, &x.tensor)?;
        let layer = x.layer;
        Ok(self.record_layer(y, layer.is_some(), move |dy, gradients| {
            gradients.add(layer, gradient_of_maxima(&geometry, &dy, &indices)?)
        }))
    }

    /// Adds [`global_avg_pool`] as a layer.
    ///
    /// # Errors
    /// As for [`global_avg_pool`].
    pub fn global_avg_pool(&mut self, x: &TapeTensor) -> Result<TapeTensor> {
        let (batch, height, width, channels) = x.tensor.dims4()?;
        let pixels = height * width;
        if pixels * channels == 0 {
            bail!("global_avg_pool: {channels} channels of {height}×{width}: all must be positive")
        }
        let y = means(&x.tensor)?;
        let (layer, dtype) = (x.layer, x.dtype());
        Ok(self.record_layer(y, layer.is_some(), move |dy, gradients| {
            gradients.add(layer, gradient_of_means(&dy, [batch, height, width, channels], dtype)?)
        }))
    }
}

/// Returns the maxima, and their indices in their windows.
fn maxima(g: &Geometry, x: &Tensor) -> Result<(Tensor, Indices)> {
    on_cuda!(x, crate::cuda::pool::max(g, x).map(|(y, indices)| (y, Indices::Device(indices))));
    let (batch, _, _, channels) = x.dims4()?;
    dispatch!("max_pool2d", x.dtype(), T => {
        let (y, indices) = pool::max(g, &slice_of::<T>(x)?, channels);
        let [height, width] = g.out_size;
        let y = Tensor::from_vec(y, (batch, height, width, channels), x.device())?;
        Ok((y, Indices::Host(indices)))
    })
}

fn gradient_of_maxima(g: &Geometry, dy: &Tensor, indices: &Indices) -> Result<Tensor> {
    let (batch, _, _, channels) = dy.dims4()?;
    #[cfg(feature = "cuda")]
    if let Indices::Device(indices) = indices {
        return crate::cuda::pool::max_gradient(g, dy, indices);
    }
    let indices = indices.host()?;
    dispatch!("max_pool2d", dy.dtype(), T => {
        let dx = pool::max_gradient(g, &slice_of::<T>(dy)?, indices, channels);
        let [height, width] = g.in_size;
        Tensor::from_vec(dx, (batch, height, width, channels), dy.device())
    })
}

fn means(x: &Tensor) -> Result<Tensor> {
    on_cuda!(x, crate::cuda::pool::mean(x));
    let (batch, height, width, channels) = x.dims4()?;
    dispatch!("global_avg_pool", x.dtype(), T => {
        let y = pool::mean(&slice_of::<T>(x)?, height * width, channels);
        Tensor::from_vec(y, (batch, channels), x.device())
    })
}

/// Returns the gradient of images of `dtype`, which may differ from that of `dy` on a GPU alone.
fn gradient_of_means(dy: &Tensor, shape: [usize; 4], dtype: DType) -> Result<Tensor> {
    on_cuda!(dy, crate::cuda::pool::mean_gradient(dy, shape, dtype));
    let [_, height, width, channels] = shape;
    dispatch!("global_avg_pool", dtype, T => {
        let dx = pool::mean_gradient(&slice_of::<T>(dy)?, height * width, channels);
        Tensor::from_vec(dx, &shape[..], dy.device())
    })
}

/// Index of each maximum in its window.
enum Indices {
    Host(Vec<u8>),
    #[cfg(feature = "cuda")]
    Device(Tensor),
}

impl Indices {
    #[cfg_attr(not(feature = "cuda"), allow(clippy::unnecessary_wraps))]
    fn host(&self) -> Result<&[u8]> {
        match self {
            Self::Host(indices) => Ok(indices),
            #[cfg(feature = "cuda")]
            Self::Device(_) => bail!("max_pool2d: indices on a GPU for a gradient on the CPU"),
        }
    }
}
