//! Numpy arrays.

use std::io::{self, Read};

use crate::error::excerpt;
use crate::pickle::Node;
use crate::tensor::unsigned_tuple;
use crate::torch::{Object, StringEncoding};
use crate::{Error, PickleValue};

/// A numpy array in C order. Its elements are not copied until they are read.
#[derive(Clone, Debug)]
pub struct Array<'a> {
    shape: Vec<usize>,
    type_name: String,
    elements: Elements<'a>,
}

/// Bytes of the elements, little-endian.
#[derive(Clone, Debug)]
enum Elements<'a> {
    Raw(&'a [u8]),
    /// As Python 3 writes bytes in protocol 2: each byte is a character of Latin-1, in UTF-8.
    Latin1(&'a [u8]),
}

impl<'a> Array<'a> {
    pub(crate) fn new(value: &PickleValue<'a>) -> Result<Self, Error> {
        let (object, name) = match value.node() {
            Node::Object(object @ Object::Array { .. }) => (object, value.name()),
            _ => return Err(value.mismatch("a numpy array")),
        };
        Self::from_object(value, object)
            .map_err(|reason| Error::Tensor { name: excerpt(name), reason })
    }

    fn from_object(value: &PickleValue<'a>, object: &Object) -> Result<Self, String> {
        let &Object::Array { element, shape, data } = object else {
            return Err("not an array".into());
        };
        let arena = &value.checkpoint().content().arena;
        let bytes = value.checkpoint().bytes();
        let shape = unsigned_tuple("shape", shape, arena)?;
        let elements = match arena.get(data) {
            Node::Bytes(content) => Elements::Raw(content),
            // Bytes of Python 2 that happen to be UTF-8.
            Node::Text(content) => Elements::Raw(content.as_bytes()),
            Node::Object(Object::StringInFile { start, len, encoding }) => {
                let content = &bytes[*start..*start + *len];
                match encoding {
                    StringEncoding::Python2 | StringEncoding::Binary => Elements::Raw(content),
                    StringEncoding::Latin1 => Elements::Latin1(content),
                    StringEncoding::Utf8 => return Err("elements that are a text".into()),
                }
            }
            other => return Err(format!("elements that are {}", other.kind())),
        };
        let found = match elements {
            Elements::Raw(content) => Some(content.len()),
            Elements::Latin1(content) => latin1_len(content),
        };
        let found = found.ok_or("elements with a character that is not in Latin-1")?;
        let expected = shape.iter().try_fold(element.size(), |bytes, n| bytes.checked_mul(*n));
        if expected != Some(found) {
            let size = element.size();
            return Err(format!("shape {shape:?} of {size} bytes each, but {found} bytes in all"));
        }
        Ok(Self { shape, type_name: element.name(), elements })
    }

    /// Returns the size of each dimension, the outermost first.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Returns numpy's name of the element type without the byte order, such as `u1` or `f8`.
    pub fn type_name(&self) -> &str {
        &self.type_name
    }

    /// Returns a reader of the elements, in C order and little-endian.
    pub fn reader(&self) -> impl Read + use<'a> {
        ElementReader(self.elements.clone())
    }
}

/// Returns the number of characters of a UTF-8 text; `None` if one is not in Latin-1.
fn latin1_len(mut text: &[u8]) -> Option<usize> {
    let mut len = 0;
    while !text.is_empty() {
        let (_, rest) = split_latin1(text)?;
        text = rest;
        len += 1;
    }
    Some(len)
}

/// Splits off the first character of a UTF-8 text, as a byte of Latin-1.
fn split_latin1(text: &[u8]) -> Option<(u8, &[u8])> {
    match *text {
        [byte @ 0..=0x7f, ref rest @ ..] => Some((byte, rest)),
        [lead @ 0xc2..=0xc3, byte @ 0x80..=0xbf, ref rest @ ..] => {
            Some((lead << 6 | byte & 0x3f, rest))
        }
        _ => None,
    }
}

/// Reads elements as raw bytes.
struct ElementReader<'a>(Elements<'a>);

impl Read for ElementReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.0 {
            Elements::Raw(content) => content.read(buffer),
            Elements::Latin1(content) => {
                let mut count = 0;
                for slot in buffer {
                    let Some((byte, rest)) = split_latin1(content) else { break };
                    (*slot, *content) = (byte, rest);
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
    fn latin1_decodes_to_the_original_bytes() {
        let all: Vec<u8> = (0..=255).collect();
        let text: String = all.iter().map(|byte| char::from(*byte)).collect();
        assert_eq!(latin1_len(text.as_bytes()), Some(256));
        let mut read = Vec::new();
        ElementReader(Elements::Latin1(text.as_bytes())).read_to_end(&mut read).unwrap();
        assert_eq!(read, all);
        for bad in ["Ā".as_bytes(), "€".as_bytes(), b"\xc3", b"\x80", b"\xc0\x80"] {
            assert_eq!(latin1_len(bad), None, "{bad:?}");
        }
    }
}
