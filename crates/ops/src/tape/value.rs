//! Values on a tape: channels-last tensors, and their conversion from and to planes by channel.

use candle_core::{DType, Device, Result, Tensor, bail};

use crate::cpu::layout;
use crate::tensor::{dispatch, on_cuda, slice_of};

/// The output of a layer on a [`Tape`](crate::Tape): images `[B, H, W, C]` or features `[B, D]`.
#[derive(Clone)]
pub struct TapeTensor {
    /// `[B, H, W, C]` or `[B, D]`, detached from candle's tape.
    pub(crate) tensor: Tensor,
    /// Index of the layer's backward function, if a gradient is needed.
    pub(crate) layer: Option<usize>,
}

impl TapeTensor {
    /// Returns the sizes, `[B, H, W, C]` or `[B, D]`.
    pub fn dims(&self) -> &[usize] {
        self.tensor.dims()
    }

    /// Whether this value, or one that led to it, needs a gradient.
    pub fn is_tracked(&self) -> bool {
        self.layer.is_some()
    }

    /// Returns the number type.
    pub fn dtype(&self) -> DType {
        self.tensor.dtype()
    }

    /// Returns the device.
    pub fn device(&self) -> &Device {
        self.tensor.device()
    }

    /// Returns the numbers as a detached candle tensor, `[B, C, H, W]` or `[B, D]`.
    ///
    /// # Errors
    /// Out of memory.
    pub fn to_tensor(&self) -> Result<Tensor> {
        to_planes(&self.tensor)
    }
}

/// `[B, C, H, W]` to `[B, H, W, C]` of the type `to`: the same, or bfloat16 of `f32`.
pub(crate) fn to_channels_last(x: &Tensor, to: DType) -> Result<Tensor> {
    let (batch, channels, height, width) = x.dims4()?;
    on_cuda!(x, crate::cuda::layout::to_channels_last(x, to));
    if to != x.dtype() {
        bail!("images of {to:?}: expected {:?} on a CPU", x.dtype())
    }
    dispatch!("images", x.dtype(), T => {
        let y = layout::exchange(&slice_of::<T>(&x.contiguous()?)?, channels, height * width);
        Tensor::from_vec(y, (batch, height, width, channels), x.device())
    })
}

/// `[B, H, W, C]` to `[B, C, H, W]`; features stay as they are. bfloat16 becomes `f32`.
pub(super) fn to_planes(x: &Tensor) -> Result<Tensor> {
    let &[batch, height, width, channels] = x.dims() else { return Ok(x.clone()) };
    let to = if x.dtype() == DType::BF16 { DType::F32 } else { x.dtype() };
    on_cuda!(x, crate::cuda::layout::to_planes(x, to));
    if to != x.dtype() {
        bail!("images of bfloat16: expected f32 or f64 on a CPU")
    }
    dispatch!("images", x.dtype(), T => {
        let y = layout::exchange(&slice_of::<T>(x)?, height * width, channels);
        Tensor::from_vec(y, (batch, channels, height, width), x.device())
    })
}
