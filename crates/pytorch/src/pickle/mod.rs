//! A pickle machine that builds plain data by itself, and of anything else only what a
//! [`Builder`] allows. Independent of PyTorch.

mod arena;
mod machine;
mod opcode;
mod plain;
mod reader;
mod stack;
mod text;

use std::ops::Range;

pub(crate) use arena::{Arena, Id, Node};
pub(crate) use machine::load;
pub(crate) use plain::PlainData;
pub(crate) use reader::Reader;

/// Kind of a string in a pickle, by its opcode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StringKind {
    /// `str` of Python 2: text or bytes.
    Python2,
    /// Text in UTF-8, not yet validated.
    Text,
    Bytes,
}

/// Constructs what a pickle may have beyond plain data. An error is a reason, to which the machine
/// adds the offset.
pub(crate) trait Builder {
    /// Type of the constructed objects.
    type Object;

    /// Returns the longest pickle that is accepted, in bytes, strings that are not copied aside.
    fn max_bytes(&self) -> usize {
        usize::MAX
    }

    /// Returns the object for a string that is to be referred to by its range in the file instead
    /// of being copied into the arena.
    fn string_in_file(&mut self, _: &Range<usize>, _: StringKind) -> Option<Self::Object> {
        None
    }

    /// Returns the class or function of a name, if it is allowed.
    fn global(&mut self, module: &str, name: &str) -> Option<Self::Object>;

    /// Calls a class or function with a tuple of arguments.
    fn call(
        &mut self,
        callee: Id,
        arguments: Id,
        arena: &mut Arena<Self::Object>,
    ) -> Result<Id, String>;

    /// Sets the state of an object.
    fn set_state(
        &mut self,
        object: Id,
        state: Id,
        arena: &mut Arena<Self::Object>,
    ) -> Result<(), String>;

    /// Returns the object outside the pickle that a persistent id refers to.
    fn persistent(&mut self, id: Id, arena: &mut Arena<Self::Object>) -> Result<Id, String>;
}
