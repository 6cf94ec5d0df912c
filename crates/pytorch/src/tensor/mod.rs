//! Tensors from the bytes of a file.

mod elements;
mod view;

use std::collections::HashMap;

use candle_core::Tensor;

use self::view::View;
use crate::error::excerpt;
use crate::torch::Object;
use crate::{Checkpoint, Error, PickleValue};

pub(crate) use self::view::unsigned_tuple;

/// Smallest memory limit in bytes, for small files.
const MIN_LIMIT: u64 = 16 << 20;
/// Memory limit per byte of the file: as `int8` becomes `i64`, a sound file needs no more.
const LIMIT_PER_BYTE: u64 = 8;
/// Bytes counted for a tensor in addition to its elements, its entry in a map included.
const OVERHEAD: u64 = 1 << 10;

/// Builds the tensors of one call, within a memory limit. Equal views share one tensor.
pub(crate) struct Materializer<'a> {
    checkpoint: &'a Checkpoint,
    /// Bytes that all tensors may take.
    limit: u64,
    used: u64,
    tensors: HashMap<View, Tensor>,
}

impl<'a> Materializer<'a> {
    pub(crate) fn new(checkpoint: &'a Checkpoint) -> Self {
        let limit = (checkpoint.bytes().len() as u64).saturating_mul(LIMIT_PER_BYTE);
        Self { checkpoint, limit: limit.max(MIN_LIMIT), used: 0, tensors: HashMap::new() }
    }

    pub(crate) fn tensor(&mut self, value: &PickleValue<'_>) -> Result<Tensor, Error> {
        let (object, name) = value.tensor_object()?;
        self.build(object).map_err(|reason| Error::Tensor { name: excerpt(name), reason })
    }

    fn build(&mut self, tensor: Object) -> Result<Tensor, String> {
        let content = self.checkpoint.content();
        let view = View::new(tensor, content)?;
        self.reserve(OVERHEAD)?;
        if let Some(tensor) = self.tensors.get(&view) {
            return Ok(tensor.clone());
        }
        let storage = &content.storages[view.storage as usize];
        let element_size = elements::size_in_memory(storage.element);
        self.reserve(view.len.saturating_mul(element_size))?;
        let data = &self.checkpoint.bytes()[storage.data.clone()];
        let tensor = elements::read(storage.element, data, &view).map_err(|e| e.to_string())?;
        self.tensors.insert(view, tensor.clone());
        Ok(tensor)
    }

    /// Counts bytes towards the limit.
    fn reserve(&mut self, bytes: u64) -> Result<(), String> {
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
