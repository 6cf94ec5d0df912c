//! Two trainers in one run folder.

use std::path::PathBuf;

use rand::Rng;
use rustix::process::Signal;

use super::{Trial, Verdict};
use crate::process::Ended;
use crate::scene::LIMIT;

impl Trial<'_> {
    /// The second comes at a random moment: it is refused while the first is at work, and moves the
    /// first one's run aside where that is over or has been killed.
    pub(super) fn two(&mut self) -> Verdict {
        let is_killed = self.rng.random_ratio(1, 4);
        let mut first = self.start(self.new_trainer(":").arg("seed=0"))?;
        self.wait_a_while();
        let mut command = self.new_trainer(":");
        command.arg("seed=1");
        if is_killed {
            self.log.push("  the first is killed".to_owned());
            first.signal(Signal::KILL);
            first.wait(LIMIT)?;
            self.finish(&mut command)?.succeeded()?;
            self.scene.compare(&self.run_folder(), 1)?;
            return Ok("the second after a killed one");
        }
        let second = self.finish(&mut command)?;
        let first = first.wait(LIMIT)?;
        let (run, aside) = (self.run_folder(), self.place.join("run.1"));
        match (first.code()?, second.code()?) {
            (0, 2) => self.only(&second, run, aside, 0)?,
            (2, 0) => self.only(&first, run, aside, 1)?,
            (0, 0) => {
                self.scene.compare(&aside, 0)?;
                self.scene.compare(&run, 1)?;
                return Ok("the second after the first");
            }
            (a, b) => {
                let (first, second) = (first.stderr, second.stderr);
                return Err(format!("exits {a} and {b}: {first}\n{second}"));
            }
        }
        Ok("one refused")
    }

    fn only(
        &self,
        refused: &Ended,
        run: PathBuf,
        aside: PathBuf,
        seed: usize,
    ) -> Result<(), String> {
        refused.refused(&["another trainer", "process"])?;
        if aside.exists() {
            return Err(format!("{} was made by a trainer that was refused", aside.display()));
        }
        self.scene.compare(&run, seed)
    }
}
