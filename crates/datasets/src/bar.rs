//! Progress of downloads and of work on images.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use fewshot_fetch::{Event, format_bytes};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Time between lines where there is no terminal.
const INTERVAL: Duration = Duration::from_secs(10);

/// A progress bar with speed and time left on a terminal, a line every ten seconds elsewhere; both
/// on standard error.
pub struct Bar {
    name: &'static str,
    bar: ProgressBar,
    is_terminal: bool,
    /// Name of the current stage, when it began, and its count at that time.
    stage: Option<(&'static str, Instant, u64)>,
    last_line: Instant,
}

impl Bar {
    pub fn new(name: &'static str) -> Self {
        let is_terminal = std::io::stderr().is_terminal();
        let bar = ProgressBar::no_length();
        bar.set_draw_target(if is_terminal {
            ProgressDrawTarget::stderr_with_hz(5)
        } else {
            ProgressDrawTarget::hidden()
        });
        Self { name, bar, is_terminal, stage: None, last_line: Instant::now() }
    }

    pub fn show(&mut self, event: Event<'_>) {
        match event {
            Event::Asking { url, from: 0 } => self.line(url),
            Event::Asking { url, from } => {
                self.line(&format!("{url} from {} on", format_bytes(from)))
            }
            Event::Waiting { wait, why } => {
                self.line(&format!("{why}; again in {:.0} s", wait.as_secs_f64()));
            }
            Event::GivenUp { url, why } => self.line(&format!("{url}: {why}")),
            Event::Arrived { done, total } => self.advance("downloading", done, total),
            Event::Verifying { done, total } => self.advance("verifying", done, Some(total)),
            Event::Unpacking { done, total } => self.advance("unpacking", done, Some(total)),
            Event::Converting { done, total } => self.advance("making images", done, Some(total)),
            _ => {}
        }
    }

    fn line(&mut self, text: &str) {
        // The next stage starts its own count.
        self.stage = None;
        let name = self.name;
        self.bar.suspend(|| eprintln!("{name}: {}", printable(text)));
    }

    /// Shows how much of a stage is done: bytes while downloading, verifying and unpacking, else
    /// images.
    pub fn advance(&mut self, stage: &'static str, done: u64, total: Option<u64>) {
        let (since, first) = match self.stage {
            Some((same, since, first)) if same == stage && done >= first => (since, first),
            _ => {
                self.begin(stage, done, total);
                (Instant::now(), done)
            }
        };
        self.bar.set_position(done);
        if self.is_terminal || self.last_line.elapsed() < INTERVAL {
            return;
        }
        self.last_line = Instant::now();
        let speed = (done - first) as f64 / since.elapsed().as_secs_f64().max(1e-9);
        eprintln!("{}: {stage} {}", self.name, state(stage, done, total, speed));
    }

    fn begin(&mut self, stage: &'static str, done: u64, total: Option<u64>) {
        self.stage = Some((stage, Instant::now(), done));
        let counts = match stage {
            "downloading" | "verifying" | "unpacking" => {
                "{decimal_bytes}/{decimal_total_bytes} {decimal_bytes_per_sec}"
            }
            _ => "{pos}/{len} {per_sec}",
        };
        let template = format!("{{prefix}} {{bar:30}} {counts} {{eta}} left");
        let style = ProgressStyle::with_template(&template);
        self.bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        self.bar.set_prefix(format!("{}: {stage}", self.name));
        match total {
            Some(total) => self.bar.set_length(total),
            None => self.bar.unset_length(),
        }
        self.bar.set_position(done);
        // What earlier processes did does not count towards the speed.
        self.bar.reset_eta();
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// Replaces control characters: text from a server must not move the cursor.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

fn state(stage: &str, done: u64, total: Option<u64>, speed: f64) -> String {
    let amount = |count: u64| match stage {
        "downloading" | "verifying" | "unpacking" => format_bytes(count),
        _ => count.to_string(),
    };
    let speed_text = amount(speed as u64);
    match total {
        Some(total) => {
            let left = total.saturating_sub(done) as f64 / speed.max(1e-9);
            let left = if speed > 0.0 { format!("{left:.0} s") } else { "unknown time".into() };
            format!("{} of {}, {speed_text}/s, {left} left", amount(done), amount(total))
        }
        None => format!("{}, {speed_text}/s", amount(done)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speed_and_time_left_are_told() {
        let line = state("downloading", 250_000_000, Some(1_150_000_000), 10e6);
        assert_eq!(line, "250.0 MB of 1.15 GB, 10.0 MB/s, 90 s left");
        assert_eq!(state("making images", 5, Some(10), 0.0), "5 of 10, 0/s, unknown time left");
        assert_eq!(state("downloading", 5_000, None, 10.0), "5.0 kB, 10 bytes/s");
        assert_eq!(printable("a\x1b[2Jb\n"), "a?[2Jb?");
    }
}
