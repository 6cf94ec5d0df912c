//! Numpy's number types.

use half::f16;

use crate::error::excerpt;
use crate::pickle::Node;

/// A number type of numpy: its kind and its size in bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct NumpyDtype {
    kind: DtypeKind,
    size: u8,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum DtypeKind {
    Bool,
    Signed,
    Unsigned,
    Float,
}

impl NumpyDtype {
    /// Parses numpy's name, such as `f8`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn from_name(name: &str) -> Result<Self, String> {
        let (kind, size) = match name {
            "b1" => (DtypeKind::Bool, 1),
            "i1" => (DtypeKind::Signed, 1),
            "i2" => (DtypeKind::Signed, 2),
            "i4" => (DtypeKind::Signed, 4),
            "i8" => (DtypeKind::Signed, 8),
            "u1" => (DtypeKind::Unsigned, 1),
            "u2" => (DtypeKind::Unsigned, 2),
            "u4" => (DtypeKind::Unsigned, 4),
            "u8" => (DtypeKind::Unsigned, 8),
            "f2" => (DtypeKind::Float, 2),
            "f4" => (DtypeKind::Float, 4),
            "f8" => (DtypeKind::Float, 8),
            _ => {
                let name = excerpt(name);
                return Err(format!("numpy type `{name}`; expected a number, as `f8`"));
            }
        };
        Ok(Self { kind, size })
    }

    pub(crate) fn size(self) -> usize {
        self.size.into()
    }

    /// Returns numpy's name.
    pub(crate) fn name(self) -> String {
        let letter = match self.kind {
            DtypeKind::Bool => 'b',
            DtypeKind::Signed => 'i',
            DtypeKind::Unsigned => 'u',
            DtypeKind::Float => 'f',
        };
        format!("{letter}{}", self.size)
    }

    /// Decodes a number from little-endian bytes.
    ///
    /// # Errors
    /// If there are more or fewer bytes than the type has.
    pub(super) fn decode<O>(self, bytes: &[u8]) -> Result<Node<O>, String> {
        if bytes.len() != usize::from(self.size) {
            let found = bytes.len();
            return Err(format!("a numpy number of {found} bytes; expected {}", self.size));
        }
        let mut padded = [0; 8];
        padded[..bytes.len()].copy_from_slice(bytes);
        let unsigned = u64::from_le_bytes(padded);
        let unused_bits = 64 - 8 * u32::from(self.size);
        Ok(match self.kind {
            DtypeKind::Bool => Node::Bool(unsigned != 0),
            DtypeKind::Unsigned => Node::Int(unsigned.into()),
            DtypeKind::Signed => {
                Node::Int((unsigned.cast_signed() << unused_bits >> unused_bits).into())
            }
            DtypeKind::Float => Node::Float(match self.size {
                2 => f16::from_bits(unsigned as u16).to_f64(),
                4 => f32::from_bits(unsigned as u32).into(),
                _ => f64::from_bits(unsigned),
            }),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(name: &str, bytes: &[u8]) -> String {
        let node = NumpyDtype::from_name(name).and_then(|dtype| dtype.decode::<()>(bytes));
        node.map_or_else(|reason| reason, |node| format!("{node:?}"))
    }

    #[test]
    fn numbers_of_every_kind() {
        assert_eq!(decoded("f8", &0.625f64.to_le_bytes()), "Float(0.625)");
        assert_eq!(decoded("f4", &(-2.5f32).to_le_bytes()), "Float(-2.5)");
        assert_eq!(decoded("f2", &f16::from_f32(1.5).to_le_bytes()), "Float(1.5)");
        assert_eq!(decoded("i1", &[0xff]), "Int(-1)");
        assert_eq!(decoded("i4", &(-7i32).to_le_bytes()), "Int(-7)");
        assert_eq!(decoded("u8", &[0xff; 8]), format!("Int({})", u64::MAX));
        assert_eq!(decoded("b1", &[1]), "Bool(true)");
        assert_eq!(decoded("f8", &[0; 4]), "a numpy number of 4 bytes; expected 8");
        assert_eq!(decoded("O", &[]), "numpy type `O`; expected a number, as `f8`");
    }
}
