//! Signals that ask a program to stop.

use std::io;

/// Calls `act` on a thread of its own for each signal that asks the program to stop: Ctrl-C
/// (`SIGINT`), `SIGTERM`, or the end of the terminal (`SIGHUP`). `act` is told whether it was
/// Ctrl-C, which a person gives twice on purpose; the others come twice by themselves.
///
/// A signal that was ignored when the program began stays ignored: `nohup` has `SIGHUP` ignored,
/// and a shell has `SIGINT` ignored for what it runs in the background of a script.
///
/// # Errors
/// The system's.
#[cfg(unix)]
pub fn on_stop_signal(mut act: impl FnMut(bool) + Send + 'static) -> io::Result<()> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

    let wanted = [SIGINT, SIGTERM, SIGHUP].into_iter().filter(|&signal| !is_ignored(signal));
    let mut signals = signal_hook::iterator::Signals::new(wanted)?;
    let serve = move || signals.forever().for_each(|signal| act(signal == SIGINT));
    std::thread::Builder::new().name("signals".to_owned()).spawn(serve)?;
    Ok(())
}

/// As on Unix, but only for Ctrl-C.
///
/// # Errors
/// The system's.
#[cfg(not(unix))]
pub fn on_stop_signal(mut act: impl FnMut(bool) + Send + 'static) -> io::Result<()> {
    ctrlc::set_handler(move || act(true)).map_err(io::Error::other)
}

/// Whether this process ignores a signal.
#[cfg(unix)]
fn is_ignored(signal: libc::c_int) -> bool {
    let mut action = std::mem::MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: without a new action, `sigaction` changes nothing; it writes the present one to
    // `action`, which outlives the call. Zeros are a valid `sigaction`, should the call fail.
    let action = unsafe {
        libc::sigaction(signal, std::ptr::null(), action.as_mut_ptr());
        action.assume_init()
    };
    action.sa_sigaction == libc::SIG_IGN
}
