//! The pickle machine: operations of opcodes on its stack and memo.

use std::collections::HashMap;

use super::{Arena, Builder, Id, Node, Reader, StringKind};
use crate::Error;
use crate::error::excerpt;

const HIGHEST_PROTOCOL: u8 = 5;

/// Why an opcode failed. The machine adds the offset of the opcode, except to errors of input,
/// which have their own.
pub(super) enum Fault {
    Malformed(String),
    RefusedGlobal(String),
    Input(Error),
}

impl From<String> for Fault {
    fn from(reason: String) -> Self {
        Self::Malformed(reason)
    }
}

impl From<&str> for Fault {
    fn from(reason: &str) -> Self {
        Self::Malformed(reason.to_owned())
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Input(error)
    }
}

/// State of a running pickle.
pub(super) struct Machine<'m, 'a, B: Builder> {
    pub(super) reader: &'m mut Reader<'a>,
    pub(super) arena: &'m mut Arena<B::Object>,
    pub(super) builder: &'m mut B,
    pub(super) stack: Vec<Id>,
    /// For each open mark, the number of values below it on the stack.
    pub(super) marks: Vec<usize>,
    pub(super) memo: HashMap<u32, Id>,
    /// Bytes of strings that were not copied.
    pub(super) bytes_in_file: usize,
}

impl<'a, B: Builder> Machine<'_, 'a, B> {
    pub(super) fn check_protocol(&mut self) -> Result<(), Fault> {
        match self.reader.byte()? {
            0..=HIGHEST_PROTOCOL => Ok(()),
            version => {
                Err(format!("protocol {version}; expected at most {HIGHEST_PROTOCOL}").into())
            }
        }
    }

    /// Returns the number of values that opcodes may not pop: those below the last mark.
    fn base(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    pub(super) fn top(&self) -> Result<Id, Fault> {
        match self.stack.last() {
            Some(top) if self.stack.len() > self.base() => Ok(*top),
            _ => Err("nothing on the stack".into()),
        }
    }

    pub(super) fn pop(&mut self) -> Result<Id, Fault> {
        let top = self.top()?;
        self.stack.pop();
        Ok(top)
    }

    pub(super) fn pop_to_mark(&mut self) -> Result<Vec<Id>, Fault> {
        let height = self.marks.pop().ok_or("no mark on the stack")?;
        Ok(self.stack.drain(height..).collect())
    }

    pub(super) fn push(&mut self, node: Node<B::Object>) -> Result<(), Fault> {
        self.stack.push(self.arena.add(node)?);
        Ok(())
    }

    /// Returns the bytes of a string, or pushes an object that refers to them and returns `None`.
    fn take(&mut self, count: u64, kind: StringKind) -> Result<Option<&'a [u8]>, Fault> {
        let bytes = self.reader.take(count)?;
        let end = self.reader.position();
        let Some(object) = self.builder.string_in_file(&(end - bytes.len()..end), kind) else {
            return Ok(Some(bytes));
        };
        self.bytes_in_file += bytes.len();
        self.push(Node::Object(object))?;
        Ok(None)
    }

    pub(super) fn push_text(&mut self, count: u64) -> Result<(), Fault> {
        let Some(bytes) = self.take(count, StringKind::Text)? else { return Ok(()) };
        let text = std::str::from_utf8(bytes);
        let text = text.map_err(|e| format!("a string that is not UTF-8: {e}"))?;
        self.push(Node::Text(text.into()))
    }

    pub(super) fn push_bytes(&mut self, count: u64) -> Result<(), Fault> {
        let Some(bytes) = self.take(count, StringKind::Bytes)? else { return Ok(()) };
        self.push(Node::Bytes(bytes.into()))
    }

    /// Pushes a `str` of Python 2: text if it is UTF-8, bytes otherwise.
    pub(super) fn push_string(&mut self, count: u64) -> Result<(), Fault> {
        let Some(bytes) = self.take(count, StringKind::Python2)? else { return Ok(()) };
        self.push(match std::str::from_utf8(bytes) {
            Ok(text) => Node::Text(text.into()),
            Err(_) => Node::Bytes(bytes.into()),
        })
    }

    /// Replaces the topmost `count` values by a tuple of them.
    pub(super) fn pack(&mut self, count: usize) -> Result<(), Fault> {
        let height = self.stack.len().checked_sub(count).filter(|height| *height >= self.base());
        let height = height.ok_or("too few values on the stack for a tuple")?;
        let items = self.stack.drain(height..).collect();
        self.push(Node::Tuple(items))
    }

    pub(super) fn extend_list(&mut self, items: &[Id]) -> Result<(), Fault> {
        let target = self.top()?;
        match self.arena.get_mut(target) {
            Node::List(list) => list.extend_from_slice(items),
            other => return Err(format!("appends to {}; expected a list", other.kind()).into()),
        }
        Ok(())
    }

    /// Adds entries to the dict on top of the stack; keys and values alternate in `items`.
    pub(super) fn extend_dict(&mut self, items: &[Id]) -> Result<(), Fault> {
        let (pairs, odd) = items.as_chunks();
        if !odd.is_empty() {
            return Err("a key without a value".into());
        }
        let target = self.top()?;
        match self.arena.get_mut(target) {
            Node::Dict(dict) => dict.extend(pairs.iter().map(|&[key, value]| (key, value))),
            other => return Err(format!("sets items of {}; expected a dict", other.kind()).into()),
        }
        Ok(())
    }

    pub(super) fn memoize(&mut self, index: u32) -> Result<(), Fault> {
        let top = self.top()?;
        self.memo.insert(index, top);
        Ok(())
    }

    pub(super) fn recall(&mut self, index: u32) -> Result<(), Fault> {
        let id = self.memo.get(&index).ok_or_else(|| format!("nothing in the memo at {index}"))?;
        self.stack.push(*id);
        Ok(())
    }

    pub(super) fn push_stack_global(&mut self) -> Result<(), Fault> {
        let (name, module) = (self.pop()?, self.pop()?);
        match (self.arena.text(module), self.arena.text(name)) {
            (Some(module), Some(name)) => {
                let global = global(self.builder, module, name)?;
                self.push(global)
            }
            _ => Err("a class or function whose name is no string".into()),
        }
    }

    pub(super) fn push_global(&mut self, module: &str, name: &str) -> Result<(), Fault> {
        let global = global(self.builder, module, name)?;
        self.push(global)
    }
}

/// Looks up a class or function.
fn global<B: Builder>(builder: &mut B, module: &str, name: &str) -> Result<Node<B::Object>, Fault> {
    let refused = || Fault::RefusedGlobal(format!("{}.{}", excerpt(module), excerpt(name)));
    builder.global(module, name).map(Node::Object).ok_or_else(refused)
}
