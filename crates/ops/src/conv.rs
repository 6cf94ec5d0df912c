//! Two-dimensional convolution.

use candle_core::{DType, Result, Tensor, WithDType as _, bail};

use crate::cpu::batch_norm::channel_sums;
use crate::cpu::conv::{Epilogue, Geometry, forward, input_gradient, kernel_gradient};
use crate::tensor::{check_parameters, dispatch, on_cuda, slice_of};
use crate::{Activation, BatchStatistics, Tape, TapeTensor};

/// Stride and zero padding, the same along both axes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conv2dOptions {
    /// Step between output positions, at least 1.
    pub stride: usize,
    /// Zeros added on each side.
    pub padding: usize,
}

/// Convolves `x [B, C, H, W]` with `kernel [O, C, kh, kw]` and adds `bias [O]`.
///
/// Returns `[B, O, (H + 2·padding - kh) / stride + 1, (W + 2·padding - kw) / stride + 1]`.
/// As usual in deep learning, the kernel is not flipped (cross-correlation).
///
/// # Errors
/// Shapes that do not fit, a kernel larger than the padded input, stride 0, mixed number
/// types or devices.
pub fn conv2d(
    x: &Tensor,
    kernel: &Tensor,
    bias: Option<&Tensor>,
    options: Conv2dOptions,
) -> Result<Tensor> {
    let mut tape = Tape::new();
    let x = tape.input(x)?;
    let y = tape.conv2d(&x, kernel, bias, options)?;
    tape.finish(y)
}

impl Tape {
    fn geometry(
        &self,
        x: &TapeTensor,
        kernel: &Tensor,
        options: Conv2dOptions,
    ) -> Result<Geometry> {
        let g = Geometry::new(x.dims(), kernel.dims(), options.stride, options.padding)?;
        Ok(if self.context.direct_convolution() { g.direct() } else { g })
    }

    /// Adds [`conv2d`] as a layer.
    ///
    /// # Errors
    /// As for [`conv2d`].
    pub fn conv2d(
        &mut self,
        x: &TapeTensor,
        kernel: &Tensor,
        bias: Option<&Tensor>,
        options: Conv2dOptions,
    ) -> Result<TapeTensor> {
        let g = self.geometry(x, kernel, options)?;
        check_parameters("conv2d", &x.tensor, &[kernel])?;
        if let Some(bias) = bias {
            check_parameters("conv2d", &x.tensor, &[bias])?;
            if bias.dims() != [g.out_channels] {
                bail!("conv2d: bias {:?}, expected [{}]", bias.dims(), g.out_channels)
            }
            self.record_parameter(bias);
        }
        self.record_parameter(kernel);
        let packed = packed(kernel, x.dtype())?;
        let y = outputs(&g, &x.tensor, &packed, bias)?;
        let tracked = |tensor: &Tensor| tensor.track_op().then(|| tensor.clone());
        let bias = bias.and_then(tracked);
        let layer = x.layer;
        let input = kernel.track_op().then(|| x.tensor.clone());
        let needs_gradient = layer.is_some() || input.is_some() || bias.is_some();
        let kernel = kernel.clone();
        Ok(self.record_layer(y, needs_gradient, move |dy, gradients| {
            if let Some(bias) = bias {
                gradients.add_parameter(&bias, gradient_of_bias(&g, &dy)?)?;
            }
            if let Some(x) = input {
                gradients.add_parameter(&kernel, gradient_of_kernel(&g, &x, &dy)?)?;
            }
            if layer.is_some() {
                gradients.add(layer, gradient_of_input(&g, &dy, &packed)?)?;
            }
            Ok(())
        }))
    }

