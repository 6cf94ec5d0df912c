//! A pickle machine that builds plain data by itself, and of anything else only what a
//! [`Builder`] allows. It knows nothing of PyTorch.

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

/// What a string is that a pickle holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StringKind {
    /// Of Python 2: text or bytes.
    String,
    /// In UTF-8, which is not checked.
    Text,
    Bytes,
}

/// What a pickle may construct beyond plain data. A refusal is a reason, to which the machine
/// adds where it was.
pub(crate) trait Builder {
    /// What the constructed things are.
    type Object;

    /// The most bytes that a pickle may have beside the strings that stay in their place.
    fn most_bytes(&self) -> usize {
        usize::MAX
    }

    /// The object for a string that stays in its place in the file, rather than being copied
    /// into the arena.
    fn in_place(&mut self, _: &Range<usize>, _: StringKind) -> Option<Self::Object> {
        None
    }

    /// The class or function of this name, if it is allowed.
    fn global(&mut self, module: &str, name: &str) -> Option<Self::Object>;

    /// What a class or function makes of its arguments, which are a tuple.
    fn call(
        &mut self,
        callee: Id,
        arguments: Id,
        arena: &mut Arena<Self::Object>,
    ) -> Result<Id, String>;

    /// Gives an object its state.
    fn set_state(
        &mut self,
        object: Id,
        state: Id,
        arena: &mut Arena<Self::Object>,
    ) -> Result<(), String>;

    /// The object outside the pickle that a persistent id stands for.
    fn persistent(&mut self, id: Id, arena: &mut Arena<Self::Object>) -> Result<Id, String>;
}
