//! Arrays of numpy.

use std::io::{self, Read};

use crate::error::quote;
use crate::pickle::Node;
use crate::tensor::naturals;
use crate::torch::{Object, Place};
use crate::{Error, PickleValue};

/// An array of numpy, in C order. Its elements stay in the file until they are read.
#[derive(Clone, Debug)]
pub struct Array<'a> {
    shape: Vec<usize>,
    type_name: String,
    elements: Elements<'a>,
}

/// Bytes of elements.
#[derive(Clone, Debug)]
enum Elements<'a> {
    Raw(&'a [u8]),
    /// As Python 3 writes them in protocol 2: a Latin-1 text, in UTF-8.
    Latin1(&'a [u8]),
}

impl<'a> Array<'a> {
    pub(crate) fn of(value: &PickleValue<'a>) -> Result<Self, Error> {
        let (object, name) = match value.node() {
            Node::Object(object @ Object::Array { .. }) => (object, value.name()),
            _ => return Err(value.mismatch("a numpy array")),
        };
        let wrong = |reason: String| Error::Tensor { name: quote(name), reason };
        Self::made(value, object).map_err(wrong)
    }

    fn made(value: &PickleValue<'a>, object: &Object) -> Result<Self, String> {
        let &Object::Array { element, shape, data } = object else {
            return Err("not an array".into());
        };
        let arena = &value.checkpoint().content().arena;
        let bytes = value.checkpoint().bytes();
        let shape = naturals("shape", shape, arena)?;
        let elements = match arena.get(data) {
            Node::Bytes(content) => Elements::Raw(content),
            // Bytes that Python 2 wrote and that happen to be UTF-8.
            Node::Text(content) => Elements::Raw(content.as_bytes()),
            Node::Object(Object::InPlace { start, len, place }) => {
                let content = &bytes[*start..*start + *len];
                match place {
                    Place::String | Place::Bytes => Elements::Raw(content),
                    Place::Latin1 => Elements::Latin1(content),
                    Place::Text => return Err("elements that are a text".into()),
                }
            }
            other => return Err(format!("elements that are {}", other.kind())),
        };
        let found = match elements {
            Elements::Raw(content) => Some(content.len()),
            Elements::Latin1(content) => latin1_len(content),
        };
        let found = found.ok_or("elements with a character that is not in Latin-1")?;
        let wanted = shape.iter().try_fold(element.size(), |bytes, n| bytes.checked_mul(*n));
        if wanted != Some(found) {
            let size = element.size();
            return Err(format!("shape {shape:?} of {size} bytes each, but {found} bytes in all"));
        }
        Ok(Self { shape, type_name: element.name(), elements })
    }

    /// Elements of each dimension, the slowest first.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// numpy's name of the elements' type without byte order, as `u1` or `f8`.
    pub fn type_name(&self) -> &str {
        &self.type_name
    }

    /// Reads the elements, one after the other, little-endian.
    pub fn reader(&self) -> impl Read + use<'a> {
        Bytes(self.elements.clone())
    }
}

/// How many characters a text has, all of which are in Latin-1.
fn latin1_len(mut text: &[u8]) -> Option<usize> {
    let mut len = 0;
    while !text.is_empty() {
        let (_, rest) = latin1(text)?;
        text = rest;
        len += 1;
    }
    Some(len)
}

/// The first character of a text in UTF-8, and what follows it.
fn latin1(text: &[u8]) -> Option<(u8, &[u8])> {
    match *text {
        [byte @ 0..=0x7f, ref rest @ ..] => Some((byte, rest)),
        [lead @ 0xc2..=0xc3, byte @ 0x80..=0xbf, ref rest @ ..] => {
            Some((lead << 6 | byte & 0x3f, rest))
        }
        _ => None,
    }
}

struct Bytes<'a>(Elements<'a>);

impl Read for Bytes<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.0 {
            Elements::Raw(content) => content.read(buffer),
            Elements::Latin1(content) => {
                let mut count = 0;
                for place in buffer {
                    let Some((byte, rest)) = latin1(content) else { break };
                    (*place, *content) = (byte, rest);
                    count += 1;
                }
                Ok(count)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latin_1_comes_back() {
        let all: Vec<u8> = (0..=255).collect();
        let text: String = all.iter().map(|byte| char::from(*byte)).collect();
        assert_eq!(latin1_len(text.as_bytes()), Some(256));
        let mut read = Vec::new();
        Bytes(Elements::Latin1(text.as_bytes())).read_to_end(&mut read).unwrap();
        assert_eq!(read, all);
        for bad in ["Ā".as_bytes(), "€".as_bytes(), b"\xc3", b"\x80", b"\xc0\x80"] {
            assert_eq!(latin1_len(bad), None, "{bad:?}");
        }
    }
}
