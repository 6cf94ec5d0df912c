use std::collections::BTreeMap;
use std::fmt;

use candle_core::Tensor;

use crate::error::quote;
use crate::pickle::{Id, Node};
use crate::tensor::Materialiser;
use crate::torch::{Object, Place};
use crate::{Array, Checkpoint, Error};

/// A value of a [`Checkpoint`]: a light handle, which remembers its key for messages.
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

    /// What this is, in words: `a dict`, `an integer`, `a tensor`, …
    pub fn kind(&self) -> &'static str {
        match self.node() {
            Node::Object(Object::Tensor { .. }) => "a tensor",
            Node::Object(Object::Storage { .. }) => "a storage",
            Node::Object(Object::NewArray | Object::Array { .. }) => "a numpy array",
            Node::Object(Object::InPlace { place: Place::Bytes | Place::Latin1, .. }) => "bytes",
            Node::Object(Object::InPlace { .. }) => "a string",
            Node::Object(Object::Global(_) | Object::Scalar(_)) => "a class or function",
            plain => plain.kind(),
        }
    }

    /// A string that stays in its place.
    fn in_place(&self) -> Option<(&'a [u8], Place)> {
        match *self.node() {
            Node::Object(Object::InPlace { start, len, place }) => {
                Some((&self.checkpoint.bytes()[start..start + len], place))
            }
            _ => None,
        }
    }

    pub(crate) fn mismatch(&self, expected: &'static str) -> Error {
        Error::Type { name: quote(self.name), found: self.kind(), expected }
    }

    /// Whether this is Python's `None`.
    pub fn is_none(&self) -> bool {
        matches!(self.node(), Node::None)
    }

    /// As a boolean.
    ///
    /// # Errors
    /// [`Error::Type`] if it is something else.
    pub fn as_bool(&self) -> Result<bool, Error> {
        match self.node() {
            Node::Bool(value) => Ok(*value),
            _ => Err(self.mismatch("a boolean")),
        }
    }

    /// As an integer.
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

    /// As a number; an integer is one.
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

    /// As a string.
    ///
    /// # Errors
    /// [`Error::Type`] if it is something else.
    pub fn as_str(&self) -> Result<&'a str, Error> {
        match self.node() {
            Node::Text(text) => Ok(text),
            _ => match self.in_place() {
                Some((bytes, Place::String | Place::Text)) => std::str::from_utf8(bytes).ok(),
                _ => None,
            }
            .ok_or_else(|| self.mismatch("a string")),
        }
    }

    /// As bytes.
    ///
    /// # Errors
    /// [`Error::Type`] if it is something else.
    pub fn as_bytes(&self) -> Result<&'a [u8], Error> {
        match self.node() {
            Node::Bytes(bytes) => Ok(bytes),
            _ => match self.in_place() {
                Some((bytes, Place::String | Place::Bytes)) => Ok(bytes),
                _ => Err(self.mismatch("bytes")),
            },
        }
    }

    /// The items of a list or tuple.
    ///
    /// # Errors
    /// [`Error::Type`] if it is something else.
    pub fn items(&self) -> Result<impl ExactSizeIterator<Item = PickleValue<'a>> + use<'a>, Error> {
        let items: &[Id] = match self.node() {
            Node::List(items) => items,
            Node::Tuple(items) => items,
            _ => return Err(self.mismatch("a list or tuple")),
        };
        let whole = *self;
        Ok(items.iter().map(move |id| PickleValue { id: *id, ..whole }))
    }

    /// The keys and values of a dict, as they were written; of two equal keys the later one
    /// counts.
    ///
    /// # Errors
    /// [`Error::Type`] if it is something else.
    pub fn entries(
        &self,
    ) -> Result<impl ExactSizeIterator<Item = (PickleValue<'a>, PickleValue<'a>)> + use<'a>, Error>
    {
        let Node::Dict(entries) = self.node() else { return Err(self.mismatch("a dict")) };
        let whole = *self;
        let arena = &self.checkpoint.content().arena;
        Ok(entries.iter().map(move |(key, value)| {
            let name = arena.text(*key).unwrap_or(whole.name);
            (PickleValue { id: *key, ..whole }, PickleValue { id: *value, name, ..whole })
        }))
    }

    /// The entry of a dict under a string.
    ///
    /// # Errors
    /// [`Error::Type`] if this is no dict, [`Error::NoEntry`] if it has no such key.
    pub fn get(&self, key: &str) -> Result<PickleValue<'a>, Error> {
        let entries = self.entries()?;
        let arena = &self.checkpoint.content().arena;
        if let Some((name, id)) = arena.entry(self.id, key) {
            return Ok(PickleValue { id, name: arena.text(name).unwrap_or(self.name), ..*self });
        }
        const SHOWN: usize = 8;
        let count = entries.len();
        let mut keys: Vec<_> = entries
            .take(SHOWN)
            .map(|(key, _)| match key.as_str() {
                Ok(key) => format!("`{}`", quote(key)),
                Err(_) => key.kind().to_owned(),
            })
            .collect();
        if count > SHOWN {
            keys.push("…".into());
        }
        let keys = if keys.is_empty() { "none".to_owned() } else { keys.join(", ") };
        Err(Error::NoEntry { name: quote(self.name), key: quote(key), keys })
    }

    /// As a tensor: contiguous, on the CPU. It is of the type that it was saved with, but for
    /// `int8`, which becomes `i64`, and `bool`, which becomes `u8`.
    ///
    /// # Errors
    /// [`Error::Type`] if it is something else, [`Error::Tensor`] if it reaches outside its
    /// storage or is too large for the file ([limits](crate#limits)).
    pub fn tensor(&self) -> Result<Tensor, Error> {
        Materialiser::new(self.checkpoint).tensor(self)
    }

    /// As a dict of tensors, which a module's state is: every entry has to be one. Each is as
    /// [`Self::tensor`] has it, and those that view the same elements share their memory.
    ///
    /// # Errors
    /// As of [`Self::tensor`], by the name of the entry, and [`Error::Type`] if this is no dict
    /// or has a key that is no string.
    pub fn tensors(&self) -> Result<BTreeMap<String, Tensor>, Error> {
        let mut materialiser = Materialiser::new(self.checkpoint);
        let mut tensors = BTreeMap::new();
        for (key, value) in self.entries()? {
            tensors.insert(key.as_str()?.to_owned(), materialiser.tensor(&value)?);
        }
        Ok(tensors)
    }

    /// As an array of numpy.
    ///
    /// # Errors
    /// [`Error::Type`] if it is something else, [`Error::Tensor`] if its shape is not that of
    /// its elements.
    pub fn array(&self) -> Result<Array<'a>, Error> {
        Array::of(self)
    }

    /// The description of a tensor, and its name.
    pub(crate) fn object(&self) -> Result<(Object, &'a str), Error> {
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
