//! Servers that send too little to ever come to an end.
//!
//! A limit for each read does not notice a server that sends a byte now and then, or things around
//! the content (chunks' names, trailers, records of TLS) without end. So the content that arrives is
//! counted, and the connection itself is closed when there is too little of it: below
//! TLS, where every byte passes.

use std::io::{self, Read};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ureq::unversioned::transport::time::Duration as Limit;
use ureq::unversioned::transport::{Buffers, ConnectionDetails, Connector, NextTimeout, Transport};

use crate::RetryPolicy;

/// Content that has to arrive within each window of time, and the moment by which it has to.
#[derive(Clone, Debug)]
pub(crate) struct Pace {
    window: Duration,
    rate: u64,
    deadline: Arc<Mutex<Instant>>,
}

/// The server is too slow.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("less than {rate} bytes a second for {} s", window.as_secs_f32())]
pub(crate) struct TooSlow {
    rate: u64,
    window: Duration,
}

impl TooSlow {
    /// Whether this is why reading failed.
    pub(crate) fn is_cause_of(error: &io::Error) -> bool {
        // ureq wraps an error that its transport returns once more.
        let mut cause: Option<&(dyn std::error::Error + 'static)> = error.get_ref().map(|e| e as _);
        while let Some(error) = cause {
            if error.is::<Self>() {
                return true;
            }
            let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
            cause = inner.map(|e| e as _).or_else(|| error.source());
        }
        false
    }
}

impl Pace {
    /// Starts the first window.
    pub(crate) fn start(policy: &RetryPolicy) -> Self {
        let RetryPolicy { slow_window: window, slowest_rate: rate, .. } = *policy;
        Self { window, rate, deadline: Arc::new(Mutex::new(Instant::now() + window)) }
    }

    fn deadline(&self) -> Instant {
        *self.deadline.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn restart(&self) {
        let mut deadline = self.deadline.lock().unwrap_or_else(PoisonError::into_inner);
        *deadline = Instant::now() + self.window;
    }

    /// Time until the window ends.
    fn left(&self) -> io::Result<Duration> {
        let left = self.deadline().saturating_duration_since(Instant::now());
        if left.is_zero() { Err(self.too_slow()) } else { Ok(left) }
    }

    fn too_slow(&self) -> io::Error {
        io::Error::other(TooSlow { rate: self.rate, window: self.window })
    }
}

/// Content whose pace is watched.
pub(crate) struct Paced<R> {
    content: R,
    pace: Pace,
    /// Bytes that have arrived in this window.
    arrived: u64,
}

impl<R> Paced<R> {
    pub(crate) fn new(content: R, pace: Pace) -> Self {
        pace.restart();
        Self { content, pace, arrived: 0 }
    }
}

impl<R: Read> Read for Paced<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.pace.left()?;
        let count = self.content.read(buffer)?;
        self.arrived += count as u64;
        if self.arrived as f64 >= self.pace.rate as f64 * self.pace.window.as_secs_f64() {
            self.arrived = 0;
            self.pace.restart();
        }
        Ok(count)
    }
}

/// Puts a watch on the connections that others make.
#[derive(Debug)]
pub(crate) struct Watch(pub(crate) Pace);

impl<In: Transport> Connector<In> for Watch {
    type Out = Watched<In>;

    fn connect(
        &self,
        _: &ConnectionDetails<'_>,
        chained: Option<In>,
    ) -> Result<Option<Self::Out>, ureq::Error> {
        Ok(chained.map(|inner| Watched { inner, pace: self.0.clone() }))
    }
}

/// A connection that is closed when its window ends.
#[derive(Debug)]
pub(crate) struct Watched<T> {
    inner: T,
    pace: Pace,
}

impl<T: Transport> Transport for Watched<T> {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.inner.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), ureq::Error> {
        self.inner.transmit_output(amount, timeout)
    }

    fn await_input(&mut self, mut timeout: NextTimeout) -> Result<bool, ureq::Error> {
        let left = Limit::Exact(self.pace.left()?);
        let is_cut = left < timeout.for_read().after;
        if is_cut {
            timeout.after = left;
        }
        match self.inner.await_input(timeout) {
            Err(ureq::Error::Timeout(_)) if is_cut => Err(self.pace.too_slow().into()),
            other => other,
        }
    }

    fn is_open(&mut self) -> bool {
        self.inner.is_open()
    }

    fn is_tls(&self) -> bool {
        self.inner.is_tls()
    }
}
