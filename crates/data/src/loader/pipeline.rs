//! Worker threads that fill batches item by item.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use crate::Error;

/// How a sequence of items divides into batches, and how many batches may be in progress.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    pub items: usize,
    pub batch_size: usize,
    /// Number of `f32` samples of an item.
    pub samples: usize,
    /// Most batches that are in progress or complete but not yet taken, at least 1.
    pub ahead: usize,
}

impl Plan {
    fn batch(&self, number: usize) -> Range<usize> {
        let start = (number * self.batch_size).min(self.items);
        start..(start + self.batch_size).min(self.items)
    }
}

/// A batch whose items are all complete or failed.
pub(super) struct FilledBatch {
    /// Positions of the batch's items in the sequence.
    pub items: Range<usize>,
    /// Row-major `[items, samples]`; rows of failed items hold zeros.
    pub samples: Vec<f32>,
    /// The failed items by position, in order.
    pub failures: Vec<(usize, Error)>,
}

/// Worker threads that fill batches item by item, and hand them out in order.
pub(super) struct Pipeline {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
}

struct Shared {
    plan: Plan,
    state: Mutex<State>,
    /// Workers wait here until a batch is taken.
    room: Condvar,
    /// The consumer waits here until a batch is complete.
    complete: Condvar,
}

struct State {
    next_item: usize,
    /// Number of the first batch of `open`.
    taken: usize,
    open: VecDeque<OpenBatch>,
    stopped: bool,
    panicked: bool,
}

struct OpenBatch {
    samples: Arc<Mutex<Vec<f32>>>,
    remaining: usize,
    failures: Vec<(usize, Error)>,
}

impl Pipeline {
    /// Starts the threads. `work` gets an item's position and fills in its samples.
    pub(super) fn start<W>(plan: Plan, threads: usize, work: W) -> Result<Self, Error>
    where
        W: Fn(usize, &mut [f32]) -> Result<(), Error> + Send + Sync + 'static,
    {
        let shared = Arc::new(Shared {
            plan,
            state: Mutex::new(State {
                next_item: 0,
                taken: 0,
                open: VecDeque::new(),
                stopped: false,
                panicked: false,
            }),
            room: Condvar::new(),
            complete: Condvar::new(),
        });
        let work = Arc::new(work);
        let mut pipeline = Self { shared, workers: Vec::with_capacity(threads) };
        for number in 0..threads {
            let (shared, work) = (Arc::clone(&pipeline.shared), Arc::clone(&work));
            let worker = thread::Builder::new()
                .name(format!("loader-{number}"))
                .spawn(move || shared.run_worker(&*work))
                .map_err(Error::Thread)?;
            pipeline.workers.push(worker);
        }
        Ok(pipeline)
    }

    /// Waits for the next batch; returns nothing after the last.
    pub(super) fn next(&mut self) -> Result<Option<FilledBatch>, Error> {
        let mut state = self.shared.lock();
        let items = self.shared.plan.batch(state.taken);
        if items.is_empty() {
            return Ok(None);
        }
        loop {
            if state.panicked {
                return Err(Error::WorkerPanicked);
            }
            if state.open.front().is_some_and(|batch| batch.remaining == 0) {
                break;
            }
            state = wait(&self.shared.complete, state);
        }
        let batch = state.open.pop_front();
        state.taken += 1;
        drop(state);
        self.shared.room.notify_all();
        Ok(batch.map(|mut batch| {
            batch.failures.sort_by_key(|&(position, _)| position);
            let samples = std::mem::take(&mut *lock(&batch.samples));
            FilledBatch { items, samples, failures: batch.failures }
        }))
    }
}

