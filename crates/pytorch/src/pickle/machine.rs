//! The opcode loop of the pickle machine.

use std::collections::HashMap;

use super::opcode as op;
use super::stack::{Fault, Machine};
use super::text::{length, long, number, raw_unicode_escape};
use super::{Arena, Builder, Id, Node, Reader};
use crate::Error;

/// Runs the pickle at the reader's position, advances the reader past its end, and returns the
/// value that was pickled.
pub(crate) fn load<B: Builder>(
    reader: &mut Reader,
    arena: &mut Arena<B::Object>,
    builder: &mut B,
) -> Result<Id, Error> {
    let mut machine = Machine {
        reader,
        arena,
        builder,
        stack: Vec::new(),
        marks: Vec::new(),
        memo: HashMap::new(),
        bytes_in_file: 0,
    };
    let (start, max) = (machine.reader.position(), machine.builder.max_bytes());
    loop {
        let offset = machine.reader.position();
        if offset - start - machine.bytes_in_file > max {
            let reason = format!("more than {max} bytes beside its arrays");
            return Err(Error::Pickle { offset, reason });
        }
        match machine.step() {
            Ok(None) => {}
            Ok(Some(root)) => return Ok(root),
            Err(Fault::Malformed(reason)) => return Err(Error::Pickle { offset, reason }),
            Err(Fault::RefusedGlobal(name)) => return Err(Error::RefusedGlobal { name, offset }),
            Err(Fault::Input(error)) => return Err(error),
        }
    }
}

