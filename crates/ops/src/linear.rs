//! The linear layer.

use candle_core::backend::BackendStorage as _;
use candle_core::{CpuStorage, CustomOp2, Device, Layout, Result, Shape, Tensor, WithDType, bail};

use crate::cpu::{Matrix, multiply};
use crate::tensor::{Real, check_same, dispatch, slice, with_slice};

/// Returns `x Wᵀ + b`, `[B, C]`: `x [B, D]`, `weight [C, D]`, `bias [C]`.
///
/// # Errors
/// Shapes that do not fit, mixed number types or devices.
pub fn linear(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    let ((_, from), (_, to)) = (x.dims2()?, weight.dims2()?);
    if from != to {
        bail!("linear: features {:?} and weight {:?}", x.dims(), weight.dims())
    }
    check_same("linear", &[x, weight])?;
    let scores = match x.device() {
        // There candle's product, and its gradients, are those of cuBLAS.
        Device::Cuda(_) => x.contiguous()?.matmul(&weight.t()?)?,
        _ => x.contiguous()?.apply_op2(&weight.contiguous()?, Linear)?,
    };
    match bias {
        None => Ok(scores),
        Some(bias) => scores.broadcast_add(bias),
    }
}

struct Linear;

/// Returns `a · b`, a matrix of `length` elements.
fn product<T: Real>(a: Matrix<T>, b: Matrix<T>, length: usize) -> Vec<T> {
    let mut out = vec![T::zero(); length];
    multiply(&mut out, a, b, false);
    out
}

impl CustomOp2 for Linear {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (batch, features) = x_layout.shape().dims2()?;
        let (classes, _) = weight_layout.shape().dims2()?;
        dispatch!("linear", x.dtype(), T => {
            let x = Matrix::new(slice::<T>(x, x_layout)?, batch, features);
            let weight = Matrix::new(slice::<T>(weight, weight_layout)?, classes, features);
            let y = product(x, weight.transposed(), batch * classes);
            Ok((T::to_cpu_storage_owned(y), (batch, classes).into()))
        })
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        _: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let ((batch, features), (classes, _)) = (x.dims2()?, weight.dims2()?);
        dispatch!("linear", x.dtype(), T => {
            let (dx, dw) = with_slice::<T, _>(dy, |dy| -> Result<_> {
                let dy = Matrix::new(dy, batch, classes);
                let dx = with_slice::<T, _>(weight, |weight| {
                    product(dy, Matrix::new(weight, classes, features), batch * features)
                })?;
                let dw = with_slice::<T, _>(x, |x| {
                    let x = Matrix::new(x, batch, features);
                    product(dy.transposed(), x, classes * features)
                })?;
                Ok((dx, dw))
            })??;
            let dx = Tensor::from_vec(dx, x.shape(), x.device())?;
            Ok((Some(dx), Some(Tensor::from_vec(dw, weight.shape(), weight.device())?)))
        })
    }
}
