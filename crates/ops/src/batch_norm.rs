//! Batch normalization (Ioffe & Szegedy, 2015) over `[B, C, H, W]`.

use std::sync::Arc;

use candle_core::{Result, Tensor, Var, bail};

use crate::cpu::batch_norm::{Affine, Normalization, apply, gradients, moments};
#[cfg(feature = "nccl")]
use crate::cuda::nccl::SharedCommunicator;
use crate::tape::to_channels_last;
use crate::tensor::{Real, check_parameters, check_same, dispatch, on_cuda, slice_of};
use crate::{Activation, Tape, TapeTensor};

/// Mean and variance of each channel, of a batch or from running averages.
#[derive(Clone, Debug)]
pub struct BatchStatistics {
    numbers: Numbers,
    channels: usize,
    /// Number of values of each channel, if these are the batch's own statistics, so that gradients
    /// flow through them.
    count: Option<usize>,
    /// The communicator, if these are the statistics of several processes' batches.
    #[cfg(feature = "nccl")]
    shared: Option<SharedCommunicator>,
}

#[derive(Clone, Debug)]
enum Numbers {
    Host(Host),
    /// `[3, C]`: mean, biased variance, `1 / sqrt(variance + eps)`.
    #[cfg(feature = "cuda")]
    Device(Tensor),
}

#[derive(Clone, Debug)]
struct Host {
    /// Mean, `[C]`.
    mean: Arc<[f64]>,
    /// Biased variance, `[C]`.
    variance: Arc<[f64]>,
    /// `1 / sqrt(variance + eps)`, `[C]`.
    inverse_deviation: Arc<[f64]>,
}

impl Host {
    fn new(mean: Vec<f64>, variance: Vec<f64>, eps: f64) -> Self {
        let inverse_deviation = variance.iter().map(|v| 1.0 / (v + eps).sqrt()).collect();
        Self { mean: mean.into(), variance: variance.into(), inverse_deviation }
    }

    /// Returns the normalization with weight and bias as an affine function of each channel.
    fn affine<T: Real>(&self, weight: &Tensor, bias: &Tensor) -> Result<Affine<T>> {
        let (weight, bias) = (weight.to_vec1::<T>()?, bias.to_vec1::<T>()?);
        let channels = 0..self.mean.len();
        let scale = |c: usize| weight[c].to_f64() * self.inverse_deviation[c];
        let shift = |c: usize| bias[c].to_f64() - scale(c) * self.mean[c];
        Ok(Affine {
            scale: channels.clone().map(|c| T::from_f64(scale(c))).collect(),
            shift: channels.map(|c| T::from_f64(shift(c))).collect(),
        })
    }
}

impl BatchStatistics {
    /// Computes the statistics of `x [B, C, H, W]` over batch, height and width: the training form.
    ///
    /// # Errors
    /// Another rank, or fewer than two values of each channel, whose variance would be
    /// meaningless.
    pub fn of(x: &Tensor, eps: f64) -> Result<Self> {
        Self::of_channels_last(&to_channels_last(x, x.dtype())?, eps)
    }

    fn of_channels_last(x: &Tensor, eps: f64) -> Result<Self> {
        let (batch, height, width, channels) = x.dims4()?;
        let count = batch * height * width;
        if count < 2 {
            let x = [batch, channels, height, width];
            bail!("batch_norm: {x:?} has {count} value a channel, expected 2 or more")
        }
        Ok(Self::new(Numbers::of(x, channels, eps)?, channels, Some(count)))
    }

    fn new(numbers: Numbers, channels: usize, count: Option<usize>) -> Self {
        Self {
            numbers,
            channels,
            count,
            #[cfg(feature = "nccl")]
            shared: None,
        }
    }

