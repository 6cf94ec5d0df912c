//! The exponential moving average of a network's weights.

use std::collections::BTreeMap;

use candle_core::{Device, Result as TensorResult, Tensor, bail};
use fewshot_experiment::{Config, Error, Model};

/// Prefix of the names in the optimizer's file.
const PREFIX: &str = "average.";

/// A network whose parameters and running statistics follow another one's:
/// `average += (1 - decay) · (value - average)` after each step, as
/// `torch.optim.swa_utils.AveragedModel` with `use_buffers`.
pub(crate) struct Average {
    decay: f64,
    model: Model,
}

impl Average {
    /// Begins with a model's present weights, if the configuration asks for an average.
    ///
    /// # Errors
    /// Out of memory.
    pub(crate) fn new(
        config: &Config,
        model: &Model,
        device: &Device,
    ) -> Result<Option<Self>, Error> {
        let decay = config.train.ema;
        if decay == 0.0 {
            return Ok(None);
        }
        let copy = |(name, value): (String, candle_core::Var)| Ok((name, value.copy()?));
        let tensors = model.parameters.all().into_iter().map(copy).collect::<TensorResult<_>>()?;
        Ok(Some(Self { decay, model: Model::from_tensors(config, &tensors, device)? }))
    }

    /// The network with averaged weights.
    pub(crate) fn model(&self) -> &Model {
        &self.model
    }

    /// Follows a step of the model.
    ///
    /// # Errors
    /// Out of memory.
    pub(crate) fn follow(&self, model: &Model) -> TensorResult<()> {
        let values = model.parameters.all();
        for (name, average) in self.model.parameters.all() {
            let behind = (values[&name].as_detached_tensor() - average.as_detached_tensor())?;
            average.set(&(average.as_detached_tensor() + (behind * (1.0 - self.decay))?)?)?;
        }
        Ok(())
    }

    /// What a training that goes on needs, by names of its own.
    pub(crate) fn tensors(&self) -> impl Iterator<Item = (String, Tensor)> {
        let all = self.model.parameters.all().into_iter();
        all.map(|(name, value)| (format!("{PREFIX}{name}"), value.as_detached_tensor()))
    }

    /// Goes on with what [`tensors`](Self::tensors) gave.
    ///
    /// # Errors
    /// The state of a training without an average.
    pub(crate) fn load(&self, tensors: &BTreeMap<String, Tensor>) -> TensorResult<()> {
        for (name, average) in self.model.parameters.all() {
            match tensors.get(&format!("{PREFIX}{name}")) {
                Some(tensor) if tensor.dims() == average.dims() => {
                    average.set(&tensor.to_device(average.device())?)?;
                }
                _ => bail!("the state of a training without an average of `{name}`"),
            }
        }
        Ok(())
    }
}
