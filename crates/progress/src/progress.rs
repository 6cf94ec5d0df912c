//! Progress of anything that takes a while.

use std::io::IsTerminal;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{DecimalBytes, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use crate::output::{is_quiet, say, warn};
use crate::text::{duration, printable, shorten};

/// Time between lines where there is no terminal.
const INTERVAL: Duration = Duration::from_secs(10);
/// Width of the narrowest terminal that a bar fits on.
const WIDTH: usize = 80;
/// Longest title of a bar, so that its numbers fit beside it.
const LONGEST_TITLE: usize = 30;

/// What a stage counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Pieces of this name: `images`, `episodes`.
    Items(&'static str),
    /// Bytes, shown as kB, MB or GB.
    Bytes,
}

/// A progress bar on a terminal, a line every ten seconds elsewhere; both on standard error.
///
/// It has one stage ([`new`](Self::new), [`advance`](Self::advance)) or several under one name
/// ([`with_stages`](Self::with_stages), [`set`](Self::set)), and disappears when it is dropped.
pub struct Progress {
    name: String,
    bar: ProgressBar,
    /// Whether standard error is no terminal, so that lines take the place of the bar.
    prints_lines: bool,
    state: Mutex<State>,
    /// Shown behind the numbers.
    message: Arc<Mutex<String>>,
}

struct State {
    stage: Option<Stage>,
    last_line: Instant,
}

/// One stage, with the time and the position at which it began.
struct Stage {
    name: String,
    title: String,
    unit: Unit,
    started: Instant,
    first: u64,
}

impl Progress {
    /// Starts to count `total` pieces of `unit` (`images`, `episodes`).
    pub fn new(title: impl Into<String>, total: usize, unit: &'static str) -> Self {
        let progress = Self::with_stages(title);
        progress.set("", Unit::Items(unit), 0, Some(total as u64));
        progress
    }

    /// Shows nothing until the first [`set`](Self::set) or [`note`](Self::note).
    pub fn with_stages(name: impl Into<String>) -> Self {
        let is_quiet = is_quiet();
        let is_terminal = std::io::stderr().is_terminal();
        let target = if is_terminal && !is_quiet {
            ProgressDrawTarget::stderr_with_hz(5)
        } else {
            ProgressDrawTarget::hidden()
        };
        Self::drawn_on(name.into(), target, !is_terminal && !is_quiet)
    }

    fn drawn_on(name: String, target: ProgressDrawTarget, prints_lines: bool) -> Self {
        Self {
            name,
            bar: ProgressBar::with_draw_target(None, target),
            prints_lines,
            state: Mutex::new(State { stage: None, last_line: Instant::now() }),
            message: Arc::default(),
        }
    }

    /// Counts `count` more, and shows `message` behind the numbers.
    pub fn advance(&self, count: usize, message: impl FnOnce() -> String) {
        if self.prints_lines {
            self.bar.inc(count as u64);
            self.print_if_due(&mut locked(&self.state), message);
        } else {
            *locked(&self.message) = message();
            self.bar.inc(count as u64);
        }
    }

    /// Shows that `done` of `total`, if that is known, are done. A stage of another name, or
    /// one that begins again, is a new one: what was done before it began does not count for
    /// its speed.
    pub fn set(&self, stage: &str, unit: Unit, done: u64, total: Option<u64>) {
        let mut state = locked(&self.state);
        let is_same = |now: &Stage| now.name == stage && done >= now.first;
        if !state.stage.as_ref().is_some_and(is_same) {
            state.stage = Some(self.begin(stage, unit, done, total));
        }
        self.bar.set_position(done);
        self.print_if_due(&mut state, String::new);
    }

    /// Prints a line on standard output, above the bar, as [`say`](fn@say) does.
    pub fn print_line(&self, line: &str) {
        self.bar.suspend(|| say(line));
    }

    /// Prints `NAME: TEXT` on standard error, above the bar, and ends the current stage. The
    /// text may come from a server: it is made [`printable`], on one line.
    pub fn note(&self, text: &str) {
        locked(&self.state).stage = None;
        if !is_quiet() {
            let text = text.replace('\n', "?");
            self.bar.suspend(|| warn(format_args!("{}: {text}", self.name)));
        }
    }

    fn begin(&self, stage: &str, unit: Unit, done: u64, total: Option<u64>) -> Stage {
        let title =
            if stage.is_empty() { self.name.clone() } else { format!("{}: {stage}", self.name) };
        let title = printable(&title);
        let prefix = shorten(&title, LONGEST_TITLE);
        // What the title, the bar at its least (nothing) and three spaces leave.
        let room = WIDTH - prefix.chars().count() - 3;
        let message = Arc::clone(&self.message);
        let text = move |state: &ProgressState, w: &mut dyn std::fmt::Write| {
            let numbers =
                numbers(unit, state.pos(), state.len(), state.per_sec(), state.eta().as_secs_f64());
            let message = shorten(&locked(&message), room.saturating_sub(numbers.chars().count()));
            let _ = write!(w, "{numbers} {message}");
        };
        let style = ProgressStyle::with_template("{prefix} {wide_bar} {text}");
        let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
        self.bar.set_style(style.with_key("text", text));
        self.bar.set_prefix(prefix);
        match total {
            Some(total) => self.bar.set_length(total),
            None => self.bar.unset_length(),
        }
        self.bar.set_position(done);
        self.bar.reset_eta();
        Stage { name: stage.to_owned(), title, unit, started: Instant::now(), first: done }
    }

    /// Prints a line if there is no terminal and it is time to.
    fn print_if_due(&self, state: &mut State, message: impl FnOnce() -> String) {
        let Some(stage) = state.stage.as_ref().filter(|_| self.prints_lines) else { return };
        if state.last_line.elapsed() < INTERVAL {
            return;
        }
        let (done, total) = (self.bar.position(), self.bar.length());
        let seconds = stage.started.elapsed().as_secs_f64().max(1e-9);
        let speed = done.saturating_sub(stage.first) as f64 / seconds;
        let left = total.unwrap_or_default().saturating_sub(done) as f64 / speed;
        let numbers = numbers(stage.unit, done, total, speed, left);
        warn(format_args!("{} {numbers} {}", stage.title, message()));
        state.last_line = Instant::now();
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// `120/600 episodes 15/s 32 s left`, `5.00 MB/1.15 GB 1.00 MB/s 19 min left`; `left` counts
/// only where `speed` is above 0.
fn numbers(unit: Unit, done: u64, total: Option<u64>, speed: f64, left: f64) -> String {
    let amount = |count: u64| match unit {
        Unit::Items(_) => count.to_string(),
        Unit::Bytes => DecimalBytes(count).to_string(),
    };
    let speed_text = match unit {
        // What takes longer than a second shows, too.
        Unit::Items(_) if speed < 1.0 => format!("{speed:.3}"),
        _ => amount(speed.round() as u64),
    };
    let mut text = amount(done);
    if let Some(total) = total {
        text += &format!("/{}", amount(total));
    }
    if let Unit::Items(name) = unit {
        text += &format!(" {name}");
    }
    text += &format!(" {speed_text}/s");
    if total.is_some() {
        text += &format!(" {} left", duration(if speed > 0.0 { left } else { f64::NAN }));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_tell_speed_and_time_left() {
        let bytes = |total, speed, left| numbers(Unit::Bytes, 250_000_000, total, speed, left);
        let text = bytes(Some(1_150_000_000), 10e6, 90.0);
        assert_eq!(text, "250.00 MB/1.15 GB 10.00 MB/s 2 min left");
        assert_eq!(bytes(None, 10.0, 0.0), "250.00 MB 10 B/s");
        let images =
            |done, speed, left| numbers(Unit::Items("images"), done, Some(10), speed, left);
        assert_eq!(images(5, 0.25, 20.0), "5/10 images 0.250/s 20 s left");
        assert_eq!(images(5, 12.6, 0.4), "5/10 images 13/s 0 s left");
        assert_eq!(images(0, 0.0, f64::NAN), "0/10 images 0.000/s unknown time left");
    }

    /// A terminal of 80 columns that keeps the widest text, of several the last.
    #[derive(Clone, Debug, Default)]
    struct Narrow {
        widest: Arc<Mutex<String>>,
    }

    impl indicatif::TermLike for Narrow {
        fn width(&self) -> u16 {
            WIDTH as u16
        }
        fn move_cursor_up(&self, _: usize) -> std::io::Result<()> {
            Ok(())
        }
        fn move_cursor_down(&self, _: usize) -> std::io::Result<()> {
            Ok(())
        }
        fn move_cursor_right(&self, _: usize) -> std::io::Result<()> {
            Ok(())
        }
        fn move_cursor_left(&self, _: usize) -> std::io::Result<()> {
            Ok(())
        }
        fn write_line(&self, s: &str) -> std::io::Result<()> {
            self.write_str(s)
        }
        fn write_str(&self, s: &str) -> std::io::Result<()> {
            let mut widest = locked(&self.widest);
            if s.chars().count() >= widest.chars().count() {
                *widest = s.to_owned();
            }
            Ok(())
        }
        fn clear_line(&self) -> std::io::Result<()> {
            Ok(())
        }
        fn flush(&self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_bar_fits_80_columns() {
        let long = "base accuracy on mini-imagenet/base-val";
        for (name, stage, unit, total) in [
            ("epoch 120/200", "", Unit::Items("images"), 38_400),
            (long, "", Unit::Items("images"), 1_234_567),
            (long, "unpacking", Unit::Bytes, 12_345_678_901),
        ] {
            let terminal = Narrow::default();
            let target = ProgressDrawTarget::term_like_with_hz(Box::new(terminal.clone()), 255);
            let progress = Progress::drawn_on(name.to_owned(), target, false);
            progress.set(stage, unit, 0, Some(total));
            std::thread::sleep(Duration::from_millis(20));
            progress.advance(total as usize / 2, || "loss 4.1234 accuracy 12.34 %".to_owned());
            std::thread::sleep(Duration::from_millis(20));
            progress.bar.force_draw();
            let widest = locked(&terminal.widest).clone();
            assert!(widest.chars().count() <= WIDTH, "{widest:?}");
            assert!(widest.contains(&total.to_string()[..2]), "{widest:?}");
            println!("{widest}");
        }
    }

    #[test]
    fn a_stage_that_begins_again_counts_from_there() {
        let progress = Progress::drawn_on("x".to_owned(), ProgressDrawTarget::hidden(), false);
        let first = || locked(&progress.state).stage.as_ref().map(|stage| stage.first);
        progress.set("downloading", Unit::Bytes, 70, Some(100));
        progress.set("downloading", Unit::Bytes, 80, Some(100));
        assert_eq!((first(), progress.bar.position()), (Some(70), 80));
        progress.set("downloading", Unit::Bytes, 10, Some(100));
        assert_eq!(first(), Some(10));
        progress.set("verifying", Unit::Bytes, 20, None);
        assert_eq!((first(), progress.bar.length()), (Some(20), None));
        progress.note("again in 5 s");
        assert_eq!(first(), None);
    }
}