    /// Adds [`conv2d`] and [`batch_norm`](crate::batch_norm) in evaluation form as one layer: the
    /// norm's factors are multiplied into the kernel, and the rest is the convolution's epilogue.
    ///
    /// For inference: gradients do not flow through it.
    ///
    /// # Errors
    /// As for both functions; an argument that needs a gradient.
    pub fn conv2d_normed(
        &mut self,
        x: &TapeTensor,
        kernel: &Tensor,
        bias: Option<&Tensor>,
        options: Conv2dOptions,
        norm: &FollowingNorm,
    ) -> Result<TapeTensor> {
        let g = self.geometry(x, kernel, options)?;
        let FollowingNorm { weight, bias: norm_bias, statistics, activation, residual } = *norm;
        check_parameters("conv2d_normed", &x.tensor, &[kernel, weight, norm_bias])?;
        let parameters = [Some(kernel), bias, Some(weight), Some(norm_bias)];
        if [Some(x), residual].into_iter().flatten().any(TapeTensor::is_tracked)
            || parameters.into_iter().flatten().any(Tensor::track_op)
        {
            bail!("conv2d_normed: an argument needs a gradient, which does not flow through")
        }
        for vector in [Some(weight), Some(norm_bias), bias].into_iter().flatten() {
            let (got, expected) = (vector.dims(), g.out_channels);
            if got != [expected] || statistics.channels() != expected {
                bail!(
                    "conv2d_normed: {got:?} for {expected} channels, as everything about the norm"
                )
            }
        }
        let residual = residual.map(|residual| &residual.tensor);
        if residual.is_some_and(|residual| residual.dims() != g.out_shape()) {
            bail!("conv2d_normed: residual {residual:?}, expected {:?}", g.out_shape())
        }
        #[cfg(feature = "cuda")]
        if x.device().is_cuda() {
            let y = outputs(&g, &x.tensor, &packed(kernel, x.dtype())?, bias)?;
            let y = statistics.on_gpu(weight, norm_bias, activation)?.apply(&y, residual)?;
            return Ok(TapeTensor { tensor: y, layer: None });
        }
        let kernel = kernel.contiguous()?;
        let y = dispatch!("conv2d_normed", kernel.dtype(), T => {
            let mut affine = statistics.affine::<T>(weight, norm_bias)?;
            if let Some(bias) = bias {
                let biases = affine.scale.iter().zip(bias.to_vec1::<T>()?);
                affine.shift.iter_mut().zip(biases).for_each(|(shift, (&s, b))| *shift += s * b);
            }
            let residual = residual.map(slice_of::<T>).transpose()?;
            let epilogue = Epilogue {
                scale: Some(&affine.scale),
                shift: Some(&affine.shift),
                residual: residual.as_deref(),
                slope: T::from_f64(activation.slope()),
            };
            let y = forward(&g, &slice_of::<T>(&x.tensor)?, &slice_of::<T>(&kernel)?, epilogue);
            Tensor::from_vec(y, &g.out_shape()[..], x.tensor.device())?
        });
        Ok(TapeTensor { tensor: y, layer: None })
    }
}

/// The batch norm that follows a convolution in [`Tape::conv2d_normed`].
#[derive(Clone, Copy)]
pub struct FollowingNorm<'a> {
    /// Its weight, `[O]`.
    pub weight: &'a Tensor,
    /// Its bias, `[O]`.
    pub bias: &'a Tensor,
    /// Its statistics, running averages.
    pub statistics: &'a BatchStatistics,
    /// The activation after it.
    pub activation: Activation,
    /// Summand before the activation, `[B, oh, ow, O]`.
    pub residual: Option<&'a TapeTensor>,
}

/// Returns a kernel in the layout and type that convolutions of such images take.
fn packed(kernel: &Tensor, images: DType) -> Result<Tensor> {
    on_cuda!(kernel, crate::cuda::conv::packed(kernel, images));
    if images != kernel.dtype() {
        bail!("conv2d: images of {images:?}, expected {:?} on a CPU", kernel.dtype())
    }
    kernel.contiguous()
}

fn outputs(g: &Geometry, x: &Tensor, packed: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    let bias = bias.map(Tensor::contiguous).transpose()?;
    on_cuda!(x, crate::cuda::conv::forward(g, x, packed, bias.as_ref()));
    dispatch!("conv2d", x.dtype(), T => {
        let bias = bias.as_ref().map(slice_of::<T>).transpose()?;
        let epilogue = Epilogue::bias(bias.as_deref());
        let y = forward(g, &slice_of::<T>(x)?, &slice_of::<T>(packed)?, epilogue);
        Tensor::from_vec(y, &g.out_shape()[..], x.device())
    })
}

fn gradient_of_bias(g: &Geometry, dy: &Tensor) -> Result<Tensor> {
    on_cuda!(dy, crate::cuda::conv::channel_sums(dy));
    dispatch!("conv2d", dy.dtype(), T => {
        Tensor::from_vec(channel_sums(&slice_of::<T>(dy)?, g.out_channels), g.out_channels, dy.device())
    })
}

fn gradient_of_kernel(g: &Geometry, x: &Tensor, dy: &Tensor) -> Result<Tensor> {
    on_cuda!(dy, crate::cuda::conv::kernel_gradient(g, x, dy));
    dispatch!("conv2d", dy.dtype(), T => {
        let dw = kernel_gradient(g, &slice_of::<T>(x)?, &slice_of::<T>(dy)?);
        let shape = (g.out_channels, g.in_channels, g.kernel[0], g.kernel[1]);
        Tensor::from_vec(dw, shape, dy.device())
    })
}

fn gradient_of_input(g: &Geometry, dy: &Tensor, packed: &Tensor) -> Result<Tensor> {
    on_cuda!(dy, crate::cuda::conv::input_gradient(g, dy, packed));
    dispatch!("conv2d", dy.dtype(), T => {
        let dx = input_gradient(g, &slice_of::<T>(dy)?, &slice_of::<T>(packed)?);
        let shape = (g.batch, g.in_size[0], g.in_size[1], g.in_channels);
        Tensor::from_vec(dx, shape, dy.device())
    })
}