    /// Combines the statistics with those of the other ranks' batches.
    #[cfg(feature = "nccl")]
    fn shared_over(mut self, communicator: &SharedCommunicator, eps: f64) -> Result<Self> {
        if let Numbers::Device(own) = &self.numbers {
            self.numbers =
                Numbers::Device(crate::cuda::batch_norm::shared(own, eps, communicator)?);
            self.count = self.count.map(|count| count * communicator.lock().world_size());
            self.shared = Some(communicator.clone());
        }
        Ok(self)
    }

    /// Takes running averages `mean [C]` and `variance [C]`: the evaluation form.
    ///
    /// # Errors
    /// Tensors that are not vectors of one length.
    pub fn running(mean: &Tensor, variance: &Tensor, eps: f64) -> Result<Self> {
        let (channels, variances) = (mean.dims1()?, variance.dims1()?);
        if channels != variances {
            bail!("batch_norm: {channels} running means, {variances} variances")
        }
        Ok(Self::new(Numbers::running(mean, variance, eps)?, channels, None))
    }

    /// Returns the number of channels.
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// Returns the mean of each channel. Waits for the GPU, if they are on one.
    ///
    /// # Errors
    /// A GPU that does not answer.
    pub fn mean(&self) -> Result<Vec<f64>> {
        match &self.numbers {
            Numbers::Host(host) => Ok(host.mean.to_vec()),
            #[cfg(feature = "cuda")]
            Numbers::Device(numbers) => Ok(crate::cuda::batch_norm::read(numbers)?.swap_remove(0)),
        }
    }

    /// Returns the variance of each channel as running averages use it: unbiased for a batch's own
    /// statistics. Waits for the GPU, if they are on one.
    ///
    /// # Errors
    /// A GPU that does not answer.
    pub fn unbiased_variance(&self) -> Result<Vec<f64>> {
        let variance = match &self.numbers {
            Numbers::Host(host) => host.variance.to_vec(),
            #[cfg(feature = "cuda")]
            Numbers::Device(numbers) => crate::cuda::batch_norm::read(numbers)?.swap_remove(1),
        };
        Ok(variance.iter().map(|v| v * self.correction()).collect())
    }

    /// Returns the factor that makes the variance unbiased, `n / (n - 1)`.
    fn correction(&self) -> f64 {
        self.count.map_or(1.0, |n| n as f64 / (n as f64 - 1.0))
    }

    /// Updates running averages, `running = (1 - momentum)·running + momentum·newest`, for mean and
    /// unbiased variance.
    ///
    /// # Errors
    /// Variables of another length or device.
    pub fn update_running(&self, mean: &Var, variance: &Var, momentum: f64) -> Result<()> {
        if [mean.dims(), variance.dims()].iter().any(|dims| *dims != [self.channels]) {
            let (m, v) = (mean.dims(), variance.dims());
            bail!("batch_norm: running averages {m:?} and {v:?} of {} channels", self.channels)
        }
        #[cfg(feature = "cuda")]
        if let Numbers::Device(numbers) = &self.numbers {
            let running = [mean.as_tensor(), variance.as_tensor()];
            let correction = self.correction();
            return crate::cuda::batch_norm::update_running(numbers, running, momentum, correction);
        }
        let update = |running: &Var, newest: &[f64]| {
            let newest = Tensor::new(newest, running.device())?.to_dtype(running.dtype())?;
            running.set(&((running.as_tensor() * (1.0 - momentum))? + (newest * momentum)?)?)
        };
        update(mean, &self.mean()?)?;
        update(variance, &self.unbiased_variance()?)
    }

    /// Returns the numbers for kernels on the CPU.
    fn host(&self) -> Result<&Host> {
        match &self.numbers {
            Numbers::Host(host) => Ok(host),
            #[cfg(feature = "cuda")]
            Numbers::Device(_) => bail!("batch_norm: statistics on a GPU for images on the CPU"),
        }
    }

    /// Returns the normalization with weight and bias as an affine function of each channel.
    pub(crate) fn affine<T: Real>(&self, weight: &Tensor, bias: &Tensor) -> Result<Affine<T>> {
        self.host()?.affine(weight, bias)
    }

