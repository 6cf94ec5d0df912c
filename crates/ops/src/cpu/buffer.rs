//! Uninitialised memory that kernels write: to clear their results beforehand would cost as much
//! as another pass over memory.

use std::marker::PhantomData;
use std::mem::MaybeUninit;

/// Uninitialised memory that several tasks write, each a part of its own.
///
/// It hands out pointers alone: to write through them, or to make references of them, is unsafe,
/// and takes that no other task uses the same numbers.
#[derive(Clone, Copy)]
pub struct SharedOutput<'a, T> {
    start: *mut T,
    length: usize,
    memory: PhantomData<&'a mut [MaybeUninit<T>]>,
}

// SAFETY: it owns nothing, and the numbers that its pointers lead to may be written by another
// thread, as `T` is `Send`.
unsafe impl<T: Send> Send for SharedOutput<'_, T> {}
// SAFETY: as above; a shared reference gives the same pointers as a copy.
unsafe impl<T: Send> Sync for SharedOutput<'_, T> {}

impl<T> SharedOutput<'_, T> {
    /// Returns a pointer that is valid for `length` numbers from number `index` on.
    ///
    /// # Panics
    /// If they are not all inside.
    #[inline(always)]
    pub fn at(&self, index: usize, length: usize) -> *mut T {
        assert!(index + length <= self.length, "{index} + {length} exceeds {}", self.length);
        self.start.wrapping_add(index)
    }
}

/// Returns a vector of `length` numbers, written by `fill`.
///
/// # Safety
/// `fill` must initialise all of them.
pub unsafe fn filled<T>(length: usize, fill: impl FnOnce(&mut [MaybeUninit<T>])) -> Vec<T> {
    let mut numbers = Vec::with_capacity(length);
    fill(&mut numbers.spare_capacity_mut()[..length]);
    // SAFETY: the capacity suffices, and the caller guarantees that `fill` initialised all.
    unsafe { numbers.set_len(length) };
    numbers
}

/// Returns a vector of `length` numbers, written by tasks that `fill` runs.
///
/// # Safety
/// As for [`filled`].
pub unsafe fn filled_by_tasks<T>(length: usize, fill: impl FnOnce(SharedOutput<T>)) -> Vec<T> {
    let share = |memory: &mut [MaybeUninit<T>]| {
        let start = memory.as_mut_ptr().cast();
        fill(SharedOutput { start, length, memory: PhantomData });
    };
    // SAFETY: the caller guarantees that `fill` initialises all numbers.
    unsafe { filled(length, share) }
}

/// Copies numbers to uninitialised memory of the same length.
#[inline(always)]
pub fn write_copy<T: Copy>(to: &mut [MaybeUninit<T>], from: &[T]) {
    // SAFETY: `MaybeUninit<T>` has the layout of `T`, and all values of `T` are valid for it.
    let from = unsafe { &*(std::ptr::from_ref(from) as *const [MaybeUninit<T>]) };
    to.copy_from_slice(from);
}
