//! Memory that several threads fill.

use std::marker::PhantomData;

use crate::tensor::Real;

/// A place for numbers, each of which is written before it is read.
///
/// Clearing the results of kernels beforehand would cost as much as a pass over them.
#[derive(Clone, Copy)]
pub struct Filling<'a, T> {
    start: *mut T,
    length: usize,
    lifetime: PhantomData<&'a mut T>,
}

// SAFETY: it is a pointer to numbers; whoever writes through it promises to be alone there.
unsafe impl<T: Send> Send for Filling<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Filling<'_, T> {}

impl<T: Real> Filling<'_, T> {
    /// The place of number `index`, for `length` numbers from there.
    ///
    /// # Safety
    /// While the pointer is used, no other thread uses those numbers.
    #[inline(always)]
    pub unsafe fn at(&self, index: usize, length: usize) -> *mut T {
        assert!(index + length <= self.length, "{index} + {length} exceeds {}", self.length);
        // SAFETY: inside, as just checked.
        unsafe { self.start.add(index) }
    }
}

/// A vector of `length` numbers that `fill` writes.
///
/// # Safety
/// `fill` writes all of them.
pub unsafe fn filled<T: Real>(length: usize, fill: impl FnOnce(Filling<T>)) -> Vec<T> {
    let mut numbers = Vec::with_capacity(length);
    fill(Filling { start: numbers.as_mut_ptr(), length, lifetime: PhantomData });
    // SAFETY: all are written, by the caller's promise.
    unsafe { numbers.set_len(length) };
    numbers
}

/// Working memory of one task, not cleared.
pub struct Scratch<T>(Vec<T>);

impl<T: Real> Scratch<T> {
    pub fn new(length: usize) -> Self {
        Self(Vec::with_capacity(length))
    }

    pub fn start(&mut self) -> *mut T {
        self.0.as_mut_ptr()
    }
}
