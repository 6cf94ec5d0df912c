//! Values of a checkpoint, and their conversions.

use std::collections::BTreeMap;
use std::fmt;

use candle_core::Tensor;

use crate::error::excerpt;
use crate::pickle::{Id, Node};
use crate::tensor::Materializer;
use crate::torch::{Object, StringEncoding};
use crate::{Array, Checkpoint, Error};

/// A value of a [`Checkpoint`]: a small handle that holds its key for messages.
#[derive(Clone, Copy)]
pub struct PickleValue<'a> {
    checkpoint: &'a Checkpoint,
    id: Id,
    name: &'a str,
}

impl<'a> PickleValue<'a> {
    pub(crate) fn new(checkpoint: &'a Checkpoint, id: Id, name: &'a str) -> Self {
        Self { checkpoint, id, name }
    }

    pub(crate) fn checkpoint(&self) -> &'a Checkpoint {
        self.checkpoint
    }

    pub(crate) fn name(&self) -> &'a str {
        self.name
    }

    pub(crate) fn node(&self) -> &'a Node<Object> {
        self.checkpoint.content().arena.get(self.id)
    }

    /// Returns the type for messages: `a dict`, `an integer`, `a tensor`, …
    pub fn kind(&self) -> &'static str {
        match self.node() {
            Node::Object(Object::Tensor { .. }) => "a tensor",
            Node::Object(Object::Storage { .. }) => "a storage",
            Node::Object(Object::UninitializedArray | Object::Array { .. }) => "a numpy array",
            Node::Object(Object::StringInFile {
                encoding: StringEncoding::Binary | StringEncoding::Latin1,
                ..
            }) => "bytes",
            Node::Object(Object::StringInFile { .. }) => "a string",
            Node::Object(Object::Global(_) | Object::Dtype(_)) => "a class or function",
            plain => plain.kind(),
        }
    }

    /// Returns the bytes and encoding of a string that was not copied.
    fn string_in_file(&self) -> Option<(&'a [u8], StringEncoding)> {
        match *self.node() {
            Node::Object(Object::StringInFile { start, len, encoding }) => {
                Some((&self.checkpoint.bytes()[start..start + len], encoding))
            }
            _ => None,
        }
    }

    pub(crate) fn mismatch(&self, expected: &'static str) -> Error {
        Error::Type { name: excerpt(self.name), found: self.kind(), expected }
    }

    /// Whether this is Python's `None`.
    pub fn is_none(&self) -> bool {
        matches!(self.node(), Node::None)
    }

    /// Returns a boolean.
    ///
    /// # Errors
    /// [`Error::Type`] if it is something else.
    pub fn as_bool(&self) -> Result<bool, Error> {
        match self.node() {
            Node::Bool(value) => Ok(*value),
            _ => Err(self.mismatch("a boolean")),
        }
    }

    /// Returns an integer.
    ///
    /// # Errors
    /// [`Error::Type`] if it is something else or has more than 64 bits.
    pub fn as_int(&self) -> Result<i64, Error> {
        let expected = "an integer of at most 64 bits";
        match self.node() {
            Node::Int(value) => i64::try_from(*value).map_err(|_| self.mismatch(expected)),
            _ => Err(self.mismatch(expected)),
        }
    }

    /// Returns a number; integers are converted.
    ///
    /// # Errors
    /// [`Error::Type`] if it is something else.
    pub fn as_float(&self) -> Result<f64, Error> {
        match self.node() {
            Node::Float(value) => Ok(*value),
            Node::Int(value) => Ok(*value as f64),
            _ => Err(self.mismatch("a number")),
        }
    }

    /// Returns a string.
    ///
    /// # Errors
    /// [`Error::Type`] if it is something else.
    pub fn as_str(&self) -> Result<&'a str, Error> {
        match self.node() {
            Node::Text(text) => Ok(text),
            _ => match self.string_in_file() {
                Some((bytes, StringEncoding::Python2 | StringEncoding::Utf8)) => {
                    std::str::from_utf8(bytes).ok()
                }
                _ => None,
            }
            .ok_or_else(|| self.mismatch("a string")),
        }
    }

    /// Returns bytes.
    ///
    /// # Errors
    /// [`Error::Type`] if it is something else.
    pub fn as_bytes(&self) -> Result<&'a [u8], Error> {
        match self.node() {
            Node::Bytes(bytes) => Ok(bytes),
            _ => match self.string_in_file() {
                Some((bytes, StringEncoding::Python2 | StringEncoding::Binary)) => Ok(bytes),
                _ => Err(self.mismatch("bytes")),
            },
        }
    }

    /// Returns the items of a list or tuple.
    ///
    /// # Errors
    /// [`Error::Type`] if it is something else.
    pub fn items(&self) -> Result<impl ExactSizeIterator<Item = PickleValue<'a>> + use<'a>, Error> {
        let items: &[Id] = match self.node() {
            Node::List(items) => items,
            Node::Tuple(items) => items,
            _ => return Err(self.mismatch("a list or tuple")),
        };
        let parent = *self;
        Ok(items.iter().map(move |id| PickleValue { id: *id, ..parent }))
    }

    /// Returns the keys and values of a dict in the order in which they were written. A key may
    /// occur twice: then the later value is the one that counts.
    ///
    /// # Errors
    /// [`Error::Type`] if it is something else.
    pub fn entries(
        &self,
    ) -> Result<impl ExactSizeIterator<Item = (PickleValue<'a>, PickleValue<'a>)> + use<'a>, Error>
    {
        let Node::Dict(entries) = self.node() else { return Err(self.mismatch("a dict")) };
        let parent = *self;
        let arena = &self.checkpoint.content().arena;
        Ok(entries.iter().map(move |(key, value)| {
            let name = arena.text(*key).unwrap_or(parent.name);
            (PickleValue { id: *key, ..parent }, PickleValue { id: *value, name, ..parent })
        }))
    }

    /// Returns the value of a dict under a string.
    ///
    /// # Errors
    /// [`Error::Type`] if this is not a dict, [`Error::NoEntry`] if it has no such key.
    pub fn get(&self, key: &str) -> Result<PickleValue<'a>, Error> {
        let entries = self.entries()?;
        let arena = &self.checkpoint.content().arena;
        if let Some((name, id)) = arena.entry(self.id, key) {
            return Ok(PickleValue { id, name: arena.text(name).unwrap_or(self.name), ..*self });
        }
        const MAX_KEYS: usize = 8;
        let count = entries.len();
        let mut keys: Vec<_> = entries
            .take(MAX_KEYS)
            .map(|(key, _)| match key.as_str() {
                Ok(key) => format!("`{}`", excerpt(key)),
                Err(_) => key.kind().to_owned(),
            })
            .collect();
        if count > MAX_KEYS {
            keys.push("…".into());
        }
        let keys = if keys.is_empty() { "none".to_owned() } else { keys.join(", ") };
        Err(Error::NoEntry { name: excerpt(self.name), key: excerpt(key), keys })
    }

    /// Returns a tensor: contiguous, on the CPU, of the type that it was saved with, except that
    /// `int8` becomes `i64` and `bool` becomes `u8`.
    ///
    /// # Errors
    /// [`Error::Type`] if it is something else, [`Error::Tensor`] if it reaches outside its
    /// storage or is too large for the file ([limits](crate#limits)).
    pub fn tensor(&self) -> Result<Tensor, Error> {
        Materializer::new(self.checkpoint).tensor(self)
    }

    /// Returns a dict of tensors, such as the state of a module. Each is as [`Self::tensor`]
    /// returns it, and those that view the same elements share their memory.
    ///
    /// # Errors
    /// Those of [`Self::tensor`] for any entry, and [`Error::Type`] if this is not a dict or has a
    /// key that is not a string.
    pub fn tensors(&self) -> Result<BTreeMap<String, Tensor>, Error> {
        let mut materializer = Materializer::new(self.checkpoint);
        let mut tensors = BTreeMap::new();
        for (key, value) in self.entries()? {
            tensors.insert(key.as_str()?.to_owned(), materializer.tensor(&value)?);
        }
        Ok(tensors)
    }

    /// Returns a numpy array.
    ///
    /// # Errors
    /// [`Error::Type`] if it is something else, [`Error::Tensor`] if its shape does not match the
    /// number of its bytes.
    pub fn array(&self) -> Result<Array<'a>, Error> {
        Array::new(self)
    }

    /// Returns the description of a tensor, and its key.
    pub(crate) fn tensor_object(&self) -> Result<(Object, &'a str), Error> {
        match self.node() {
            Node::Object(object @ Object::Tensor { .. }) => Ok((*object, self.name)),
            _ => Err(self.mismatch("a tensor")),
        }
    }
}

impl fmt::Debug for PickleValue<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind())
    }
}
