//! Tensors out of the bytes of a file.

mod elements;
mod view;

use std::collections::HashMap;

use candle_core::Tensor;

use self::view::View;
use crate::error::quote;
use crate::torch::Object;
use crate::{Checkpoint, Error, PickleValue};

pub(crate) use self::view::naturals;

const LEAST_LIMIT: u64 = 16 << 20;
/// The most that an honest file may need: `int8` becomes `i64`.
const LIMIT_PER_BYTE: u64 = 8;
/// What a tensor takes beside its elements, and its entry in a map.
const OVERHEAD: u64 = 1 << 10;

/// Makes the tensors of one call.
pub(crate) struct Materialiser<'a> {
    checkpoint: &'a Checkpoint,
    limit: u64,
    used: u64,
    made: HashMap<View, Tensor>,
}

impl<'a> Materialiser<'a> {
    pub(crate) fn new(checkpoint: &'a Checkpoint) -> Self {
        let limit = (checkpoint.bytes().len() as u64).saturating_mul(LIMIT_PER_BYTE);
        Self { checkpoint, limit: limit.max(LEAST_LIMIT), used: 0, made: HashMap::new() }
    }

    pub(crate) fn tensor(&mut self, value: &PickleValue<'_>) -> Result<Tensor, Error> {
        let (object, name) = value.object()?;
        self.make(object).map_err(|reason| Error::Tensor { name: quote(name), reason })
    }

    fn make(&mut self, tensor: Object) -> Result<Tensor, String> {
        let content = self.checkpoint.content();
        let view = View::of(tensor, content)?;
        self.spend(OVERHEAD)?;
        if let Some(made) = self.made.get(&view) {
            return Ok(made.clone());
        }
        let storage = &content.storages[view.storage as usize];
        let element_size = elements::size_in_memory(storage.element);
        self.spend(view.len.saturating_mul(element_size))?;
        let data = &self.checkpoint.bytes()[storage.data.clone()];
        let made = elements::read(storage.element, data, &view).map_err(|e| e.to_string())?;
        self.made.insert(view, made.clone());
        Ok(made)
    }

    fn spend(&mut self, bytes: u64) -> Result<(), String> {
        self.used = self.used.saturating_add(bytes);
        if self.used <= self.limit {
            return Ok(());
        }
        Err(format!(
            "with those before it {} bytes, more than the limit of {} for a file of {}",
            self.used,
            self.limit,
            self.checkpoint.bytes().len()
        ))
    }
}
