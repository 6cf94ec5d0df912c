//! Memory that all threads together may use for images while they decode and transform them.
//!
//! A file of a few hundred kilobytes may hold an image that takes half a gigabyte to decode. As many of
//! these at a time as there are threads would take more than a machine has.

use std::sync::{Condvar, Mutex, PoisonError};

/// The budget of this process.
pub(crate) static SHARED: Budget = Budget::new(1 << 30);

/// A number of bytes that threads share.
pub(crate) struct Budget {
    limit: u64,
    used: Mutex<u64>,
    freed: Condvar,
}

/// A part of a budget, given back when it is dropped.
pub(crate) struct Share<'a> {
    budget: &'a Budget,
    bytes: u64,
}

impl Budget {
    const fn new(limit: u64) -> Self {
        Self { limit, used: Mutex::new(0), freed: Condvar::new() }
    }

    /// Takes a part, as soon as there is room for it. One beyond the limit is alone.
    pub(crate) fn take(&self, bytes: u64) -> Share<'_> {
        let used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let is_full = |used: &mut u64| *used > 0 && used.saturating_add(bytes) > self.limit;
        let used = self.freed.wait_while(used, is_full);
        *used.unwrap_or_else(PoisonError::into_inner) += bytes;
        Share { budget: self, bytes }
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        let budget = self.budget;
        *budget.used.lock().unwrap_or_else(PoisonError::into_inner) -= self.bytes;
        budget.freed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[test]
    fn threads_never_take_more_than_the_limit_together() {
        let (budget, used, most) = (Budget::new(100), AtomicU64::new(0), AtomicU64::new(0));
        std::thread::scope(|scope| {
            for thread in 0..8 {
                let (budget, used, most) = (&budget, &used, &most);
                scope.spawn(move || {
                    for step in 0..200 {
                        let bytes = (thread * 13 + step * 7) % 60 + 1;
                        let _share = budget.take(bytes);
                        let now = used.fetch_add(bytes, Ordering::SeqCst) + bytes;
                        most.fetch_max(now, Ordering::SeqCst);
                        std::thread::yield_now();
                        used.fetch_sub(bytes, Ordering::SeqCst);
                    }
                });
            }
        });
        let most = most.into_inner();
        assert!((1..=100).contains(&most), "{most}");
        assert_eq!(*budget.used.lock().unwrap(), 0);
    }

    #[test]
    fn what_is_beyond_the_limit_is_alone() {
        let budget = Budget::new(100);
        drop(budget.take(1000));
        let first = budget.take(40);
        let _second = budget.take(60);
        std::thread::scope(|scope| {
            let alone = scope.spawn(|| drop(budget.take(1000)));
            assert!(!alone.is_finished());
            drop(first);
            drop(_second);
        });
    }
}
