//! Storages: the arrays that tensors are views of.

use std::collections::HashMap;
use std::ops::Range;

use super::Object;
use super::global::Global;
use crate::Error;
use crate::error::excerpt;
use crate::pickle::{Arena, Id, Node};

/// Element type of a storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ElementType {
    F16,
    BF16,
    F32,
    F64,
    I8,
    I16,
    I32,
    I64,
    U8,
    Bool,
}

impl ElementType {
    /// Returns the element type of a storage class of `torch`.
    pub(super) fn from_storage_class(class: &str) -> Option<Self> {
        Some(match class {
            "HalfStorage" => Self::F16,
            "BFloat16Storage" => Self::BF16,
            "FloatStorage" => Self::F32,
            "DoubleStorage" => Self::F64,
            "CharStorage" => Self::I8,
            "ShortStorage" => Self::I16,
            "IntStorage" => Self::I32,
            "LongStorage" => Self::I64,
            "ByteStorage" => Self::U8,
            "BoolStorage" => Self::Bool,
            _ => return None,
        })
    }

    /// Returns the size of an element in the file, in bytes.
    pub(crate) fn size(self) -> u64 {
        match self {
            Self::I8 | Self::U8 | Self::Bool => 1,
            Self::F16 | Self::BF16 | Self::I16 => 2,
            Self::F32 | Self::I32 => 4,
            Self::F64 | Self::I64 => 8,
        }
    }
}

/// A storage and its data.
#[derive(Debug)]
pub(crate) struct Storage {
    pub(crate) element: ElementType,
    /// Range of its data in the file.
    pub(crate) data: Range<usize>,
}

/// A storage as the pickle declares it.
pub(super) struct StorageDeclaration {
    pub(super) element: ElementType,
    pub(super) len: u64,
}

impl StorageDeclaration {
    /// Returns the size of the data in bytes.
    ///
    /// # Errors
    /// [`Error::Storage`] if it overflows.
    pub(super) fn bytes(&self) -> Result<u64, Error> {
        let bytes = self.len.checked_mul(self.element.size());
        bytes.ok_or_else(|| Error::storage(format!("one of {} elements", self.len)))
    }
}

/// The storages that a pickle refers to.
#[derive(Default)]
pub(super) struct Declarations {
    /// Indices in `list`.
    pub(super) index_by_key: HashMap<Box<str>, u32>,
    pub(super) list: Vec<StorageDeclaration>,
}

impl Declarations {
    /// Reads a persistent id: `('storage', class, key, location, len)`, to which the legacy
    /// format appends `None` or a part of the storage, `(key, start, len)`.
    pub(super) fn declare(&mut self, id: Id, arena: &Arena<Object>) -> Result<Object, String> {
        let (fields, part) = match arena.tuple(id) {
            Some([fields @ .., part]) if fields.len() == 5 => (fields, arena.get(*part)),
            Some(fields) => (fields, &Node::None),
            None => (&[][..], &Node::None),
        };
        let &[tag, class, key, _location, len] = fields else {
            return Err("a persistent id that is not of a storage".into());
        };
        let (Some("storage"), Node::Object(Object::Global(Global::Storage(element)))) =
            (arena.text(tag), arena.get(class))
        else {
            return Err("a persistent id that is not of a storage".into());
        };
        let key = arena.text(key).ok_or("a storage whose key is not a string")?;
        let len = count(arena, len)?;
        let index = self.index(key, *element, len)?;
        let (start, part_len) = match part {
            Node::None => (0, len),
            Node::Tuple(part) => match **part {
                [_key, start, part_len] => (count(arena, start)?, count(arena, part_len)?),
                _ => return Err("a part of a storage that is not (key, start, length)".into()),
            },
            other => return Err(format!("a part of a storage that is {}", other.kind())),
        };
        match start.checked_add(part_len) {
            Some(end) if end <= len => Ok(Object::Storage { index, start, len: part_len }),
            _ => {
                Err(format!("a part of {part_len} elements from {start} on, of a storage of {len}"))
            }
        }
    }

    /// Returns the index of a storage, which is the same every time it is declared.
    fn index(&mut self, key: &str, element: ElementType, len: u64) -> Result<u32, String> {
        const MAX_KEY_BYTES: usize = 256;
        if key.len() > MAX_KEY_BYTES {
            return Err(format!(
                "a storage whose key has {} bytes; at most {MAX_KEY_BYTES}",
                key.len()
            ));
        }
        let Some(&index) = self.index_by_key.get(key) else {
            let index = u32::try_from(self.list.len()).map_err(|_| "too many storages")?;
            self.list.push(StorageDeclaration { element, len });
            self.index_by_key.insert(key.into(), index);
            return Ok(index);
        };
        let known = &self.list[index as usize];
        if (known.element, known.len) != (element, len) {
            return Err(format!(
                "storage `{}` is {len} elements of {element:?} here, and {} of {:?} before",
                excerpt(key),
                known.len,
                known.element
            ));
        }
        Ok(index)
    }
}

/// Reads a number of elements.
fn count(arena: &Arena<Object>, id: Id) -> Result<u64, String> {
    let value = arena.int(id).ok_or("a storage whose length is no integer")?;
    u64::try_from(value).map_err(|_| format!("a storage with a length of {value}"))
}
