//! Batch normalisation (Ioffe & Szegedy, 2015) over `[B, C, H, W]`.

use crate::Activation;
use crate::cpu::batch_norm::{Affine, Normalisation, apply, gradients, moments};
use crate::tensor::{check_same, dispatch, slice, with_slice};
use candle_core::backend::BackendStorage as _;
use candle_core::{
    CpuStorage, CustomOp2, CustomOp3, Layout, Result, Shape, Tensor, WithDType, bail,
};
use std::sync::Arc;

/// Mean and variance of each channel, of a batch or from running averages.
#[derive(Clone, Debug)]
pub struct BatchStatistics {
    /// Mean, `[C]`.
    mean: Arc<[f64]>,
    /// Biased variance, `[C]`.
    variance: Arc<[f64]>,
    /// `1 / sqrt(variance + eps)`, `[C]`.
    inverse_deviation: Arc<[f64]>,
    /// Values a channel where they are the batch's own, so that gradients flow through them.
    count: Option<usize>,
}

impl BatchStatistics {
    /// The statistics of `x [B, C, H, W]` over batch, height and width: the training form.
    ///
    /// # Errors
    /// Another rank, or fewer than two values a channel, whose variance says nothing.
    pub fn of(x: &Tensor, eps: f64) -> Result<Self> {
        let (batch, channels, height, width) = x.dims4()?;
        let count = batch * height * width;
        if count < 2 {
            bail!("batch_norm: {:?} has {count} value a channel, expected 2 or more", x.dims())
        }
        let (mean, variance) = dispatch!("batch_norm", x.dtype(), T => {
            with_slice::<T, _>(x, |x| moments(x, channels, height * width))?
        });
        Ok(Self { count: Some(count), ..Self::new(mean, variance, eps) })
    }

    /// Running averages `mean [C]` and `variance [C]`: the evaluation form.
    ///
    /// # Errors
    /// Tensors that are not vectors of one length.
    pub fn running(mean: &Tensor, variance: &Tensor, eps: f64) -> Result<Self> {
        let read = |t: &Tensor| t.to_dtype(candle_core::DType::F64)?.to_vec1::<f64>();
        let (mean, variance) = (read(mean)?, read(variance)?);
        if mean.len() != variance.len() {
            bail!("batch_norm: {} running means, {} variances", mean.len(), variance.len())
        }
        Ok(Self::new(mean, variance, eps))
    }

    fn new(mean: Vec<f64>, variance: Vec<f64>, eps: f64) -> Self {
        let inverse_deviation = variance.iter().map(|v| 1.0 / (v + eps).sqrt()).collect();
        Self { mean: mean.into(), variance: variance.into(), inverse_deviation, count: None }
    }

    /// Mean of each channel.
    pub fn mean(&self) -> &[f64] {
        &self.mean
    }

    /// Variance of each channel as running averages take it: unbiased for a batch's own.
    pub fn unbiased_variance(&self) -> Vec<f64> {
        let correction = self.count.map_or(1.0, |n| n as f64 / (n as f64 - 1.0));
        self.variance.iter().map(|v| v * correction).collect()
    }
}

/// `activation(weight · (x - mean) / sqrt(variance + eps) + bias + residual)`.
///
/// `x` and `residual` are `[B, C, H, W]`, `weight` and `bias` `[C]`. With statistics
/// [`of`](BatchStatistics::of) the same `x`, gradients flow through them.
///
/// # Errors
/// Shapes that do not fit, mixed number types or devices.
pub fn batch_norm(
    x: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
    statistics: &BatchStatistics,
    activation: Activation,
    residual: Option<&Tensor>,
) -> Result<Tensor> {
    let (_, channels, _, _) = x.dims4()?;
    if weight.dims() != [channels] || bias.dims() != [channels] || statistics.mean.len() != channels
    {
        let (w, b, s) = (weight.dims(), bias.dims(), statistics.mean.len());
        bail!("batch_norm: weight {w:?}, bias {b:?}, {s} statistics for {channels} channels")
    }
    check_same("batch_norm", &[x, weight, bias])?;
    let parameters = Tensor::stack(&[weight, bias], 0)?;
    let op = BatchNorm { statistics: statistics.clone(), activation };
    let x = x.contiguous()?;
    match residual {
        None => x.apply_op2(&parameters, op),
        Some(residual) => {
            check_same("batch_norm", &[&x, residual])?;
            if residual.dims() != x.dims() {
                bail!("batch_norm: residual {:?} beside {:?}", residual.dims(), x.dims())
            }
            x.apply_op3(&parameters, &residual.contiguous()?, op)
        }
    }
}

