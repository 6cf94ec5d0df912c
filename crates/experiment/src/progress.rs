//! Progress of anything that takes a while.

use std::io::IsTerminal;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Time between lines where there is no terminal.
const INTERVAL: Duration = Duration::from_secs(10);

/// A bar on a terminal, a line every ten seconds elsewhere; both on standard error.
pub struct Progress {
    bar: ProgressBar,
    title: String,
    unit: &'static str,
    started: Instant,
    /// Where there is no terminal, when the last line was printed.
    last_line: Option<Mutex<Instant>>,
}

/// Whether nothing is shown.
static IS_QUIET: AtomicBool = AtomicBool::new(false);

impl Progress {
    /// Shows nothing from now on: for all but one of several processes that do the same.
    pub fn silence() {
        IS_QUIET.store(true, Ordering::Relaxed);
    }

    /// Starts to count `total` pieces of `unit` (`images`, `episodes`).
    pub fn new(title: impl Into<String>, total: usize, unit: &'static str) -> Self {
        let title = title.into();
        let is_quiet = IS_QUIET.load(Ordering::Relaxed);
        let is_terminal = std::io::stderr().is_terminal() || is_quiet;
        let bar = ProgressBar::new(total as u64);
        bar.set_draw_target(if is_terminal && !is_quiet {
            ProgressDrawTarget::stderr_with_hz(5)
        } else {
            ProgressDrawTarget::hidden()
        });
        let template = format!(
            "{{prefix}} {{bar:30}} {{pos}}/{{len}} {unit} {{per_sec}} {{eta}} left {{msg}}"
        );
        bar.set_style(
            ProgressStyle::with_template(&template)
                .unwrap_or_else(|_| ProgressStyle::default_bar())
                .with_key(
                    "per_sec",
                    |state: &indicatif::ProgressState, w: &mut dyn std::fmt::Write| {
                        let _ = write!(w, "{}/s", speed(state.per_sec()));
                    },
                ),
        );
        bar.set_prefix(title.clone());
        let started = Instant::now();
        let last_line = (!is_terminal).then(|| Mutex::new(started));
        Self { bar, title, unit, started, last_line }
    }

    /// Counts `count` more, and shows `message` behind them.
    pub fn advance(&self, count: usize, message: impl FnOnce() -> String) {
        self.bar.inc(count as u64);
        let Some(last_line) = &self.last_line else {
            self.bar.set_message(message());
            return;
        };
        let Ok(mut last_line) = last_line.lock() else { return };
        if last_line.elapsed() >= INTERVAL {
            *last_line = Instant::now();
            let (done, total) = (self.bar.position(), self.bar.length().unwrap_or_default());
            let rate = done as f64 / self.started.elapsed().as_secs_f64();
            let left = total.saturating_sub(done) as f64 / rate;
            let (title, unit, message) = (&self.title, self.unit, message());
            let rate = speed(rate);
            eprintln!("{title} {done}/{total} {unit} {rate}/s {left:.0} s left {message}");
        }
    }

    /// Prints a line on standard output, above the bar.
    pub fn print_line(&self, line: &str) {
        if !IS_QUIET.load(Ordering::Relaxed) {
            self.bar.suspend(|| println!("{line}"));
        }
    }
}

/// Pieces a second, such that what takes longer than a second shows, too.
fn speed(rate: f64) -> String {
    if rate < 1.0 { format!("{rate:.3}") } else { format!("{rate:.0}") }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
