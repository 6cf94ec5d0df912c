//! A tape as one operation on candle's tape.
//!
//! candle's operations take three arguments at most, and a network has many parameters. A chain
//! of operations that compute nothing, one for each parameter, therefore leads from the network's
//! operation to all of them. The network's operation runs the whole backward pass and leaves the
//! gradients where the operations of the chain find theirs.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

#[cfg(feature = "cuda")]
use candle_core::CudaStorage;
use candle_core::{
    CpuStorage, CustomOp1, CustomOp2, DType, Layout, Result, Shape, Tensor, TensorId, WithDType,
    bail,
};

use super::context::SharedCollector;
use super::gradients::Gradients;
use super::value::to_channels_last;
use super::{BackwardFn, Tape};
use crate::tensor::{dispatch, slice_of};

/// Gradients of parameters, for the operations of the chain.
type ParameterGradients = Arc<Mutex<HashMap<TensorId, Tensor>>>;

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Puts a finished tape on candle's: returns `y`, the output of `layer` as candle sees it, with
/// the way to all parameters. `dtype` is the number type of values inside the network.
pub(super) fn attach(tape: Tape, y: Tensor, dtype: DType, layer: usize) -> Result<Tensor> {
    let Some((first, others)) = tape.parameters.split_first() else { return Ok(y) };
    let gradients = ParameterGradients::default();
    let parameter = || ChainedParameter(Arc::clone(&gradients));
    let mut chain = first.apply_op1(parameter())?;
    for other in others {
        chain = chain.apply_op2(other, parameter())?;
    }
    chain.apply_op1(Network {
        y,
        dtype,
        layer,
        backward_fns: Mutex::new(Some(tape.backward_fns)),
        uses: tape.uses,
        collector: Arc::clone(tape.context.collector()),
        gradients,
    })
}

/// An operation of the chain that leads candle's tape to each parameter.
struct ChainedParameter(ParameterGradients);

/// The chain's result: one number that nobody reads.
fn placeholder() -> Result<(CpuStorage, Shape)> {
    Ok((f32::to_cpu_storage_owned(vec![0.0]), Shape::from(())))
}

#[cfg(feature = "cuda")]
fn placeholder_on(parameter: &CudaStorage) -> Result<(CudaStorage, Shape)> {
    Ok((crate::cuda::output(parameter, 1, DType::F32)?.0, Shape::from(())))
}

impl CustomOp1 for ChainedParameter {
    fn name(&self) -> &'static str {
        "parameter"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        placeholder()
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(&self, parameter: &CudaStorage, _: &Layout) -> Result<(CudaStorage, Shape)> {
        placeholder_on(parameter)
    }

    fn bwd(&self, parameter: &Tensor, _: &Tensor, _: &Tensor) -> Result<Option<Tensor>> {
        Ok(lock(&self.0).remove(&parameter.id()))
    }
}

impl CustomOp2 for ChainedParameter {
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
        placeholder()
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        _: &CudaStorage,
        _: &Layout,
        parameter: &CudaStorage,
        _: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        placeholder_on(parameter)
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
struct Network {
    y: Tensor,
    /// Number type of values inside the network.
    dtype: DType,
    /// Index of the layer whose output `y` is.
    layer: usize,
    /// Backward functions, in forward order, until the backward pass takes them.
    backward_fns: Mutex<Option<Vec<BackwardFn>>>,
    /// Number of layers that take each parameter.
    uses: HashMap<TensorId, usize>,
    collector: SharedCollector,
    gradients: ParameterGradients,
}

impl CustomOp1 for Network {
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
            _ => bail!("network: output on another device than the parameters"),
        }
    }

    fn bwd(&self, chain: &Tensor, _: &Tensor, dy: &Tensor) -> Result<Option<Tensor>> {
        let Some(backward_fns) = lock(&self.backward_fns).take() else {
            bail!("backward was called before: what it needed is freed; pass forward again")
        };
        let dy = dy.contiguous()?;
        let dy = if dy.rank() == 4 { to_channels_last(&dy, self.dtype)? } else { dy };
        let mut collector = lock(&self.collector);
        let gradients = Gradients::new(self.uses.clone(), collector.as_mut());
        *lock(&self.gradients) = gradients.propagate(backward_fns, self.layer, dy)?;
        Ok(Some(chain.zeros_like()?))
    }
}
