//! What Ctrl-C and other signals to stop do.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use fewshot_experiment::Error;
use fewshot_progress::{on_stop_signal, warn};

/// Exit status of an interrupted training, by the convention of shells.
pub const INTERRUPTED: u8 = 130;

/// Whether the process was asked to stop, and how it stops.
#[derive(Clone, Default)]
pub struct Stop {
    /// The training is to save and stop after its step.
    pub raised: Arc<AtomicBool>,
    /// Everything is saved: a signal ends the process.
    at_once: Arc<AtomicBool>,
}

impl Stop {
    /// Has signals raise the flag; a second Ctrl-C ends the process at once. `resume_command` is
    /// what is said to go on with a finished training whose evaluation is stopped.
    ///
    /// # Errors
    /// [`Error::SignalHandler`].
    pub fn on_signal(resume_command: &str) -> Result<Self, Error> {
        let stop = Self::default();
        let (Self { raised, at_once }, command) = (stop.clone(), resume_command.to_owned());
        let act = move |is_ctrl_c| {
            if at_once.load(Ordering::SeqCst) {
                warn(format_args!(
                    "\ninterrupted; the training is finished and saved; to evaluate it:\n  {command}"
                ));
                std::process::exit(INTERRUPTED.into());
            }
            if !raised.swap(true, Ordering::SeqCst) {
                let again = "; Ctrl-C once more to stop at once";
                warn(format_args!("\nstopping after this step{again}"));
            } else if is_ctrl_c {
                std::process::exit(INTERRUPTED.into());
            }
        };
        on_stop_signal(act).map_err(|e| Error::SignalHandler(e.to_string()))?;
        Ok(stop)
    }

    /// From now on a signal ends the process at once, or does not. Returns false where one has
    /// come already.
    pub fn ends_at_once(&self, at_once: bool) -> bool {
        self.at_once.store(at_once, Ordering::SeqCst);
        !self.raised.load(Ordering::SeqCst)
    }
}
