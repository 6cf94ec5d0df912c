//! Elements of tensors, decoded from a file.

use candle_core::{Device, Tensor, WithDType};
use half::{bf16, f16};

use super::view::View;
use crate::torch::ElementType;

/// Returns the size of an element of the tensor in bytes; its type may be wider than in the file.
pub(super) fn size_in_memory(element: ElementType) -> u64 {
    match element {
        ElementType::I8 => 8,
        other => other.size(),
    }
}

/// Copies the elements of a view from the bytes of its storage, which has all of them.
pub(super) fn read(element: ElementType, data: &[u8], view: &View) -> candle_core::Result<Tensor> {
    match element {
        ElementType::F16 => gather(data, view, f16::from_le_bytes),
        ElementType::BF16 => gather(data, view, bf16::from_le_bytes),
        ElementType::F32 => gather(data, view, f32::from_le_bytes),
        ElementType::F64 => gather(data, view, f64::from_le_bytes),
        ElementType::I8 => gather(data, view, |[byte]| i64::from(byte.cast_signed())),
        ElementType::I16 => gather(data, view, i16::from_le_bytes),
        ElementType::I32 => gather(data, view, i32::from_le_bytes),
        ElementType::I64 => gather(data, view, i64::from_le_bytes),
        ElementType::U8 => gather(data, view, |[byte]| byte),
        ElementType::Bool => gather(data, view, |[byte]| u8::from(byte != 0)),
    }
}

fn gather<T: WithDType, const N: usize>(
    data: &[u8],
    view: &View,
    decode: impl Fn([u8; N]) -> T,
) -> candle_core::Result<Tensor> {
    let (stored, _) = data.as_chunks();
    let mut values = Vec::with_capacity(view.len as usize);
    if view.len == 0 {
        // An empty tensor's offset may be anything.
    } else if view.is_contiguous() {
        values.extend(stored[view.offset..][..view.len as usize].iter().map(|e| decode(*e)));
    } else {
        values.extend(Offsets::new(view).map(|offset| decode(stored[offset])));
    }
    Tensor::from_vec(values, view.size.as_slice(), &Device::Cpu)
}

/// Offsets of a view's elements in its storage, the last dimension fastest.
struct Offsets<'a> {
    view: &'a View,
    index: Vec<usize>,
    next: Option<usize>,
}

impl<'a> Offsets<'a> {
    /// Iterates over a view that is not empty.
    fn new(view: &'a View) -> Self {
        Self { view, index: vec![0; view.size.len()], next: Some(view.offset) }
    }
}

impl Iterator for Offsets<'_> {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        let current = self.next?;
        let mut offset = current;
        self.next = None;
        for (dimension, index) in self.index.iter_mut().enumerate().rev() {
            let (size, stride) = (self.view.size[dimension], self.view.stride[dimension]);
            if *index + 1 < size {
                *index += 1;
                self.next = Some(offset + stride);
                break;
            }
            offset -= *index * stride;
            *index = 0;
        }
        Some(current)
    }
}