struct BatchNorm {
    statistics: BatchStatistics,
    activation: Activation,
}

impl BatchNorm {
    fn forward(
        &self,
        (x, layout): (&CpuStorage, &Layout),
        parameters: (&CpuStorage, &Layout),
        residual: Option<(&CpuStorage, &Layout)>,
    ) -> Result<(CpuStorage, Shape)> {
        let (_, channels, height, width) = layout.shape().dims4()?;
        let s = &self.statistics;
        dispatch!("batch_norm", x.dtype(), T => {
            let (weight, bias) = slice::<T>(parameters.0, parameters.1)?.split_at(channels);
            let residual = residual.map(|(storage, layout)| slice(storage, layout)).transpose()?;
            let scale = |c: usize| weight[c].to_f64() * s.inverse_deviation[c];
            let shift = |c: usize| bias[c].to_f64() - scale(c) * s.mean[c];
            let affine = Affine {
                scale: (0..channels).map(|c| T::from_f64(scale(c))).collect(),
                shift: (0..channels).map(|c| T::from_f64(shift(c))).collect(),
            };
            let x = slice::<T>(x, layout)?;
            let y = apply(x, height * width, &affine, self.activation, residual);
            Ok((T::to_cpu_storage_owned(y), layout.shape().clone()))
        })
    }

    fn backward(
        &self,
        [x, parameters, y, dy]: [&Tensor; 4],
        with_residual: bool,
    ) -> Result<[Option<Tensor>; 3]> {
        let (_, channels, height, width) = x.dims4()?;
        let s = &self.statistics;
        let normalisation = Normalisation {
            mean: &s.mean,
            inverse_deviation: &s.inverse_deviation,
            from_batch: s.count.is_some(),
        };
        dispatch!("batch_norm", x.dtype(), T => {
            let weight = parameters.narrow(0, 0, 1)?.flatten_all()?.to_vec1::<T>()?;
            let g = with_slice::<T, _>(x, |x| with_slice::<T, _>(y, |y| with_slice::<T, _>(dy, |dy| {
                let slices = [x, y, dy];
                let plane = height * width;
                gradients(slices, plane, &weight, &normalisation, self.activation, with_residual)
            })))???;
            let residual = g.residual.map(|r| Tensor::from_vec(r, x.shape(), x.device()));
            Ok([
                Some(Tensor::from_vec(g.x, x.shape(), x.device())?),
                Some(Tensor::from_vec(g.parameters, (2, channels), x.device())?),
                residual.transpose()?,
            ])
        })
    }
}

impl CustomOp2 for BatchNorm {
    fn name(&self) -> &'static str {
        "batch_norm"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        parameters: &CpuStorage,
        parameters_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        self.forward((x, x_layout), (parameters, parameters_layout), None)
    }

    fn bwd(
        &self,
        x: &Tensor,
        parameters: &Tensor,
        y: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let [dx, dp, _] = self.backward([x, parameters, y, dy], false)?;
        Ok((dx, dp))
    }
}

impl CustomOp3 for BatchNorm {
    fn name(&self) -> &'static str {
        "batch_norm"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        parameters: &CpuStorage,
        parameters_layout: &Layout,
        residual: &CpuStorage,
        residual_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let residual = Some((residual, residual_layout));
        self.forward((x, x_layout), (parameters, parameters_layout), residual)
    }

    fn bwd(
        &self,
        x: &Tensor,
        parameters: &Tensor,
        _: &Tensor,
        y: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let [dx, dp, dr] = self.backward([x, parameters, y, dy], true)?;
        Ok((dx, dp, dr))
    }
}
