//! Runs that are killed or asked to stop.

use std::os::unix::process::ExitStatusExt;

use rand::Rng;
use rustix::process::Signal;

use super::{Trial, Verdict};
use crate::scene::LIMIT;

impl Trial<'_> {
    /// Kills a run up to three times. Whenever it happened, the run that goes on is the one that
    /// nothing disturbed.
    pub(super) fn kill(&mut self) -> Verdict {
        let mut ending = "killed before the first checkpoint";
        for _ in 0..self.rng.random_range(1..4) {
            let mut running = self.start(&mut self.trainer(":"))?;
            self.wait_a_while();
            let was_there = running.signal(Signal::KILL);
            let ended = running.wait(LIMIT)?;
            if !was_there {
                ended.succeeded()?;
                ending = "killed after the end";
            } else if self.run_folder().join("last.safetensors").exists() {
                ending = "killed and resumed";
            }
        }
        if self.rng.random() {
            self.evaluate_last()?;
        }
        self.go_on()?;
        Ok(ending)
    }

    /// Sends a signal, which the run may have been told to ignore when it was started.
    pub(super) fn signal(&mut self) -> Verdict {
        let signals = [(Signal::INT, "INT"), (Signal::TERM, "TERM"), (Signal::HUP, "HUP")];
        let (signal, name) = signals[self.rng.random_range(0..3)];
        let is_ignored = self.rng.random_ratio(1, 3);
        let preparation = if is_ignored { format!("trap '' {name}") } else { ":".to_owned() };
        let mut running = self.start(&mut self.trainer(&preparation))?;
        self.wait_a_while();
        self.log.push(format!("  SIG{name}"));
        let was_there = running.signal(signal);
        let ended = running.wait(LIMIT)?;
        // Until the program runs, the operating system does what a signal asks for.
        if ended.status.signal() == Some(signal.as_raw()) && ended.stdout.is_empty() && !is_ignored
        {
            self.go_on()?;
            return Ok("stopped while the program was loaded");
        }
        let ending = match ended.code()? {
            0 if is_ignored => "ignored",
            0 if !was_there => "sent after the end",
            // It may come after the last place where the program looks for it.
            0 if self.scene.compare(&self.run_folder(), 0).is_ok() => "sent at the very end",
            130 if !is_ignored => "stopped and resumed",
            code => {
                let ignored = if is_ignored { "an ignored " } else { "" };
                return Err(format!("exit {code} on {ignored}SIG{name}: {}", ended.stderr));
            }
        };
        self.go_on()?;
        Ok(ending)
    }
}
