//! Tensors from the bytes of a file.

mod budget;
mod elements;
mod view;

use std::collections::HashMap;

use candle_core::Tensor;

pub use self::budget::Budget;
use self::view::View;
use crate::error::excerpt;
use crate::torch::Object;
use crate::{Checkpoint, Error, PickleValue};

pub(crate) use self::view::unsigned_tuple;

/// Builds the tensors of one call, within a memory limit. Equal views share one tensor.
pub(crate) struct Materializer<'a> {
    checkpoint: &'a Checkpoint,
    budget: Budget,
    tensors: HashMap<View, Tensor>,
}

impl<'a> Materializer<'a> {
    pub(crate) fn new(checkpoint: &'a Checkpoint) -> Self {
        let budget = Budget::of_file(checkpoint.bytes().len());
        Self { checkpoint, budget, tensors: HashMap::new() }
    }

    pub(crate) fn tensor(&mut self, value: &PickleValue<'_>) -> Result<Tensor, Error> {
        let (object, name) = value.tensor_object()?;
        self.build(object).map_err(|reason| Error::Tensor { name: excerpt(name), reason })
    }

    fn build(&mut self, tensor: Object) -> Result<Tensor, String> {
        let content = self.checkpoint.content();
        let view = View::new(tensor, content)?;
        self.budget.reserve_tensor(0)?;
        if let Some(tensor) = self.tensors.get(&view) {
            return Ok(tensor.clone());
        }
        let storage = &content.storages[view.storage as usize];
        let element_size = elements::size_in_memory(storage.element);
        self.budget.reserve(view.len.saturating_mul(element_size))?;
        let data = &self.checkpoint.bytes()[storage.data.clone()];
        let tensor = elements::read(storage.element, data, &view).map_err(|e| e.to_string())?;
        self.tensors.insert(view, tensor.clone());
        Ok(tensor)
    }
}
