//! Lines for a person that a program survives, whatever becomes of its terminal, pipe or log file.

use std::fmt::Display;
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::text::{printable, printable_lines};

/// Whether nothing is shown but results, warnings and errors.
static IS_QUIET: AtomicBool = AtomicBool::new(false);
/// Whether it was said already that standard output is gone.
static IS_LOSS_SAID: AtomicBool = AtomicBool::new(false);

/// Shows nothing from now on but [results](deliver), [warnings and errors](warn): neither
/// progress nor [lines](say). For `--quiet`, and for all but one of several processes that do the
/// same.
pub fn silence() {
    IS_QUIET.store(true, Ordering::Relaxed);
}

pub(crate) fn is_quiet() -> bool {
    IS_QUIET.load(Ordering::Relaxed)
}

/// Prints a line on standard output, made printable. If it cannot be written, since the reader of
/// the pipe is gone or the disk of the log is full, that is said once on standard error, and the
/// program goes on without output.
pub fn say(line: impl Display) {
    if is_quiet() {
        return;
    }
    let line = printable_lines(&line.to_string());
    if let Err(error) = writeln!(io::stdout().lock(), "{line}") {
        say_loss(&error);
    }
}

/// Prints a line on standard error, made [`printable`]; does nothing if that cannot be written.
pub fn warn(line: impl Display) {
    let _ = writeln!(io::stderr().lock(), "{}", printable(&line.to_string()));
}

/// Writes what the program was run for to standard output, as it is, or made printable where that
/// is a terminal. A reader that has left wants no more: that is no error.
///
/// # Errors
/// The system's, as of a full disk.
pub fn deliver(result: impl Display) -> io::Result<()> {
    let mut output = io::stdout().lock();
    let mut text = result.to_string();
    if output.is_terminal() {
        text = printable_lines(&text);
    }
    match writeln!(output, "{text}").and_then(|()| output.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

/// Ends a program that was run for one result: [delivers](deliver) it, status 0, or prints
/// `error: …`, status 2.
pub fn conclude(done: Result<impl Display, impl Display>) -> ExitCode {
    let failure = match done {
        Ok(result) => match deliver(result) {
            Ok(()) => return ExitCode::SUCCESS,
            Err(error) => format!("cannot write to standard output: {error}"),
        },
        Err(error) => error.to_string(),
    };
    warn(format_args!("error: {failure}"));
    ExitCode::from(2)
}

/// Says, the first time, that standard output cannot be written.
pub(crate) fn say_loss(error: &io::Error) {
    if !IS_LOSS_SAID.swap(true, Ordering::Relaxed) {
        warn(format_args!("note: cannot write to standard output ({error}); going on without it"));
    }
}
