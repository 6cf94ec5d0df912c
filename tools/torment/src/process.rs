//! Programs as subprocesses: run with a limit of time, and told apart by how they end.

use std::ffi::OsStr;
use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// The programs that are tormented.
#[derive(Clone, Debug)]
pub struct Programs {
    /// Path of `trainer`.
    pub trainer: PathBuf,
    /// Path of `evaluator`.
    pub evaluator: PathBuf,
}

impl Programs {
    /// Takes the programs of a folder, such as `target/debug`.
    ///
    /// # Errors
    /// One of them is not there.
    pub fn of_folder(folder: &Path) -> Result<Self, String> {
        let find = |name: &str| {
            let path = folder.join(name);
            path.is_file().then_some(path).ok_or(format!("no {name} in {}", folder.display()))
        };
        Ok(Self { trainer: find("trainer")?, evaluator: find("evaluator")? })
    }

    /// Builds the programs of this workspace, with the checks of the development profile.
    ///
    /// # Errors
    /// Sources that do not compile.
    pub fn build() -> Result<Self, String> {
        let built = fewshot_programs::build(&["trainer", "evaluator"], &[], &[])?;
        let [trainer, evaluator] = built.try_into().map_err(|_| "cargo built something else")?;
        Ok(Self { trainer, evaluator })
    }
}

/// Returns a command that a shell prepares first, as by `ulimit` or `trap`.
pub fn prepared(preparation: &str, program: &Path) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", &format!("{preparation}; exec \"$@\""), "sh"]).arg(program);
    command
}

/// A process at work.
pub struct Running {
    child: Child,
    started: Instant,
    output: [Option<JoinHandle<String>>; 2],
    /// Whether nobody reads any longer what is printed.
    is_closed: Arc<AtomicBool>,
}

/// How a process ended.
#[derive(Clone, Debug)]
pub struct Ended {
    /// Exit status.
    pub status: ExitStatus,
    /// What it printed.
    pub stdout: String,
    /// What it complained about.
    pub stderr: String,
    /// How long it took.
    pub took: Duration,
}

impl Running {
    /// Starts a process; what it prints is collected where `command` does not say otherwise.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(command: &mut Command) -> Result<Self, String> {
        let program = command.get_program().to_owned();
        let started = Instant::now();
        let mut child = command.spawn().map_err(|e| format!("{}: {e}", program.display()))?;
        let is_closed = Arc::new(AtomicBool::new(false));
        let output = [
            child.stdout.take().map(|pipe| collect(pipe, Arc::clone(&is_closed))),
            child.stderr.take().map(|pipe| collect(pipe, Arc::default())),
        ];
        Ok(Self { child, started, output, is_closed })
    }

    /// The process's number, unless it is over.
    pub fn pid(&mut self) -> Option<Pid> {
        let is_over = !matches!(self.child.try_wait(), Ok(None));
        if is_over { None } else { i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) }
    }

    /// Sends a signal; returns whether the process was there to get it.
    pub fn signal(&mut self, signal: Signal) -> bool {
        self.pid().is_some_and(|pid| kill_process(pid, signal).is_ok())
    }

    /// Closes the pipe that the process prints into, once it has printed something more.
    pub fn close_output(&self) {
        self.is_closed.store(true, Ordering::Relaxed);
    }

    /// Waits for the end.
    ///
    /// # Errors
    /// It does not come within `limit`.
    pub fn wait(mut self, limit: Duration) -> Result<Ended, String> {
        let status = loop {
            match self.child.try_wait() {
                Err(e) => return Err(format!("waiting: {e}")),
                Ok(Some(status)) => break status,
                Ok(None) if self.started.elapsed() > limit => {
                    let _ = self.child.kill();
                    let _ = self.child.wait();
                    return Err(format!("hung for {} s", limit.as_secs()));
                }
                Ok(None) => std::thread::sleep(Duration::from_millis(1)),
            }
        };
        let took = self.started.elapsed();
        let collected = |n: usize| self.output[n].take().and_then(|thread| thread.join().ok());
        let [stdout, stderr] = [0, 1].map(collected).map(Option::unwrap_or_default);
        Ok(Ended { status, stdout, stderr, took })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // No process outlives its trial, whatever went wrong. `wait` has ended it before.
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

fn collect(mut pipe: impl Read + Send + 'static, is_closed: Arc<AtomicBool>) -> JoinHandle<String> {
    std::thread::spawn(move || {
        let (mut bytes, mut part) = (Vec::new(), [0; 4096]);
        while !is_closed.load(Ordering::Relaxed) {
            match pipe.read(&mut part) {
                Ok(0) | Err(_) => break,
                Ok(count) => bytes.extend_from_slice(&part[..count]),
            }
        }
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

impl Ended {
    /// The exit status.
    ///
    /// # Errors
    /// The end was a signal or a panic.
    pub fn code(&self) -> Result<i32, String> {
        if let Some(signal) = self.status.signal() {
            return Err(format!("ended by signal {signal}: {}", self.stderr));
        }
        let code = self.status.code().unwrap_or(-1);
        if code == 101 || self.stderr.contains("panicked at") {
            return Err(format!("panicked (exit {code}): {}", self.stderr));
        }
        Ok(code)
    }

    /// Checks that the process succeeded.
    ///
    /// # Errors
    /// It did not.
    pub fn succeeded(&self) -> Result<(), String> {
        match self.code()? {
            0 => Ok(()),
            code => Err(format!("exit {code}, not 0: {}", self.stderr)),
        }
    }

    /// Checks that the process was refused, with a message that contains one of `names`.
    ///
    /// # Errors
    /// It was not, or without one.
    pub fn refused(&self, names: &[&str]) -> Result<(), String> {
        let code = self.code()?;
        if code != 2 {
            return Err(format!("exit {code}, not 2: {}", self.stderr));
        }
        let is_named = names.iter().any(|name| self.stderr.contains(name));
        match self.stderr.contains("error: ") && is_named {
            true => Ok(()),
            false => Err(format!("the message names none of {names:?}: {}", self.stderr)),
        }
    }
}

/// A command as one would type it.
pub fn typed(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let quoted = |word: &OsStr| {
        let word = word.to_string_lossy().into_owned();
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+".contains(c);
        if word.chars().all(is_plain) { word } else { format!("'{word}'") }
    };
    words.map(quoted).collect::<Vec<_>>().join(" ")
}

/// Sets up a command as all programs here are run.
pub fn set_up(command: &mut Command) {
    // Few threads, so that memory can be bounded on machines of many cores.
    command.envs([("RAYON_NUM_THREADS", "2"), ("MALLOC_ARENA_MAX", "2")]);
    command.env_remove("FEWSHOT_DATA");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
}
