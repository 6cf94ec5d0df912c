//! What the layers of a tape, and its backward pass, depend on beside their arguments.

use std::sync::{Arc, Mutex};

use candle_core::backprop::GradStore;
use candle_core::{Result, Tensor, TensorId, bail};

use super::bridge::lock;
use super::gradients::accumulate;
use super::mixing::Mixing;
#[cfg(feature = "nccl")]
use crate::cuda::nccl::SharedCommunicator;

/// Settings of a [`Tape`](crate::Tape), and a backward pass that is faster than candle's.
///
/// Clones share the backward pass: a network computes on a tape that has the context, and the
/// same context then takes the loss.
///
/// ```
/// use candle_core::{DType, Device, Tensor, Var};
/// use fewshot_ops::{Conv2dOptions, Tape, TapeContext};
///
/// # fn main() -> candle_core::Result<()> {
/// let images = Tensor::ones((2, 3, 8, 8), DType::F32, &Device::Cpu)?;
/// let kernel = Var::randn(0f32, 0.1, (4, 3, 3, 3), &Device::Cpu)?;
///
/// let context = TapeContext::new();
/// let mut tape = Tape::with_context(&context);
/// let x = tape.input(&images)?;
/// let y = tape.conv2d(&x, &kernel, None, Conv2dOptions { stride: 1, padding: 1 })?;
/// let loss = tape.finish(y)?.sqr()?.mean_all()?;
/// let gradients = context.backward(&loss)?;
/// assert_eq!(gradients.get(&kernel).unwrap().dims(), [4, 3, 3, 3]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Default)]
pub struct TapeContext {
    direct_convolution: bool,
    mixing: Option<Mixing>,
    #[cfg(feature = "nccl")]
    shared_statistics: Option<SharedCommunicator>,
    collector: SharedCollector,
}

/// The collector, while a backward pass of the context runs.
pub(super) type SharedCollector = Arc<Mutex<Option<Collector>>>;

impl TapeContext {
    /// Returns the default context.
    pub fn new() -> Self {
        Self::default()
    }

    /// Has convolutions on the CPU, and their gradients, sum every product: for comparisons down
    /// to rounding.
    ///
    /// By default 3×3 convolutions of stride 1 take fewer products (Winograd), and round by up to
    /// twice as much.
    #[must_use]
    pub fn with_direct_convolution(self) -> Self {
        Self { direct_convolution: true, ..self }
    }

    /// Has images mixed with one another at one of a network's
    /// [places](crate::Tape::mixing_place) for it.
    #[must_use]
    pub fn with_mixing(self, mixing: Mixing) -> Self {
        Self { mixing: Some(mixing), ..self }
    }

    /// Has [`batch_statistics`](crate::Tape::batch_statistics) be those of the batches of all
    /// ranks of `communicator` together, which must be equally large. Gradients flow through
    /// them accordingly.
    #[cfg(feature = "nccl")]
    #[must_use]
    pub fn with_shared_statistics(self, communicator: &SharedCommunicator) -> Self {
        Self { shared_statistics: Some(communicator.clone()), ..self }
    }

    pub(super) fn mixing(&self) -> Option<&Mixing> {
        self.mixing.as_ref()
    }

    pub(crate) fn direct_convolution(&self) -> bool {
        self.direct_convolution
    }

    #[cfg(feature = "nccl")]
    pub(crate) fn shared_statistics(&self) -> Option<&SharedCommunicator> {
        self.shared_statistics.as_ref()
    }

    pub(super) fn collector(&self) -> &SharedCollector {
        &self.collector
    }

    /// Computes what `loss.backward()` does, and spares candle to clear and add the gradient of
    /// each variable that a tape of this context has: three passes over all of a network's
    /// parameters.
    ///
    /// # Errors
    /// As candle's; another backward pass of this context at the same time.
    pub fn backward(&self, loss: &Tensor) -> Result<GradStore> {
        self.backward_with(loss, |_| Ok(()))
    }

    /// Computes gradients as [`backward`](Self::backward), and calls `on_gradient` with the
    /// gradient of each variable as soon as it is complete, while those of earlier layers are
    /// still to come: it can be on its way to other processes meanwhile. `on_gradient` may
    /// change the gradient's memory, which is what is returned.
    ///
    /// # Errors
    /// As [`backward`](Self::backward), or those of `on_gradient`.
    pub fn backward_with(
        &self,
        loss: &Tensor,
        on_gradient: impl FnMut(&Tensor) -> Result<()> + Send + 'static,
    ) -> Result<GradStore> {
        let collector = Collector { gradients: Vec::new(), on_gradient: Box::new(on_gradient) };
        {
            let mut current = lock(&self.collector);
            if current.is_some() {
                bail!("backward: another backward pass of this tape context is not over")
            }
            *current = Some(collector);
        }
        let gradients = loss.backward();
        let collected = lock(&self.collector).take();
        let mut gradients = gradients?;
        for (id, gradient) in collected.into_iter().flat_map(|collector| collector.gradients) {
            let sum = accumulate(gradients.get_id(id).cloned(), gradient)?;
            gradients.insert_id(id, sum);
        }
        Ok(gradients)
    }
}

/// Function that is called with each gradient of a variable.
type OnGradient = Box<dyn FnMut(&Tensor) -> Result<()> + Send>;

/// Receives the gradients of variables from the tapes of a context.
pub(crate) struct Collector {
    gradients: Vec<(TensorId, Tensor)>,
    on_gradient: OnGradient,
}

impl Collector {
    pub(super) fn receive(&mut self, variable: TensorId, gradient: Tensor) -> Result<()> {
        (self.on_gradient)(&gradient)?;
        self.gradients.push((variable, gradient));
        Ok(())
    }
}
