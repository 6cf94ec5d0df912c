//! A tape of our own for whole networks.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

#[cfg(feature = "cuda")]
use candle_core::CudaStorage;
use candle_core::backprop::GradStore;
use candle_core::{
    CpuStorage, CustomOp1, CustomOp2, DType, Device, Layout, Result, Shape, Tensor, TensorId,
    WithDType, bail,
};

use crate::cpu::{elementwise, layout};
use crate::tensor::{check_same, dispatch, on_cuda, slice_of};

/// A network's layers as they are passed through, on channels-last images.
///
/// candle's tape clears a gradient and adds to it at every edge, and its images are planes by
/// channel, which vectors do not like. So a network of several layers [enters](Self::input)
/// its images here, and [leaves](Self::finish) with a candle tensor: on candle's tape it is one
/// operation, and `backward` gives gradients of all parameters as usual.
///
/// What the gradients need is kept only if a parameter or the images ask for them, and freed
/// as the way back goes on: a tape can be gone back once.
///
/// ```
/// use candle_core::{DType, Device, Tensor, Var};
/// use fewshot_ops::{Activation, BatchStatistics, Conv2dOptions, Tape};
///
/// # fn main() -> candle_core::Result<()> {
/// let images = Tensor::ones((2, 3, 8, 8), DType::F32, &Device::Cpu)?;
/// let kernel = Var::randn(0f32, 0.1, (4, 3, 3, 3), &Device::Cpu)?;
/// let (scale, shift) = (Var::ones(4, DType::F32, &Device::Cpu)?, Var::zeros(4, DType::F32, &Device::Cpu)?);
///
/// let mut tape = Tape::new();
/// let x = tape.input(&images)?;
/// let y = tape.conv2d(&x, &kernel, None, Conv2dOptions { stride: 2, padding: 1 })?;
/// let statistics = BatchStatistics::of_value(&y, 1e-5)?;
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
    /// The way back through each layer.
    ways: Vec<WayBack>,
    /// What gradients are asked for.
    parameters: Vec<Tensor>,
    /// How many layers take each of them.
    uses: HashMap<TensorId, usize>,
}

/// Takes the gradient of a layer's output, and adds those of its inputs.
type WayBack = Box<dyn FnOnce(Tensor, &mut Gradients) -> Result<()> + Send>;

/// What a layer gives: images `[B, C, H, W]` or features `[B, D]`.
#[derive(Clone)]
pub struct TapeTensor {
    /// `[B, H, W, C]` or `[B, D]`, off candle's tape.
    pub(crate) tensor: Tensor,
    /// The layer, where gradients are asked for.
    pub(crate) layer: Option<usize>,
}

impl TapeTensor {
    /// The sizes, `[B, H, W, C]` or `[B, D]`.
    pub fn dims(&self) -> &[usize] {
        self.tensor.dims()
    }

    /// Whether a gradient is asked for, by this or what came before.
    pub fn is_tracked(&self) -> bool {
        self.layer.is_some()
    }

    /// The number type.
    pub fn dtype(&self) -> DType {
        self.tensor.dtype()
    }

    /// The device.
    pub fn device(&self) -> &Device {
        self.tensor.device()
    }

    /// The numbers as a candle tensor off the tape, `[B, C, H, W]` or `[B, D]`.
    ///
    /// # Errors
    /// Out of memory.
    pub fn to_tensor(&self) -> Result<Tensor> {
        to_planes(&self.tensor)
    }
}

/// Gradients on the way back.
pub(crate) struct Gradients {
    values: Vec<Option<Tensor>>,
    parameters: HashMap<TensorId, Tensor>,
    /// How many layers are yet to add to each parameter's.
    uses: HashMap<TensorId, usize>,
}

impl Gradients {
    /// Adds to the gradient of a value, if one is asked for.
    pub(crate) fn add(&mut self, value: Option<usize>, gradient: Tensor) -> Result<()> {
        if let Some(value) = value {
            let sum = &mut self.values[value];
            *sum = Some(total(sum.take(), gradient)?);
        }
        Ok(())
    }

    /// Adds to the gradient of a parameter.
    pub(crate) fn add_parameter(&mut self, parameter: &Tensor, gradient: Tensor) -> Result<()> {
        let sum = total(self.parameters.remove(&parameter.id()), gradient)?;
        let left = self.uses.entry(parameter.id()).or_insert(1);
        *left -= 1;
        if *left == 0 && parameter.is_variable() {
            READY.with_borrow_mut(|ready| match ready {
                Some(ready) => ready(&sum),
                None => Ok(()),
            })?;
        }
        self.parameters.insert(parameter.id(), sum);
        Ok(())
    }
}

fn total(sum: Option<Tensor>, gradient: Tensor) -> Result<Tensor> {
    match sum {
        None => Ok(gradient),
        Some(sum) => add(&sum, &gradient),
    }
}

fn add(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    on_cuda!(a, crate::cuda::layout::sum(a, b));
    dispatch!("add", a.dtype(), T => {
        let sum = elementwise::sum(&slice_of::<T>(a)?, &slice_of::<T>(b)?);
        Tensor::from_vec(sum, a.shape(), a.device())
    })
}

