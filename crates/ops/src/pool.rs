//! Pooling.

use candle_core::{DType, Result, Tensor, bail};

use crate::cpu::pool::{self, Geometry};
use crate::tensor::{dispatch, on_cuda, slice_of};
use crate::{Tape, TapeTensor};

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
    let x = tape.input(x)?;
    let y = tape.max_pool2d(&x, options)?;
    tape.finish(y)
}

/// The mean over height and width: `[B, C, H, W]` to `[B, C]`.
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
    /// [`max_pool2d`] as a layer.
    ///
    /// # Errors
    /// As there.
    pub fn max_pool2d(&mut self, x: &TapeTensor, options: PoolOptions) -> Result<TapeTensor> {
        let (_, height, width, channels) = x.tensor.dims4()?;
        let PoolOptions { window, stride, padding } = options;
        let geometry = Geometry::new([height, width], window, stride, padding)?;
        if channels == 0 {
            bail!("max_pool2d: images without channels")
        }
        let (y, places) = maxima(&geometry, &x.tensor)?;
        let layer = x.layer;
        Ok(self.record_layer(y, layer.is_some(), move |dy, gradients| {
            gradients.add(layer, gradient_of_maxima(&geometry, &dy, &places)?)
        }))
    }

    /// [`global_avg_pool`] as a layer.
    ///
    /// # Errors
    /// As there.
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

/// The maxima, and where they were.
fn maxima(g: &Geometry, x: &Tensor) -> Result<(Tensor, Places)> {
    on_cuda!(x, crate::cuda::pool::max(g, x).map(|(y, places)| (y, Places::Device(places))));
    let (batch, _, _, channels) = x.dims4()?;
    dispatch!("max_pool2d", x.dtype(), T => {
        let (y, places) = pool::max(g, &slice_of::<T>(x)?, channels);
        let [height, width] = g.out_size;
        let y = Tensor::from_vec(y, (batch, height, width, channels), x.device())?;
        Ok((y, Places::Host(places)))
    })
}

fn gradient_of_maxima(g: &Geometry, dy: &Tensor, places: &Places) -> Result<Tensor> {
    let (batch, _, _, channels) = dy.dims4()?;
    #[cfg(feature = "cuda")]
    if let Places::Device(places) = places {
        return crate::cuda::pool::max_gradient(g, dy, places);
    }
    let places = places.host()?;
    dispatch!("max_pool2d", dy.dtype(), T => {
        let dx = pool::max_gradient(g, &slice_of::<T>(dy)?, places, channels);
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

/// The gradient of images of `dtype`, which only a GPU lets differ from that of features.
fn gradient_of_means(dy: &Tensor, shape: [usize; 4], dtype: DType) -> Result<Tensor> {
    on_cuda!(dy, crate::cuda::pool::mean_gradient(dy, shape, dtype));
    let [_, height, width, channels] = shape;
    dispatch!("global_avg_pool", dtype, T => {
        let dx = pool::mean_gradient(&slice_of::<T>(dy)?, height * width, channels);
        Tensor::from_vec(dx, &shape[..], dy.device())
    })
}

/// Where in its window each maximum was.
enum Places {
    Host(Vec<u8>),
    #[cfg(feature = "cuda")]
    Device(Tensor),
}

impl Places {
    #[cfg_attr(not(feature = "cuda"), allow(clippy::unnecessary_wraps))]
    fn host(&self) -> Result<&[u8]> {
        match self {
            Self::Host(places) => Ok(places),
            #[cfg(feature = "cuda")]
            Self::Device(_) => bail!("max_pool2d: places on a GPU for a gradient on the CPU"),
        }
    }
}
