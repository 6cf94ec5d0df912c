use half::f16;

use crate::error::quote;
use crate::pickle::Node;

/// A type of numpy scalars, as accuracies are: a letter for the sort and the bytes it takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Scalar {
    sort: Sort,
    size: u8,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Sort {
    Bool,
    Signed,
    Unsigned,
    Float,
}

impl Scalar {
    /// By numpy's name, as `f8`.
    pub(super) fn named(name: &str) -> Result<Self, String> {
        let (sort, size) = match name {
            "b1" => (Sort::Bool, 1),
            "i1" => (Sort::Signed, 1),
            "i2" => (Sort::Signed, 2),
            "i4" => (Sort::Signed, 4),
            "i8" => (Sort::Signed, 8),
            "u1" => (Sort::Unsigned, 1),
            "u2" => (Sort::Unsigned, 2),
            "u4" => (Sort::Unsigned, 4),
            "u8" => (Sort::Unsigned, 8),
            "f2" => (Sort::Float, 2),
            "f4" => (Sort::Float, 4),
            "f8" => (Sort::Float, 8),
            _ => {
                let name = quote(name);
                return Err(format!("numpy type `{name}`; expected a number, as `f8`"));
            }
        };
        Ok(Self { sort, size })
    }

    pub(crate) fn size(self) -> usize {
        self.size.into()
    }

    /// numpy's name.
    pub(crate) fn name(self) -> String {
        let letter = match self.sort {
            Sort::Bool => 'b',
            Sort::Signed => 'i',
            Sort::Unsigned => 'u',
            Sort::Float => 'f',
        };
        format!("{letter}{}", self.size)
    }

    /// The plain number that little-endian bytes are.
    pub(super) fn decode<O>(self, bytes: &[u8]) -> Result<Node<O>, String> {
        if bytes.len() != usize::from(self.size) {
            let found = bytes.len();
            return Err(format!("a numpy number of {found} bytes; expected {}", self.size));
        }
        let mut padded = [0; 8];
        padded[..bytes.len()].copy_from_slice(bytes);
        let unsigned = u64::from_le_bytes(padded);
        let unused_bits = 64 - 8 * u32::from(self.size);
        Ok(match self.sort {
            Sort::Bool => Node::Bool(unsigned != 0),
            Sort::Unsigned => Node::Int(unsigned.into()),
            Sort::Signed => {
                Node::Int((unsigned.cast_signed() << unused_bits >> unused_bits).into())
            }
            Sort::Float => Node::Float(match self.size {
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
        let node = Scalar::named(name).and_then(|scalar| scalar.decode::<()>(bytes));
        node.map_or_else(|reason| reason, |node| format!("{node:?}"))
    }

    #[test]
    fn numbers_of_every_sort() {
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