impl Tape {
    /// An empty tape.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes images `[B, C, H, W]` from candle's tape. On a GPU they may be bfloat16: then so
    /// is all that the network computes of them, in sums of `f32`, beside parameters of `f32`;
    /// what [leaves](Self::finish) is `f32` again.
    ///
    /// # Errors
    /// Another rank or number type.
    pub fn input(&mut self, images: &Tensor) -> Result<TapeTensor> {
        images.dims4()?;
        let tensor = to_channels_last(images, images.dtype())?;
        if !images.track_op() {
            return Ok(TapeTensor { tensor, layer: None });
        }
        self.parameter(images);
        let source = images.clone();
        let way = move |dy: Tensor, gradients: &mut Gradients| {
            gradients.add_parameter(&source, to_planes(&dy)?)
        };
        Ok(self.layer(tensor, true, way))
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
        Ok(self.layer(sum, a.or(b).is_some(), move |dy, gradients| {
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
        Ok(self.layer(masked, x.is_some(), move |dy, gradients| {
            gradients.add(x, multiply(&dy, &mask)?)
        }))
    }

    /// Hands a value back to candle's tape, with all that led to it.
    ///
    /// # Errors
    /// Out of memory.
    pub fn finish(self, y: TapeTensor) -> Result<Tensor> {
        let planes = y.to_tensor()?;
        let (Some(layer), Some((first, others))) = (y.layer, self.parameters.split_first()) else {
            return Ok(planes);
        };
        let gradients = Arc::default();
        // candle's operations take three arguments at most: a chain makes all parameters known.
        let link = || Link(Arc::clone(&gradients));
        let mut chain = first.apply_op1(link())?;
        for parameter in others {
            chain = chain.apply_op2(parameter, link())?;
        }
        let variables = self.parameters.iter().filter(|p| p.is_variable()).map(Tensor::id);
        chain.apply_op1(Passed {
            y: planes,
            dtype: y.dtype(),
            layer,
            ways: Mutex::new(Some(self.ways)),
            uses: self.uses,
            variables: variables.collect(),
            gradients,
        })
    }

    /// Notes that a tensor's gradient is asked for, if it is.
    pub(crate) fn parameter(&mut self, tensor: &Tensor) {
        if !tensor.track_op() {
            return;
        }
        *self.uses.entry(tensor.id()).or_insert(0) += 1;
        if self.parameters.iter().all(|p| p.id() != tensor.id()) {
            self.parameters.push(tensor.clone());
        }
    }

    /// Adds a layer's output, with its way back if gradients are asked for.
    pub(crate) fn layer(
        &mut self,
        tensor: Tensor,
        needs_gradient: bool,
        way: impl FnOnce(Tensor, &mut Gradients) -> Result<()> + Send + 'static,
    ) -> TapeTensor {
        let layer = needs_gradient.then(|| {
            self.ways.push(Box::new(way));
            self.ways.len() - 1
        });
        TapeTensor { tensor, layer }
    }
}

fn multiply(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    on_cuda!(a, crate::cuda::layout::product(a, b));
    dispatch!("mask", a.dtype(), T => {
        let product = elementwise::product(&slice_of::<T>(a)?, &slice_of::<T>(b)?);
        Tensor::from_vec(product, a.shape(), a.device())
    })
}

/// `[B, C, H, W]` to `[B, H, W, C]` of the type `to`: the same, or bfloat16 of `f32`.
pub(crate) fn to_channels_last(x: &Tensor, to: DType) -> Result<Tensor> {
    let (batch, channels, height, width) = x.dims4()?;
    on_cuda!(x, crate::cuda::layout::to_channels_last(x, to));
    if to != x.dtype() {
        bail!("images of {to:?}: expected {:?} on a CPU", x.dtype())
    }
    dispatch!("images", x.dtype(), T => {
        let y = layout::exchange(&slice_of::<T>(&x.contiguous()?)?, channels, height * width);
        Tensor::from_vec(y, (batch, height, width, channels), x.device())
    })
}

/// `[B, H, W, C]` to `[B, C, H, W]`; features stay what they are. bfloat16 becomes `f32`.
fn to_planes(x: &Tensor) -> Result<Tensor> {
    let &[batch, height, width, channels] = x.dims() else { return Ok(x.clone()) };
    let to = if x.dtype() == DType::BF16 { DType::F32 } else { x.dtype() };
    on_cuda!(x, crate::cuda::layout::to_planes(x, to));
    if to != x.dtype() {
        bail!("images of bfloat16: expected f32 or f64 on a CPU")
    }
    dispatch!("images", x.dtype(), T => {
        let y = layout::exchange(&slice_of::<T>(x)?, height * width, channels);
        Tensor::from_vec(y, (batch, channels, height, width), x.device())
    })
}

/// What is called with a variable's gradient.
type Ready = Box<dyn FnMut(&Tensor) -> Result<()>>;

thread_local! {
    /// What [`backward_with`] calls.
    static READY: RefCell<Option<Ready>> = const { RefCell::new(None) };
    /// Gradients of variables during [`backward`].
    static TAKEN: RefCell<Option<Vec<(TensorId, Tensor)>>> = const { RefCell::new(None) };
}

/// `loss.backward()` that saves candle to clear and add the gradient of each variable that a
/// [`Tape`] had: three passes over all of a network's parameters.
///
/// # Errors
/// As candle's.
pub fn backward(loss: &Tensor) -> Result<GradStore> {
    TAKEN.set(Some(Vec::new()));
    let gradients = loss.backward();
    let taken = TAKEN.take().unwrap_or_default();
    let mut gradients = gradients?;
    for (id, gradient) in taken {
        let sum = total(gradients.get_id(id).cloned(), gradient)?;
        gradients.insert_id(id, sum);
    }
    Ok(gradients)
}

/// [`backward`] that calls `ready` with the gradient of each variable of a [`Tape`] as soon as it
/// is whole, while those of earlier layers are still to come: what is sent to other processes can
/// be on its way meanwhile. `ready` may change the gradient's memory, which is what is returned.
///
/// # Errors
/// As candle's, or those of `ready`.
pub fn backward_with(
    loss: &Tensor,
    ready: impl FnMut(&Tensor) -> Result<()> + 'static,
) -> Result<GradStore> {
    READY.set(Some(Box::new(ready)));
    let gradients = backward(loss);
    READY.set(None);
    gradients
}

/// Gradients of parameters that the way back left for their links.
type Left = Arc<Mutex<HashMap<TensorId, Tensor>>>;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A link of the chain that leads candle's tape to each parameter.
struct Link(Left);

fn nothing() -> Result<(CpuStorage, Shape)> {
    Ok((f32::to_cpu_storage_owned(vec![0.0]), Shape::from(())))
}

#[cfg(feature = "cuda")]
fn nothing_on(parameter: &CudaStorage) -> Result<(CudaStorage, Shape)> {
    Ok((crate::cuda::output(parameter, 1, DType::F32)?.0, Shape::from(())))
}

impl CustomOp1 for Link {
    fn name(&self) -> &'static str {
        "parameter"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        nothing()
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(&self, parameter: &CudaStorage, _: &Layout) -> Result<(CudaStorage, Shape)> {
        nothing_on(parameter)
    }

    fn bwd(&self, parameter: &Tensor, _: &Tensor, _: &Tensor) -> Result<Option<Tensor>> {
        Ok(lock(&self.0).remove(&parameter.id()))
    }
}

impl CustomOp2 for Link {
    fn name(&self) -> &'static str {
        "parameter"
    }

    fn cpu_fwd(
        &self,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        nothing()
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        _: &CudaStorage,
        _: &Layout,
        parameter: &CudaStorage,
        _: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        nothing_on(parameter)
    }

    fn bwd(
        &self,
        chain: &Tensor,
        parameter: &Tensor,
        _: &Tensor,
        _: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        Ok((Some(chain.zeros_like()?), lock(&self.0).remove(&parameter.id())))
    }
}

/// The whole tape as one operation of candle's.
struct Passed {
    y: Tensor,
    /// Of images in the network.
    dtype: DType,
    layer: usize,
    ways: Mutex<Option<Vec<WayBack>>>,
    uses: HashMap<TensorId, usize>,
    variables: Vec<TensorId>,
    gradients: Left,
}

impl CustomOp1 for Passed {
    fn name(&self) -> &'static str {
        "network"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        dispatch!("network", self.y.dtype(), T => {
            let y = slice_of::<T>(&self.y)?.to_vec();
            Ok((T::to_cpu_storage_owned(y), self.y.shape().clone()))
        })
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(&self, _: &CudaStorage, _: &Layout) -> Result<(CudaStorage, Shape)> {
        use candle_core::backend::BackendStorage as _;
        let (storage, layout) = self.y.storage_and_layout();
        match &*storage {
            candle_core::Storage::Cuda(y) => Ok((y.try_clone(layout)?, self.y.shape().clone())),
            _ => bail!("a network's output left its GPU"),
        }
    }

    fn bwd(&self, chain: &Tensor, _: &Tensor, dy: &Tensor) -> Result<Option<Tensor>> {
        let Some(ways) = lock(&self.ways).take() else {
            bail!("backward was called before: what it needed is freed; pass forward again")
        };
        let mut values = vec![None; ways.len()];
        let dy = dy.contiguous()?;
        let dy = if dy.rank() == 4 { to_channels_last(&dy, self.dtype)? } else { dy };
        values[self.layer] = Some(dy);
        let uses = self.uses.clone();
        let mut gradients = Gradients { values, parameters: HashMap::new(), uses };
        for (layer, way) in ways.into_iter().enumerate().rev() {
            // A layer that led nowhere has none.
            if let Some(dy) = gradients.values[layer].take() {
                way(dy, &mut gradients)?;
            }
        }
        let mut parameters = gradients.parameters;
        TAKEN.with_borrow_mut(|taken| {
            if let Some(taken) = taken {
                taken.extend(self.variables.iter().filter_map(|id| parameters.remove_entry(id)));
            }
        });
        *lock(&self.gradients) = parameters;
        Ok(Some(chain.zeros_like()?))
    }
}