impl<B: Builder> Machine<'_, '_, B> {
    /// Executes one opcode; returns the result at the last one.
    fn step(&mut self) -> Result<Option<Id>, Fault> {
        match self.reader.byte()? {
            op::STOP => return self.pop().map(Some),
            op::PROTO => self.check_protocol()?,
            op::FRAME => {
                let frame = u64::from_le_bytes(self.reader.array()?);
                self.reader.clone().take(frame)?;
            }
            op::MARK => self.marks.push(self.stack.len()),
            op::POP if self.marks.last() == Some(&self.stack.len()) => {
                self.marks.pop();
            }
            op::POP => {
                self.pop()?;
            }
            op::POP_MARK => {
                self.pop_to_mark()?;
            }
            op::DUP => {
                let top = self.top()?;
                self.stack.push(top);
            }

            op::NONE => self.stack.push(Arena::<B::Object>::NONE),
            op::NEWTRUE => self.stack.push(Arena::<B::Object>::TRUE),
            op::NEWFALSE => self.stack.push(Arena::<B::Object>::FALSE),
            op::BININT => {
                let value = i32::from_le_bytes(self.reader.array()?);
                self.push(Node::Int(value.into()))?;
            }
            op::BININT1 => {
                let value = self.reader.byte()?;
                self.push(Node::Int(value.into()))?;
            }
            op::BININT2 => {
                let value = u16::from_le_bytes(self.reader.array()?);
                self.push(Node::Int(value.into()))?;
            }
            op::LONG1 => {
                let count = self.reader.byte()?;
                let value = long(self.reader.take(count.into())?)?;
                self.push(Node::Int(value))?;
            }
            op::LONG4 => {
                let count = i32::from_le_bytes(self.reader.array()?);
                let value = long(self.reader.take(length(count)?)?)?;
                self.push(Node::Int(value))?;
            }
            op::INT => match self.reader.line()? {
                b"00" => self.stack.push(Arena::<B::Object>::FALSE),
                b"01" => self.stack.push(Arena::<B::Object>::TRUE),
                line => self.push(Node::Int(number(line, "an integer of at most 128 bits")?))?,
            },
            op::LONG => {
                let line = self.reader.line()?;
                let digits = line.strip_suffix(b"L").unwrap_or(line);
                self.push(Node::Int(number(digits, "an integer of at most 128 bits")?))?;
            }
            op::FLOAT => {
                let line = self.reader.line()?;
                self.push(Node::Float(number(line, "a number")?))?;
            }
            op::BINFLOAT => {
                let value = f64::from_be_bytes(self.reader.array()?);
                self.push(Node::Float(value))?;
            }

            op::SHORT_BINSTRING => {
                let count = self.reader.byte()?;
                self.push_string(count.into())?;
            }
            op::BINSTRING => {
                let count = i32::from_le_bytes(self.reader.array()?);
                self.push_string(length(count)?)?;
            }
            op::UNICODE => {
                let text = raw_unicode_escape(self.reader.line()?)?;
                self.push(Node::Text(text.into()))?;
            }
            op::SHORT_BINUNICODE => {
                let count = self.reader.byte()?;
                self.push_text(count.into())?;
            }
            op::BINUNICODE => {
                let count = u32::from_le_bytes(self.reader.array()?);
                self.push_text(count.into())?;
            }
            op::BINUNICODE8 => {
                let count = u64::from_le_bytes(self.reader.array()?);
                self.push_text(count)?;
            }
            op::SHORT_BINBYTES => {
                let count = self.reader.byte()?;
                self.push_bytes(count.into())?;
            }
            op::BINBYTES => {
                let count = u32::from_le_bytes(self.reader.array()?);
                self.push_bytes(count.into())?;
            }
            op::BINBYTES8 | op::BYTEARRAY8 => {
                let count = u64::from_le_bytes(self.reader.array()?);
                self.push_bytes(count)?;
            }

            op::EMPTY_TUPLE => self.stack.push(Arena::<B::Object>::EMPTY_TUPLE),
            op::TUPLE1 => self.pack(1)?,
            op::TUPLE2 => self.pack(2)?,
            op::TUPLE3 => self.pack(3)?,
            op::TUPLE => {
                let items = self.pop_to_mark()?.into();
                self.push(Node::Tuple(items))?;
            }
            op::EMPTY_LIST => self.push(Node::List(Vec::new()))?,
            op::LIST => {
                let items = self.pop_to_mark()?;
                self.push(Node::List(items))?;
            }
            op::APPEND => {
                let item = self.pop()?;
                self.extend_list(&[item])?;
            }
            op::APPENDS => {
                let items = self.pop_to_mark()?;
                self.extend_list(&items)?;
            }
            op::EMPTY_DICT => self.push(Node::Dict(Vec::new()))?,
            op::DICT => {
                let items = self.pop_to_mark()?;
                self.push(Node::Dict(Vec::new()))?;
                self.extend_dict(&items)?;
            }
            op::SETITEM => {
                let value = self.pop()?;
                let key = self.pop()?;
                self.extend_dict(&[key, value])?;
            }
            op::SETITEMS => {
                let items = self.pop_to_mark()?;
                self.extend_dict(&items)?;
            }

            op::GET => {
                let index = number(self.reader.line()?, "a place in the memo")?;
                self.recall(index)?;
            }
            op::BINGET => {
                let index = self.reader.byte()?;
                self.recall(index.into())?;
            }
            op::LONG_BINGET => {
                let index = u32::from_le_bytes(self.reader.array()?);
                self.recall(index)?;
            }
            op::PUT => {
                let index = number(self.reader.line()?, "a place in the memo")?;
                self.memoize(index)?;
            }
            op::BINPUT => {
                let index = self.reader.byte()?;
                self.memoize(index.into())?;
            }
            op::LONG_BINPUT => {
                let index = u32::from_le_bytes(self.reader.array()?);
                self.memoize(index)?;
            }
            op::MEMOIZE => {
                let index = u32::try_from(self.memo.len()).map_err(|_| "the memo is full")?;
                self.memoize(index)?;
            }

            op::GLOBAL => {
                let module = String::from_utf8_lossy(self.reader.line()?);
                let name = String::from_utf8_lossy(self.reader.line()?);
                self.push_global(&module, &name)?;
            }
            op::STACK_GLOBAL => self.push_stack_global()?,
            op::REDUCE | op::NEWOBJ => {
                let arguments = self.pop()?;
                let callee = self.pop()?;
                let result = self.builder.call(callee, arguments, self.arena)?;
                self.stack.push(result);
            }
            op::BUILD => {
                let state = self.pop()?;
                let object = self.top()?;
                self.builder.set_state(object, state, self.arena)?;
            }
            op::BINPERSID => {
                let id = self.pop()?;
                let object = self.builder.persistent(id, self.arena)?;
                self.stack.push(object);
            }
            unknown => {
                return Err(format!("opcode 0x{unknown:02x} is not one that is read").into());
            }
        }
        Ok(None)
    }
}
