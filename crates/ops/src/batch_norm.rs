//! Batch normalisation (Ioffe & Szegedy, 2015) over `[B, C, H, W]`.

use crate::cpu::batch_norm::{Affine, Normalisation, apply, gradients, moments};
use crate::tape::{Gradients, to_channels_last};
use crate::tensor::{Real, check_same, dispatch, slice_of};
use crate::{Activation, Tape, Value};
use candle_core::{Result, Tensor, bail};
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
        Self::of_channels_last(&to_channels_last(x)?, eps)
    }

    /// The same of a value on a tape.
    ///
    /// # Errors
    /// As [`of`](Self::of).
    pub fn of_value(x: &Value, eps: f64) -> Result<Self> {
        Self::of_channels_last(&x.tensor, eps)
    }

    fn of_channels_last(x: &Tensor, eps: f64) -> Result<Self> {
        let (batch, height, width, channels) = x.dims4()?;
        let count = batch * height * width;
        if count < 2 {
            let x = [batch, channels, height, width];
            bail!("batch_norm: {x:?} has {count} value a channel, expected 2 or more")
        }
        let (mean, variance) = dispatch!("batch_norm", x.dtype(), T => {
            moments(&slice_of::<T>(x)?, channels)
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

    /// The normalisation with weight and bias, as a factor and a summand of each channel.
    pub(crate) fn affine<T: Real>(&self, weight: &Tensor, bias: &Tensor) -> Result<Affine<T>> {
        let (weight, bias) = (weight.to_vec1::<T>()?, bias.to_vec1::<T>()?);
        let channels = 0..self.mean.len();
        let scale = |c: usize| weight[c].to_f64() * self.inverse_deviation[c];
        let shift = |c: usize| bias[c].to_f64() - scale(c) * self.mean[c];
        Ok(Affine {
            scale: channels.clone().map(|c| T::from_f64(scale(c))).collect(),
            shift: channels.map(|c| T::from_f64(shift(c))).collect(),
        })
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
    let mut tape = Tape::new();
    let x = tape.enter(x)?;
    let residual = residual.map(|residual| tape.enter(residual)).transpose()?;
    let y = tape.batch_norm(&x, weight, bias, statistics, activation, residual.as_ref())?;
    tape.leave(y)
}

impl Tape {
    /// [`batch_norm`] as a layer.
    ///
    /// # Errors
    /// As there.
    pub fn batch_norm(
        &mut self,
        x: &Value,
        weight: &Tensor,
        bias: &Tensor,
        statistics: &BatchStatistics,
        activation: Activation,
        residual: Option<&Value>,
    ) -> Result<Value> {
        let (_, _, _, channels) = x.tensor.dims4()?;
        let s = statistics.mean.len();
        if [weight.dims(), bias.dims()].iter().any(|dims| *dims != [channels]) || s != channels {
            let (w, b) = (weight.dims(), bias.dims());
            bail!("batch_norm: weight {w:?}, bias {b:?}, {s} statistics for {channels} channels")
        }
        check_same("batch_norm", &[&x.tensor, weight, bias])?;
        if let Some(residual) = residual {
            check_same("batch_norm", &[&x.tensor, &residual.tensor])?;
            if residual.dims() != x.dims() {
                bail!("batch_norm: residual {:?} beside {:?}", residual.dims(), x.dims())
            }
        }
        self.parameter(weight);
        self.parameter(bias);
        let y = dispatch!("batch_norm", x.tensor.dtype(), T => {
            let affine = statistics.affine::<T>(weight, bias)?;
            let residual = residual.map(|residual| slice_of::<T>(&residual.tensor)).transpose()?;
            let y = apply(&slice_of::<T>(&x.tensor)?, &affine, activation, residual.as_deref());
            Tensor::from_vec(y, x.tensor.shape(), x.tensor.device())?
        });
        let added = residual.map(|residual| residual.layer);
        let needs_gradient =
            x.layer.or(added.flatten()).is_some() || weight.track_op() || bias.track_op();
        let way = BatchNorm {
            x: x.clone(),
            weight: weight.clone(),
            bias: bias.clone(),
            statistics: statistics.clone(),
            activation,
            y: residual.map(|_| y.clone()),
        };
        Ok(self.layer(y, needs_gradient, move |dy, gradients| {
            let (parameters, dr) = way.backward(&dy, gradients)?;
            for (parameter, gradient) in [&way.weight, &way.bias].into_iter().zip(parameters) {
                if parameter.track_op() {
                    gradients.add_parameter(parameter, gradient)?;
                }
            }
            gradients.add(added.flatten(), dr.unwrap_or(dy))
        }))
    }
}

/// What the way back through a batch norm needs.
struct BatchNorm {
    x: Value,
    weight: Tensor,
    bias: Tensor,
    statistics: BatchStatistics,
    activation: Activation,
    /// The output, where it takes a residual to know its sign.
    y: Option<Tensor>,
}

impl BatchNorm {
    /// Adds the input's gradient; gives those of weight and bias, and of the residual if it is
    /// not `dy`.
    fn backward(
        &self,
        dy: &Tensor,
        gradients_of: &mut Gradients,
    ) -> Result<([Tensor; 2], Option<Tensor>)> {
        let s = &self.statistics;
        let normalisation = Normalisation {
            mean: &s.mean,
            inverse_deviation: &s.inverse_deviation,
            from_batch: s.count.is_some(),
        };
        let device = dy.device();
        dispatch!("batch_norm", dy.dtype(), T => {
            let affine = s.affine::<T>(&self.weight, &self.bias)?;
            let y = self.y.as_ref().map(slice_of::<T>).transpose()?;
            let g = gradients(
                [&slice_of::<T>(&self.x.tensor)?, &slice_of::<T>(dy)?],
                &affine,
                &self.weight.to_vec1::<T>()?,
                &normalisation,
                self.activation,
                y.as_deref(),
            );
            let dx = Tensor::from_vec(g.x, dy.shape(), device)?;
            gradients_of.add(self.x.layer, dx)?;
            let residual = g.residual.map(|r| Tensor::from_vec(r, dy.shape(), device)).transpose()?;
            let (weight, bias) = g.parameters.split_at(affine.scale.len());
            let vector = |numbers| Tensor::new(numbers, device);
            Ok(([vector(weight)?, vector(bias)?], residual))
        })
    }
}
