//! Views: offset, size and stride of a tensor in its storage, checked.

use crate::pickle::{Arena, Id, Node};
use crate::torch::{Content, Object};

/// Most dimensions of a tensor. Real ones have fewer, and each takes memory for every tensor.
const MAX_RANK: usize = 16;

/// The elements of a storage that a tensor consists of, all of them inside the storage.
#[derive(PartialEq, Eq, Hash)]
pub(super) struct View {
    /// Index of the storage.
    pub(super) storage: u32,
    /// Offset of the first element, in elements.
    pub(super) offset: usize,
    /// Size of each dimension.
    pub(super) size: Vec<usize>,
    /// Stride of each dimension, in elements.
    pub(super) stride: Vec<usize>,
    /// Number of elements.
    pub(super) len: u64,
}

impl View {
    /// Checks the description of a tensor.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn new(tensor: Object, content: &Content) -> Result<Self, String> {
        let arena = &content.arena;
        let Object::Tensor { storage, offset, size, stride } = tensor else {
            return Err("not a tensor".into());
        };
        let Node::Object(Object::Storage { index, start, len: storage_len }) = *arena.get(storage)
        else {
            return Err("no storage".into());
        };
        let offset = unsigned("storage offset", offset, arena)?;
        let size = unsigned_tuple("size", size, arena)?;
        let stride = unsigned_tuple("stride", stride, arena)?;
        if size.len() != stride.len() {
            return Err(format!("size {size:?} and stride {stride:?} differ in length"));
        }
        // Sizes of 0 count as 1: candle multiplies in an order of its own, and must not overflow.
        let product = size.iter().try_fold(1usize, |product, n| product.checked_mul((*n).max(1)));
        let product = product.filter(|product| isize::try_from(*product).is_ok());
        let Some(product) = product else {
            return Err(format!("size {size:?} has too many elements"));
        };
        let len = if size.contains(&0) { 0 } else { product as u64 };
        if len > 0 {
            let reach = size.iter().zip(&stride).try_fold(offset, |reach, (size, stride)| {
                reach.checked_add((size - 1).checked_mul(*stride)?)
            });
            if reach.is_none_or(|reach| reach as u64 >= storage_len) {
                return Err(format!(
                    "size {size:?} with stride {stride:?} from {offset} on reaches outside its \
                     storage of {storage_len} elements"
                ));
            }
        }
        // `start` is where this part of the storage starts; the checks above are relative to it.
        let offset = offset.checked_add(start as usize).ok_or("a storage offset out of range")?;
        Ok(Self { storage: index, offset, size, stride, len })
    }

    /// Whether the elements are adjacent, in C order.
    pub(super) fn is_contiguous(&self) -> bool {
        let mut expected = 1;
        self.size.iter().zip(&self.stride).rev().all(|(size, stride)| {
            let fits = *size == 1 || *stride == expected;
            expected *= size;
            fits
        })
    }
}

/// Reads a non-negative integer; `what` names it in the error.
fn unsigned(what: &str, id: Id, arena: &Arena<Object>) -> Result<usize, String> {
    let value = arena.int(id);
    let value = value.ok_or_else(|| format!("{what} is {}", arena.get(id).kind()))?;
    let number = usize::try_from(value).ok().filter(|value| isize::try_from(*value).is_ok());
    number.ok_or_else(|| format!("{what} {value}; expected 0 to 2^63 - 1"))
}

/// Reads a tuple of at most [`MAX_RANK`] non-negative integers; `what` names it in the error.
pub(crate) fn unsigned_tuple(
    what: &str,
    id: Id,
    arena: &Arena<Object>,
) -> Result<Vec<usize>, String> {
    let items = arena.tuple(id);
    let items = items.ok_or_else(|| format!("{what} is {}, not a tuple", arena.get(id).kind()))?;
    if items.len() > MAX_RANK {
        return Err(format!("{} dimensions; at most {MAX_RANK}", items.len()));
    }
    items.iter().map(|item| unsigned(what, *item, arena)).collect()
}