    /// Returns the normalization with weight, bias and activation for kernels on a GPU.
    #[cfg(feature = "cuda")]
    pub(crate) fn on_gpu<'a>(
        &self,
        weight: &'a Tensor,
        bias: &'a Tensor,
        activation: Activation,
    ) -> Result<crate::cuda::batch_norm::Norm<'a>> {
        let Numbers::Device(statistics) = &self.numbers else {
            bail!("batch_norm: statistics on the CPU for images on a GPU")
        };
        let (statistics, slope) = (statistics.to_dtype(weight.dtype())?, activation.slope());
        Ok(crate::cuda::batch_norm::Norm {
            statistics,
            weight,
            bias,
            slope,
            #[cfg(feature = "nccl")]
            shared: self.shared.clone(),
        })
    }
}

impl Numbers {
    /// Computes the statistics of `x [B, H, W, C]`.
    fn of(x: &Tensor, channels: usize, eps: f64) -> Result<Self> {
        on_cuda!(x, crate::cuda::batch_norm::moments(x, eps).map(Self::Device));
        let (mean, variance) = dispatch!("batch_norm", x.dtype(), T => {
            moments(&slice_of::<T>(x)?, channels)
        });
        Ok(Self::Host(Host::new(mean, variance, eps)))
    }

    fn running(mean: &Tensor, variance: &Tensor, eps: f64) -> Result<Self> {
        on_cuda!(mean, crate::cuda::batch_norm::running(mean, variance, eps).map(Self::Device));
        let read = |t: &Tensor| t.to_dtype(candle_core::DType::F64)?.to_vec1::<f64>();
        Ok(Self::Host(Host::new(read(mean)?, read(variance)?, eps)))
    }
}

/// Computes `activation(weight · (x - mean) / sqrt(variance + eps) + bias + residual)`.
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
    let x = tape.input(x)?;
    let residual = residual.map(|residual| tape.input(residual)).transpose()?;
    let y = tape.batch_norm(&x, weight, bias, statistics, activation, residual.as_ref())?;
    tape.finish(y)
}

impl Tape {
    /// Computes the statistics of images over batch, height and width: the training form. They are
    /// those of all processes' batches if the tape's context says so.
    ///
    /// # Errors
    /// As [`BatchStatistics::of`], and NCCL's.
    pub fn batch_statistics(&self, x: &TapeTensor, eps: f64) -> Result<BatchStatistics> {
        let statistics = BatchStatistics::of_channels_last(&x.tensor, eps)?;
        #[cfg(feature = "nccl")]
        if let Some(communicator) = self.context.shared_statistics() {
            return statistics.shared_over(communicator, eps);
        }
        Ok(statistics)
    }

    /// Adds [`batch_norm`] as a layer.
    ///
    /// # Errors
    /// As for [`batch_norm`].
    pub fn batch_norm(
        &mut self,
        x: &TapeTensor,
        weight: &Tensor,
        bias: &Tensor,
        statistics: &BatchStatistics,
        activation: Activation,
        residual: Option<&TapeTensor>,
    ) -> Result<TapeTensor> {
        let (_, _, _, channels) = x.tensor.dims4()?;
        let s = statistics.channels;
        if [weight.dims(), bias.dims()].iter().any(|dims| *dims != [channels]) || s != channels {
            let (w, b) = (weight.dims(), bias.dims());
            bail!("batch_norm: weight {w:?}, bias {b:?}, {s} statistics for {channels} channels")
        }
        check_parameters("batch_norm", &x.tensor, &[weight, bias])?;
        if let Some(residual) = residual {
            check_same("batch_norm", &[&x.tensor, &residual.tensor])?;
            if residual.dims() != x.dims() {
                bail!("batch_norm: residual {:?} beside {:?}", residual.dims(), x.dims())
            }
        }
        self.record_parameter(weight);
        self.record_parameter(bias);
        let tensor = residual.map(|residual| &residual.tensor);
        let y = normalized(&x.tensor, weight, bias, statistics, activation, tensor)?;
        let added = residual.map(|residual| residual.layer);
        let needs_gradient =
            x.layer.or(added.flatten()).is_some() || weight.track_op() || bias.track_op();
        let layer = BatchNorm {
            x: x.clone(),
            weight: weight.clone(),
            bias: bias.clone(),
            statistics: statistics.clone(),
            activation,
            y: residual.map(|_| y.clone()),
        };
        Ok(self.record_layer(y, needs_gradient, move |dy, gradients| {
            let g = layer.gradients(&dy)?;
            gradients.add(layer.x.layer, g.dx)?;
            for (parameter, gradient) in [&layer.weight, &layer.bias].into_iter().zip(g.parameters)
            {
                if parameter.track_op() {
                    gradients.add_parameter(parameter, gradient)?;
                }
            }
            gradients.add(added.flatten(), g.residual.unwrap_or(dy))
        }))
    }
}

