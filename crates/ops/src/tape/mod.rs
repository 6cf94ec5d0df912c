//! A tape for whole networks, which is one operation to candle.

mod bridge;
mod context;
mod gradients;
mod mixing;
mod value;

use std::collections::HashMap;

use candle_core::{Result, Tensor, TensorId, bail};

use crate::cpu::elementwise;
use crate::tensor::{check_same, dispatch, on_cuda, slice_of};

pub use context::TapeContext;
use gradients::Gradients;
pub use mixing::Mixing;
pub use value::TapeTensor;
pub(crate) use value::to_channels_last;
use value::to_planes;

/// Records a network's layers as they compute, on channels-last images.
///
/// candle's own tape clears a gradient and adds to it at every edge, and its images are planes by
/// channel, which suit vector instructions badly. A network of several layers therefore takes its
/// images in by [`input`](Self::input) and hands a candle tensor back by [`finish`](Self::finish):
/// to candle it is one operation, and `backward` gives the gradients of all parameters as usual.
///
/// What the backward pass needs is kept only if a parameter or the images need a gradient, and is
/// freed as that pass goes on: each tape allows one backward pass.
///
/// A [`TapeContext`] sets how layers compute, and takes the gradients of variables on a shorter
/// way.
///
/// ```
/// use candle_core::{DType, Device, Tensor, Var};
/// use fewshot_ops::{Activation, Conv2dOptions, Tape};
///
/// # fn main() -> candle_core::Result<()> {
/// let images = Tensor::ones((2, 3, 8, 8), DType::F32, &Device::Cpu)?;
/// let kernel = Var::randn(0f32, 0.1, (4, 3, 3, 3), &Device::Cpu)?;
/// let (scale, shift) = (Var::ones(4, DType::F32, &Device::Cpu)?, Var::zeros(4, DType::F32, &Device::Cpu)?);
///
/// let mut tape = Tape::new();
/// let x = tape.input(&images)?;
/// let y = tape.conv2d(&x, &kernel, None, Conv2dOptions { stride: 2, padding: 1 })?;
/// let statistics = tape.batch_statistics(&y, 1e-5)?;
/// let y = tape.batch_norm(&y, &scale, &shift, &statistics, Activation::Relu, None)?;
/// let y = tape.global_avg_pool(&y)?;
/// let features = tape.finish(y)?;
/// assert_eq!(features.dims(), [2, 4]);
/// let gradients = features.sum_all()?.backward()?;
/// assert_eq!(gradients.get(&kernel).unwrap().dims(), [4, 3, 3, 3]);
/// # Ok(())
/// # }
/// ```
#[derive(Default)]
pub struct Tape {
    pub(crate) context: TapeContext,
    /// Backward functions, in forward order.
    backward_fns: Vec<BackwardFn>,
    /// Tensors of candle's tape that need a gradient, each once.
    parameters: Vec<Tensor>,
    /// Number of layers that take each of them.
    uses: HashMap<TensorId, usize>,
    /// Number of places so far at which images may be mixed.
    mixing_places: usize,
}

/// Takes the gradient of a layer's output and adds to those of its inputs and parameters.
type BackwardFn = Box<dyn FnOnce(Tensor, &mut Gradients) -> Result<()> + Send>;

impl Tape {
    /// Returns an empty tape.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns an empty tape whose layers follow `context`.
    pub fn with_context(context: &TapeContext) -> Self {
        Self { context: context.clone(), ..Self::default() }
    }

    /// Takes images `[B, C, H, W]` from candle's tape. On a GPU they may be bfloat16: then so
    /// are all values that the network computes from them, with sums and parameters in `f32`;
    /// what [`finish`](Self::finish) returns is `f32` again.
    ///
    /// # Errors
    /// Another rank or number type.
    pub fn input(&mut self, images: &Tensor) -> Result<TapeTensor> {
        images.dims4()?;
        let tensor = to_channels_last(images, images.dtype())?;
        if !images.track_op() {
            return Ok(TapeTensor { tensor, layer: None });
        }
        self.record_parameter(images);
        let images = images.clone();
        Ok(self.record_layer(tensor, true, move |dy, gradients| {
            gradients.add_parameter(&images, to_planes(&dy)?)
        }))
    }

    /// Adds two values of one shape.
    ///
    /// # Errors
    /// Shapes or number types that differ.
    pub fn add(&mut self, a: &TapeTensor, b: &TapeTensor) -> Result<TapeTensor> {
        check_same("add", &[&a.tensor, &b.tensor])?;
        if a.dims() != b.dims() {
            bail!("add: {:?} and {:?}", a.dims(), b.dims())
        }
        let sum = add(&a.tensor, &b.tensor)?;
        let (a, b) = (a.layer, b.layer);
        Ok(self.record_layer(sum, a.or(b).is_some(), move |dy, gradients| {
            gradients.add(a, dy.clone())?;
            gradients.add(b, dy)
        }))
    }

    /// Multiplies images by a constant `mask [B, C, H, W]`.
    ///
    /// # Errors
    /// Shapes or number types that differ.
    pub fn mask(&mut self, x: &TapeTensor, mask: &Tensor) -> Result<TapeTensor> {
        let mask = to_channels_last(&mask.detach(), x.dtype())?;
        check_same("mask", &[&x.tensor, &mask])?;
        if x.dims() != mask.dims() {
            bail!("mask: {:?} for {:?}", mask.dims(), x.dims())
        }
        let masked = multiply(&x.tensor, &mask)?;
        let x = x.layer;
        Ok(self.record_layer(masked, x.is_some(), move |dy, gradients| {
            gradients.add(x, multiply(&dy, &mask)?)
        }))
    }

    /// Returns a value to candle's tape, with everything that led to it: images
    /// `[B, C, H, W]` or features `[B, D]`.
    ///
    /// # Errors
    /// Out of memory.
    pub fn finish(self, y: TapeTensor) -> Result<Tensor> {
        let planes = y.to_tensor()?;
        match y.layer {
            None => Ok(planes),
            Some(layer) => bridge::attach(self, planes, y.dtype(), layer),
        }
    }

    /// Records that a layer takes a parameter, if that needs a gradient.
    pub(crate) fn record_parameter(&mut self, tensor: &Tensor) {
        if !tensor.track_op() {
            return;
        }
        *self.uses.entry(tensor.id()).or_insert(0) += 1;
        if self.parameters.iter().all(|p| p.id() != tensor.id()) {
            self.parameters.push(tensor.clone());
        }
    }

    /// Records a layer's output, with the layer's backward function if a gradient is needed.
    pub(crate) fn record_layer(
        &mut self,
        output: Tensor,
        needs_gradient: bool,
        backward: impl FnOnce(Tensor, &mut Gradients) -> Result<()> + Send + 'static,
    ) -> TapeTensor {
        let layer = needs_gradient.then(|| {
            self.backward_fns.push(Box::new(backward));
            self.backward_fns.len() - 1
        });
        TapeTensor { tensor: output, layer }
    }
}

fn add(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    on_cuda!(a, crate::cuda::layout::sum(a, b));
    dispatch!("add", a.dtype(), T => {
        let sum = elementwise::sum(&slice_of::<T>(a)?, &slice_of::<T>(b)?);
        Tensor::from_vec(sum, a.shape(), a.device())
    })
}

fn multiply(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    on_cuda!(a, crate::cuda::layout::product(a, b));
    dispatch!("mask", a.dtype(), T => {
        let product = elementwise::product(&slice_of::<T>(a)?, &slice_of::<T>(b)?);
        Tensor::from_vec(product, a.shape(), a.device())
    })
}
