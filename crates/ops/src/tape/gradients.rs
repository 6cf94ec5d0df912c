//! Gradients of a tape's values and parameters during its backward pass.

use std::collections::HashMap;

use candle_core::{Result, Tensor, TensorId};

use super::context::Collector;
use super::{BackwardFn, add};

/// The gradients that backward functions take and add to.
pub(crate) struct Gradients<'a> {
    /// Gradient of each layer's output, until its backward function takes it.
    values: Vec<Option<Tensor>>,
    parameters: HashMap<TensorId, Tensor>,
    /// Number of layers that have yet to add to each parameter's gradient.
    pending: HashMap<TensorId, usize>,
    collector: Option<&'a mut Collector>,
}

impl<'a> Gradients<'a> {
    /// `uses`: the number of layers that take each parameter. `collector` receives the gradients
    /// of variables.
    pub(super) fn new(
        uses: HashMap<TensorId, usize>,
        collector: Option<&'a mut Collector>,
    ) -> Self {
        Self { values: Vec::new(), parameters: HashMap::new(), pending: uses, collector }
    }

    /// Calls backward functions, last to first, with `dy` as the gradient of output number
    /// `layer`. Returns gradients of parameters that the collector has not received.
    pub(super) fn propagate(
        mut self,
        backward_fns: Vec<BackwardFn>,
        layer: usize,
        dy: Tensor,
    ) -> Result<HashMap<TensorId, Tensor>> {
        self.values = vec![None; backward_fns.len()];
        self.values[layer] = Some(dy);
        for (layer, backward) in backward_fns.into_iter().enumerate().rev() {
            // The output of a layer that leads nowhere has no gradient.
            if let Some(dy) = self.values[layer].take() {
                backward(dy, &mut self)?;
            }
        }
        Ok(self.parameters)
    }

    /// Adds to the gradient of a layer's output, if one is needed.
    pub(crate) fn add(&mut self, layer: Option<usize>, gradient: Tensor) -> Result<()> {
        if let Some(layer) = layer {
            let sum = &mut self.values[layer];
            *sum = Some(accumulate(sum.take(), gradient)?);
        }
        Ok(())
    }

    /// Adds to the gradient of a parameter. Once all layers that take it have done so, the
    /// collector receives the gradient of a variable.
    pub(crate) fn add_parameter(&mut self, parameter: &Tensor, gradient: Tensor) -> Result<()> {
        let id = parameter.id();
        let sum = accumulate(self.parameters.remove(&id), gradient)?;
        let pending = self.pending.entry(id).or_insert(1);
        *pending -= 1;
        match &mut self.collector {
            Some(collector) if *pending == 0 && parameter.is_variable() => {
                collector.receive(id, sum)
            }
            _ => {
                self.parameters.insert(id, sum);
                Ok(())
            }
        }
    }
}

/// Adds `gradient` to a sum that may have no terms yet.
pub(super) fn accumulate(sum: Option<Tensor>, gradient: Tensor) -> Result<Tensor> {
    match sum {
        None => Ok(gradient),
        Some(sum) => add(&sum, &gradient),
    }
}