/// `activation(norm(x) + residual)`, channels-last.
fn normalized(
    x: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
    statistics: &BatchStatistics,
    activation: Activation,
    residual: Option<&Tensor>,
) -> Result<Tensor> {
    on_cuda!(x, statistics.on_gpu(weight, bias, activation)?.apply(x, residual));
    dispatch!("batch_norm", x.dtype(), T => {
        let affine = statistics.affine::<T>(weight, bias)?;
        let residual = residual.map(slice_of::<T>).transpose()?;
        let y = apply(&slice_of::<T>(x)?, &affine, activation, residual.as_deref());
        Tensor::from_vec(y, x.shape(), x.device())
    })
}

/// What the backward pass of a batch norm needs.
struct BatchNorm {
    x: TapeTensor,
    weight: Tensor,
    bias: Tensor,
    statistics: BatchStatistics,
    activation: Activation,
    /// The output, if there was a residual: its sign takes both to compute again.
    y: Option<Tensor>,
}

/// The gradients of a batch norm.
struct Gradients {
    dx: Tensor,
    /// Gradients of weight and bias.
    parameters: [Tensor; 2],
    /// Gradient of the residual, if it differs from that of the output.
    residual: Option<Tensor>,
}

impl BatchNorm {
    fn gradients(&self, dy: &Tensor) -> Result<Gradients> {
        let from_batch = self.statistics.count.is_some();
        on_cuda!(dy, {
            let norm = self.statistics.on_gpu(&self.weight, &self.bias, self.activation)?;
            let g = norm.gradients(&self.x.tensor, self.y.as_ref(), dy, from_batch)?;
            Ok(Gradients { dx: g.dx, parameters: [g.dweight, g.dbias], residual: g.residual })
        });
        let host = self.statistics.host()?;
        let normalization = Normalization {
            mean: &host.mean,
            inverse_deviation: &host.inverse_deviation,
            from_batch,
        };
        let device = dy.device();
        dispatch!("batch_norm", dy.dtype(), T => {
            let affine = host.affine::<T>(&self.weight, &self.bias)?;
            let y = self.y.as_ref().map(slice_of::<T>).transpose()?;
            let g = gradients(
                [&slice_of::<T>(&self.x.tensor)?, &slice_of::<T>(dy)?],
                &affine,
                &self.weight.to_vec1::<T>()?,
                &normalization,
                self.activation,
                y.as_deref(),
            );
            let dx = Tensor::from_vec(g.x, dy.shape(), device)?;
            let residual = g.residual.map(|r| Tensor::from_vec(r, dy.shape(), device)).transpose()?;
            let (weight, bias) = g.parameters.split_at(affine.scale.len());
            let parameters = [Tensor::new(weight, device)?, Tensor::new(bias, device)?];
            Ok(Gradients { dx, parameters, residual })
        })
    }
}
