//! The layers that backbones share: parameters by their published names, on a [`Tape`].

use candle_core::{Result, Tensor, Var};
use candle_nn::{Init, VarBuilder};
use fewshot_ops::{Activation, BatchStatistics, Conv2dOptions, FollowingNorm, Tape, TapeTensor};

use crate::Pass;

/// Added to variances, PyTorch's default.
const EPS: f64 = 1e-5;
/// Weight of the newest batch in running statistics, PyTorch's default.
const MOMENTUM: f64 = 0.1;

/// The sizes of a convolution.
#[derive(Clone, Copy, Debug)]
pub struct ConvSizes {
    /// Channels of its input.
    pub in_channels: usize,
    /// Channels of its output.
    pub out_channels: usize,
    /// Side of the kernel, in pixels.
    pub kernel: usize,
    /// Pixels from one position of the kernel to the next.
    pub stride: usize,
    /// Zeros around the image, in pixels.
    pub padding: usize,
}

impl ConvSizes {
    /// A 3×3 convolution that keeps the image size at stride 1.
    pub fn three_by_three(in_channels: usize, out_channels: usize, stride: usize) -> Self {
        Self { in_channels, out_channels, kernel: 3, stride, padding: 1 }
    }

    /// A 1×1 convolution, as in shortcuts.
    pub fn one_by_one(in_channels: usize, out_channels: usize, stride: usize) -> Self {
        Self { in_channels, out_channels, kernel: 1, stride, padding: 0 }
    }
}

/// A convolution.
#[derive(Clone)]
pub struct Conv {
    kernel: Tensor,
    bias: Option<Tensor>,
    options: Conv2dOptions,
}

impl Conv {
    /// A convolution without bias. Its kernel `weight [out, in, k, k]` is drawn from
    /// N(0, 2 / (out·k·k)), the published initialisation (fan-out).
    ///
    /// # Errors
    /// Parameters that are absent or of another shape.
    pub fn new(sizes: ConvSizes, parameters: VarBuilder) -> Result<Self> {
        let ConvSizes { in_channels, out_channels, kernel, stride, padding } = sizes;
        let stdev = (2.0 / (out_channels * kernel * kernel) as f64).sqrt();
        let init = Init::Randn { mean: 0.0, stdev };
        let shape = (out_channels, in_channels, kernel, kernel);
        let kernel = parameters.get_with_hints(shape, "weight", init)?;
        Ok(Self { kernel, bias: None, options: Conv2dOptions { stride, padding } })
    }

    /// The same with a `bias [out]`, drawn from U(-1/√fan-in, 1/√fan-in), PyTorch's default.
    ///
    /// # Errors
    /// Parameters that are absent or of another shape.
    pub fn with_bias(sizes: ConvSizes, parameters: VarBuilder) -> Result<Self> {
        let fan_in = sizes.in_channels * sizes.kernel * sizes.kernel;
        let bound = 1.0 / (fan_in as f64).sqrt();
        let init = Init::Uniform { lo: -bound, up: bound };
        let bias = Some(parameters.get_with_hints(sizes.out_channels, "bias", init)?);
        Ok(Self { bias, ..Self::new(sizes, parameters)? })
    }

    /// Convolves `x [B, H, W, in]` to `[B, H', W', out]`.
    ///
    /// # Errors
    /// Images of another shape or too small for the kernel.
    pub fn forward(&self, tape: &mut Tape, x: &TapeTensor) -> Result<TapeTensor> {
        tape.conv2d(x, &self.kernel, self.bias.as_ref(), self.options)
    }
}

/// Batch normalization with the residual addition and the activation that follow it.
#[derive(Clone)]
pub struct BatchNorm {
    weight: Tensor,
    bias: Tensor,
    running_mean: Var,
    running_var: Var,
}

impl BatchNorm {
    /// Takes `weight`, `bias`, `running_mean` and `running_var`, each `[channels]`, that start
    /// at 1, 0, 0 and 1.
    ///
    /// # Errors
    /// Parameters that are absent or of another shape.
    pub fn new(channels: usize, parameters: VarBuilder) -> Result<Self> {
        let get = |name, value| parameters.get_with_hints(channels, name, Init::Const(value));
        Ok(Self {
            weight: get("weight", 1.0)?,
            bias: get("bias", 0.0)?,
            running_mean: Var::from_tensor(&get("running_mean", 0.0)?)?,
            running_var: Var::from_tensor(&get("running_var", 1.0)?)?,
        })
    }

    fn running(&self) -> Result<BatchStatistics> {
        BatchStatistics::running(&self.running_mean, &self.running_var, EPS)
    }

    /// Computes `activation(norm(x) + residual)` of `x [B, H, W, C]`. Training passes update the
    /// running statistics.
    ///
    /// # Errors
    /// Images of another shape, or in training fewer than two values a channel.
    pub fn forward(
        &self,
        tape: &mut Tape,
        x: &TapeTensor,
        pass: Pass,
        activation: Activation,
        residual: Option<&TapeTensor>,
    ) -> Result<TapeTensor> {
        let statistics = match pass {
            Pass::Eval => self.running()?,
            Pass::Train { .. } => {
                let statistics = tape.batch_statistics(x, EPS)?;
                statistics.update_running(&self.running_mean, &self.running_var, MOMENTUM)?;
                statistics
            }
        };
        tape.batch_norm(x, &self.weight, &self.bias, &statistics, activation, residual)
    }
}

/// A convolution and the batch norm of its output. In evaluation, where no gradient is asked for,
/// the batch norm is folded into the convolution.
#[derive(Clone)]
pub struct ConvNorm {
    conv: Conv,
    norm: BatchNorm,
}

impl ConvNorm {
    /// Joins a convolution and a batch norm of its output channels.
    pub fn new(conv: Conv, norm: BatchNorm) -> Self {
        Self { conv, norm }
    }

    /// Computes `activation(norm(conv(x)) + residual)` of `x [B, H, W, C]`.
    ///
    /// # Errors
    /// Images of another shape, or in training fewer than two values a channel.
    pub fn forward(
        &self,
        tape: &mut Tape,
        x: &TapeTensor,
        pass: Pass,
        activation: Activation,
        residual: Option<&TapeTensor>,
    ) -> Result<TapeTensor> {
        let Self { conv, norm } = self;
        let of_norm = [&norm.weight, &norm.bias, &conv.kernel].into_iter();
        let tracked = of_norm.chain(&conv.bias).any(Tensor::track_op);
        let tracked = tracked || x.is_tracked() || residual.is_some_and(TapeTensor::is_tracked);
        if pass != Pass::Eval || tracked {
            let y = conv.forward(tape, x)?;
            return norm.forward(tape, &y, pass, activation, residual);
        }
        let following = FollowingNorm {
            weight: &norm.weight,
            bias: &norm.bias,
            statistics: &norm.running()?,
            activation,
            residual,
        };
        tape.conv2d_normed(x, &conv.kernel, conv.bias.as_ref(), conv.options, &following)
    }
}
