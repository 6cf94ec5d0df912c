//! How often to retry, and how long to wait in between.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// How a download deals with servers that fail.
#[derive(Clone)]
pub struct RetryPolicy {
    /// Attempts in a row without progress before the next mirror is tried.
    pub max_attempts: u32,
    /// Wait after the first failure; each further one is twice as long.
    pub initial_wait: Duration,
    /// Longest wait. A server that asks for more (`Retry-After`) is given up.
    pub max_wait: Duration,
    /// Time limit for establishing a connection.
    pub connect_timeout: Duration,
    /// Time limit for each read, that is, how long a connection may be silent.
    pub read_timeout: Duration,
    /// Fewest bytes a second that have to come…
    pub slowest_rate: u64,
    /// … on average over this time: a server that sends less is given up for the next mirror.
    pub slow_window: Duration,
    sleep: Arc<dyn Fn(Duration) + Send + Sync>,
}

impl RetryPolicy {
    /// Replaces `std::thread::sleep`, for tests or for waits that can be interrupted.
    pub fn with_sleep(self, sleep: impl Fn(Duration) + Send + Sync + 'static) -> Self {
        Self { sleep: Arc::new(sleep), ..self }
    }

    pub(crate) fn sleep(&self, wait: Duration) {
        (self.sleep)(wait);
    }

    /// Returns the wait after a number of failures in a row: exponential backoff.
    pub(crate) fn backoff(&self, failures: u32) -> Duration {
        let factor = 1u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX);
        self.initial_wait.saturating_mul(factor).min(self.max_wait)
    }
}

/// Six attempts, waits from one second to five minutes, 30 seconds to connect, 60 seconds for each
/// read, and at least 1 kB a second over two minutes.
impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            max_attempts: 6,
            initial_wait: Duration::from_secs(1),
            max_wait: Duration::from_secs(300),
            connect_timeout: Duration::from_secs(30),
            read_timeout: Duration::from_secs(60),
            slowest_rate: 1_000,
            slow_window: Duration::from_secs(120),
            sleep: Arc::new(std::thread::sleep),
        }
    }
}

impl fmt::Debug for RetryPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let attempts = &self.max_attempts;
        f.debug_struct("RetryPolicy").field("max_attempts", attempts).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest() {
        let policy = RetryPolicy::default();
        let waits: Vec<_> = (1..=5).map(|failures| policy.backoff(failures).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16]);
        assert_eq!(policy.backoff(40), policy.max_wait);
        assert_eq!(policy.backoff(0), policy.initial_wait);
    }
}