impl Drop for Pipeline {
    fn drop(&mut self) {
        self.shared.lock().stopped = true;
        self.shared.room.notify_all();
        for worker in self.workers.drain(..) {
            // A panic has been reported by `next`, or nobody asks any more.
            let _ = worker.join();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    fn run_worker(&self, work: &impl Fn(usize, &mut [f32]) -> Result<(), Error>) {
        let _watch = PanicWatch(self);
        // Filled here and copied, so that a batch is locked only briefly.
        let mut scratch = vec![0.0; self.plan.samples];
        while let Some((position, samples)) = self.next_item() {
            let result = work(position, &mut scratch);
            if result.is_ok() {
                let row = position % self.plan.batch_size * self.plan.samples;
                lock(&samples)[row..][..self.plan.samples].copy_from_slice(&scratch);
            }
            // Before the batch can complete, so that its samples have a single owner then.
            drop(samples);
            self.finish_item(position, result.err());
        }
    }

    /// Returns the next item's position and its batch, as soon as there is room.
    fn next_item(&self) -> Option<(usize, Arc<Mutex<Vec<f32>>>)> {
        let plan = self.plan;
        let mut state = self.lock();
        loop {
            if state.stopped || state.panicked || state.next_item == plan.items {
                return None;
            }
            if state.next_item / plan.batch_size < state.taken + plan.ahead {
                break;
            }
            state = wait(&self.room, state);
        }
        let position = state.next_item;
        state.next_item += 1;
        let slot = position / plan.batch_size - state.taken;
        if slot == state.open.len() {
            let len = plan.batch(position / plan.batch_size).len();
            state.open.push_back(OpenBatch {
                samples: Arc::new(Mutex::new(vec![0.0; len * plan.samples])),
                remaining: len,
                failures: Vec::new(),
            });
        }
        Some((position, Arc::clone(&state.open[slot].samples)))
    }

    fn finish_item(&self, position: usize, failure: Option<Error>) {
        let mut state = self.lock();
        // The batch is open until this very item is done.
        let slot = position / self.plan.batch_size - state.taken;
        let batch = &mut state.open[slot];
        batch.failures.extend(failure.map(|error| (position, error)));
        batch.remaining -= 1;
        if batch.remaining == 0 {
            self.complete.notify_one();
        }
    }
}

/// Wakes all threads when its own panics; they would otherwise wait for it for ever.
struct PanicWatch<'a>(&'a Shared);

impl Drop for PanicWatch<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.lock().panicked = true;
            self.0.complete.notify_all();
            self.0.room.notify_all();
        }
    }
}

/// Locks a mutex, poisoned or not: a panic is reported by [`State::panicked`].
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn wait<'a>(condition: &Condvar, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
    let woken = condition.wait(state);
    woken.unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    const PLAN: Plan = Plan { items: 23, batch_size: 4, samples: 2, ahead: 2 };

    #[test]
    fn batches_come_in_order_whatever_finishes_first() {
        for threads in [1, 2, 5, 40] {
            let work = |position: usize, samples: &mut [f32]| {
                thread::sleep(Duration::from_micros((position * 37 % 11) as u64 * 50));
                samples.fill(position as f32);
                Ok(())
            };
            let mut pipeline = Pipeline::start(PLAN, threads, work).unwrap();
            let mut seen = Vec::new();
            while let Some(batch) = pipeline.next().unwrap() {
                assert!(batch.failures.is_empty());
                seen.extend(batch.samples.chunks(2).map(|row| row[1] as usize));
            }
            assert_eq!(seen, (0..23).collect::<Vec<_>>());
            assert!(pipeline.next().unwrap().is_none());
        }
    }

    #[test]
    fn no_more_is_begun_than_the_plan_allows() {
        let begun = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&begun);
        let work = move |_, _: &mut [f32]| {
            count.fetch_add(1, Ordering::SeqCst);
            Ok(())
        };
        let mut pipeline = Pipeline::start(PLAN, 3, work).unwrap();
        thread::sleep(Duration::from_millis(50));
        assert_eq!(begun.load(Ordering::SeqCst), 8);
        pipeline.next().unwrap();
        thread::sleep(Duration::from_millis(50));
        assert_eq!(begun.load(Ordering::SeqCst), 12);
    }

    #[test]
    fn failures_are_reported_in_order() {
        let work = |position: usize, _: &mut [f32]| match position {
            1 | 3 => {
                thread::sleep(Duration::from_millis(4 - position as u64));
                Err(Error::image(position.to_string(), "broken"))
            }
            _ => Ok(()),
        };
        let mut pipeline = Pipeline::start(PLAN, 4, work).unwrap();
        let batch = pipeline.next().unwrap().unwrap();
        let positions: Vec<_> = batch.failures.iter().map(|(position, _)| *position).collect();
        assert_eq!(positions, [1, 3]);
    }

    #[test]
    fn a_panic_is_an_error_and_not_a_hang() {
        let work = |position: usize, _: &mut [f32]| {
            assert_ne!(position, 9, "on purpose");
            Ok(())
        };
        let mut pipeline = Pipeline::start(PLAN, 3, work).unwrap();
        let error = loop {
            match pipeline.next() {
                Ok(batch) => assert!(batch.is_some()),
                Err(error) => break error,
            }
        };
        assert!(matches!(error, Error::WorkerPanicked));
    }
}
