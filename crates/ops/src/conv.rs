//! Two-dimensional convolution.

use crate::cpu::conv::{Geometry, bias_gradient, forward, input_gradient, kernel_gradient};
use crate::tensor::{check_same, dispatch, slice, with_slice};
use candle_core::backend::BackendStorage as _;
use candle_core::{
    CpuStorage, CustomOp2, CustomOp3, Layout, Result, Shape, Tensor, WithDType, bail,
};

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
/// Gives `[B, O, (H + 2·padding - kh) / stride + 1, (W + 2·padding - kw) / stride + 1]`.
/// As in deep learning throughout, the kernel is not flipped (cross-correlation).
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
    let op = Conv2d {
        geometry: Geometry::new(x.dims(), kernel.dims(), options.stride, options.padding)?,
        needs_input_gradient: x.track_op(),
        needs_kernel_gradient: kernel.track_op(),
    };
    let (x, kernel) = (x.contiguous()?, kernel.contiguous()?);
    match bias {
        None => {
            check_same("conv2d", &[&x, &kernel])?;
            x.apply_op2(&kernel, op)
        }
        Some(bias) => {
            check_same("conv2d", &[&x, &kernel, bias])?;
            if bias.dims() != [op.geometry.out_channels] {
                bail!("conv2d: bias {:?}, expected [{}]", bias.dims(), op.geometry.out_channels)
            }
            x.apply_op3(&kernel, &bias.contiguous()?, op)
        }
    }
}

struct Conv2d {
    geometry: Geometry,
    /// Images from the loader need no gradient, and theirs would be the costliest.
    needs_input_gradient: bool,
    /// Nor do frozen kernels.
    needs_kernel_gradient: bool,
}

impl Conv2d {
    fn forward(
        &self,
        x: (&CpuStorage, &Layout),
        kernel: (&CpuStorage, &Layout),
        bias: Option<(&CpuStorage, &Layout)>,
    ) -> Result<(CpuStorage, Shape)> {
        dispatch!("conv2d", x.0.dtype(), T => {
            let bias = bias.map(|(storage, layout)| slice(storage, layout)).transpose()?;
            let y = forward(&self.geometry, slice::<T>(x.0, x.1)?, slice(kernel.0, kernel.1)?, bias);
            Ok((T::to_cpu_storage_owned(y), Shape::from(&self.geometry.out_shape()[..])))
        })
    }

    fn gradients(&self, x: &Tensor, kernel: &Tensor, dy: &Tensor) -> Result<[Option<Tensor>; 2]> {
        let g = &self.geometry;
        dispatch!("conv2d", x.dtype(), T => {
            let dx = self.needs_input_gradient.then(|| {
                let gradient = with_slice::<T, _>(dy, |dy| {
                    with_slice::<T, _>(kernel, |kernel| input_gradient(g, dy, kernel))
                })??;
                Tensor::from_vec(gradient, x.shape(), x.device())
            });
            let dw = self.needs_kernel_gradient.then(|| {
                let gradient = with_slice::<T, _>(x, |x| {
                    with_slice::<T, _>(dy, |dy| kernel_gradient(g, x, dy))
                })??;
                Tensor::from_vec(gradient, kernel.shape(), x.device())
            });
            Ok([dx.transpose()?, dw.transpose()?])
        })
    }
}

impl CustomOp2 for Conv2d {
    fn name(&self) -> &'static str {
        "conv2d"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        kernel: &CpuStorage,
        kernel_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        self.forward((x, x_layout), (kernel, kernel_layout), None)
    }

    fn bwd(
        &self,
        x: &Tensor,
        kernel: &Tensor,
        _: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let [dx, dw] = self.gradients(x, kernel, dy)?;
        Ok((dx, dw))
    }
}

impl CustomOp3 for Conv2d {
    fn name(&self) -> &'static str {
        "conv2d"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        kernel: &CpuStorage,
        kernel_layout: &Layout,
        bias: &CpuStorage,
        bias_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        self.forward((x, x_layout), (kernel, kernel_layout), Some((bias, bias_layout)))
    }

    fn bwd(
        &self,
        x: &Tensor,
        kernel: &Tensor,
        bias: &Tensor,
        _: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let [dx, dw] = self.gradients(x, kernel, dy)?;
        let db = dispatch!("conv2d", x.dtype(), T => {
            let db = with_slice::<T, _>(dy, |dy| bias_gradient(&self.geometry, dy))?;
            Tensor::from_vec(db, bias.shape(), bias.device())?
        });
        Ok((dx, dw, Some(db)))
    }
}
