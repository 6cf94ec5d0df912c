//! The layers that all backbones share.

use candle_core::{Result, Tensor, Var};
use candle_nn::{Init, VarBuilder};
use fewshot_ops::{Activation, BatchStatistics, Conv2dOptions, FollowingNorm, Tape, TapeTensor};

use crate::backbone::Pass;

/// Added to variances, PyTorch's default.
pub const EPS: f64 = 1e-5;
/// Weight of the newest batch in running statistics, PyTorch's default.
const MOMENTUM: f64 = 0.1;

/// A convolution without bias and its sizes.
#[derive(Clone, Copy)]
pub struct ConvSizes {
    pub from: usize,
    pub to: usize,
    pub kernel: usize,
    pub stride: usize,
    pub padding: usize,
}

impl ConvSizes {
    /// 3×3 that keeps the image size at stride 1.
    pub fn three(from: usize, to: usize, stride: usize) -> Self {
        Self { from, to, kernel: 3, stride, padding: 1 }
    }

    /// 1×1, as in shortcuts.
    pub fn one(from: usize, to: usize, stride: usize) -> Self {
        Self { from, to, kernel: 1, stride, padding: 0 }
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
    /// Kernel from N(0, 2 / (out·k·k)), the published initialisation (fan-out).
    pub fn new(sizes: ConvSizes, parameters: VarBuilder) -> Result<Self> {
        let ConvSizes { from, to, kernel, stride, padding } = sizes;
        let stdev = (2.0 / (to * kernel * kernel) as f64).sqrt();
        let init = Init::Randn { mean: 0.0, stdev };
        let kernel = parameters.get_with_hints((to, from, kernel, kernel), "weight", init)?;
        Ok(Self { kernel, bias: None, options: Conv2dOptions { stride, padding } })
    }

    /// The same with a bias from U(-1/√fan-in, 1/√fan-in), PyTorch's default.
    pub fn with_bias(sizes: ConvSizes, parameters: VarBuilder) -> Result<Self> {
        let fan_in = sizes.from * sizes.kernel * sizes.kernel;
        let bound = 1.0 / (fan_in as f64).sqrt();
        let init = Init::Uniform { lo: -bound, up: bound };
        let bias = Some(parameters.get_with_hints(sizes.to, "bias", init)?);
        Ok(Self { bias, ..Self::new(sizes, parameters)? })
    }

    pub fn forward(&self, tape: &mut Tape, x: &TapeTensor) -> Result<TapeTensor> {
        tape.conv2d(x, &self.kernel, self.bias.as_ref(), self.options)
    }
}

/// Batch normalization with what follows it.
#[derive(Clone)]
pub struct BatchNorm {
    pub weight: Tensor,
    pub bias: Tensor,
    running_mean: Var,
    running_var: Var,
}

impl BatchNorm {
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

    /// `activation(norm(x) + residual)`. Training passes update the running statistics.
    pub fn forward(
        &self,
        tape: &mut Tape,
        x: &TapeTensor,
        pass: Pass,
        activation: Activation,
        residual: Option<&TapeTensor>,
    ) -> Result<TapeTensor> {
        #[cfg(test)]
        let x = &crate::parity::nudged(tape, x)?;
        let statistics = match pass {
            Pass::Eval => self.running()?,
            Pass::Train { .. } => {
                let statistics = tape.batch_statistics(x, EPS)?;
                statistics.update_running(&self.running_mean, &self.running_var, MOMENTUM)?;
                statistics
            }
        };
        let y = tape.batch_norm(x, &self.weight, &self.bias, &statistics, activation, residual)?;
        #[cfg(test)]
        let y = crate::parity::watched(tape, self, x, activation, residual, y)?;
        Ok(y)
    }
}

/// A convolution and the batch norm that takes its output.
#[derive(Clone)]
pub struct ConvNorm {
    conv: Conv,
    norm: BatchNorm,
}

impl ConvNorm {
    pub fn new(conv: Conv, norm: BatchNorm) -> Self {
        Self { conv, norm }
    }

    /// `activation(norm(conv(x)) + residual)`.
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
