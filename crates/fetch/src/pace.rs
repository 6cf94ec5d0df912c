//! How often to try, and how long to wait in between.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// How a download deals with servers that fail.
#[derive(Clone)]
pub struct Pace {
    /// Tries of one mirror that bring nothing new, before the next mirror is asked.
    pub tries: u32,
    /// The first wait; each further one is twice as long.
    pub first_wait: Duration,
    /// The longest wait. A server that asks for more (`Retry-After`) is given up.
    pub longest_wait: Duration,
    /// For a connection to be made.
    pub connect_timeout: Duration,
    /// For a connection on which nothing arrives.
    pub read_timeout: Duration,
    sleep: Arc<dyn Fn(Duration) + Send + Sync>,
}

impl Pace {
    /// Waits by `sleep` instead of by sleeping: for tests, or to be interrupted.
    pub fn sleeping_by(self, sleep: impl Fn(Duration) + Send + Sync + 'static) -> Self {
        Self { sleep: Arc::new(sleep), ..self }
    }

    pub(crate) fn sleep(&self, wait: Duration) {
        (self.sleep)(wait);
    }

    /// The wait after so many failures in a row.
    pub(crate) fn wait(&self, failures: u32) -> Duration {
        let factor = 1u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX);
        self.first_wait.saturating_mul(factor).min(self.longest_wait)
    }
}

/// Six tries, waits from a second to five minutes, half a minute to connect and a minute
/// without a byte.
impl Default for Pace {
    fn default() -> Self {
        Self {
            tries: 6,
            first_wait: Duration::from_secs(1),
            longest_wait: Duration::from_secs(300),
            connect_timeout: Duration::from_secs(30),
            read_timeout: Duration::from_secs(60),
            sleep: Arc::new(std::thread::sleep),
        }
    }
}

impl fmt::Debug for Pace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pace").field("tries", &self.tries).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest() {
        let pace = Pace::default();
        let waits: Vec<_> = (1..=5).map(|failures| pace.wait(failures).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16]);
        assert_eq!(pace.wait(40), pace.longest_wait);
        assert_eq!(pace.wait(0), pace.first_wait);
    }
}
