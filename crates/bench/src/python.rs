//! PyTorch's side: a Python interpreter that has PyTorch, and the script beside this file.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use serde_json::Value;

use super::Error;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/pytorch.py");
/// Path of the script for a program that was built elsewhere and runs in a checkout.
const SCRIPT_IN_CHECKOUT: &str = "crates/bench/src/pytorch.py";
/// Python that prints the versions of everything the script imports.
const VERSIONS: &str = "
import json, platform, torch, torchvision, numpy, PIL
print(json.dumps({'python': platform.python_version(), 'torch': torch.__version__,
    'torchvision': torchvision.__version__, 'pillow': PIL.__version__}))";
/// Advice for an interpreter that lacks something.
const REMEDY: &str = "run `python -m pip install torch torchvision numpy pillow scikit-learn`, or name an \
                      interpreter that has them with --python PATH";

/// A Python interpreter that has PyTorch.
pub struct Interpreter {
    program: PathBuf,
    /// Versions of `python`, `torch`, `torchvision` and `pillow`.
    pub versions: Value,
}

impl Interpreter {
    /// Returns the interpreter that was named, or else `python3` or `python` of the PATH,
    /// whichever has PyTorch; `None` if there is no Python.
    ///
    /// # Errors
    /// The interpreter cannot be started or has no PyTorch.
    pub fn find(named: Option<&Path>) -> Result<Option<Self>, Error> {
        if let Some(program) = named {
            return Self::check(program)?.map(Some).ok_or_else(|| {
                let message = "does not exist: name an interpreter that has PyTorch";
                Error::Python(format!("--python {} {message}", program.display()))
            });
        }
        let mut refused = None;
        for program in ["python3", "python"] {
            match Self::check(Path::new(program)) {
                Ok(Some(interpreter)) => return Ok(Some(interpreter)),
                Ok(None) => {}
                Err(error) => refused = refused.or(Some(error)),
            }
        }
        refused.map_or(Ok(None), Err)
    }

    /// Returns the interpreter with its versions, or `None` if there is no such program.
    fn check(program: &Path) -> Result<Option<Self>, Error> {
        let output = match Command::new(program).args(["-c", VERSIONS]).output() {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            output => output.map_err(Error::at("start", program))?,
        };
        let versions = serde_json::from_slice(&output.stdout).ok();
        let Some(versions) = versions.filter(|_| output.status.success()) else {
            let complaint = String::from_utf8_lossy(&output.stderr);
            let complaint = complaint.trim().lines().last().unwrap_or("it printed no versions");
            let program = program.display();
            return Err(Error::Python(format!("{program} has no PyTorch ({complaint}): {REMEDY}")));
        };
        Ok(Some(Self { program: program.to_owned(), versions }))
    }
}

/// The running script, set up for one row. Dropping it ends its process.
pub struct Script {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    row: String,
    note: String,
}

impl Script {
    /// Starts the script and waits until it is warmed up.
    ///
    /// # Errors
    /// The script fails; it writes the reason to standard error.
    pub fn start(python: &Interpreter, mut request: Value, threads: usize) -> Result<Self, Error> {
        request["threads"] = threads.into();
        let script = if Path::new(SCRIPT).exists() { SCRIPT } else { SCRIPT_IN_CHECKOUT };
        Self::run(&python.program, script.as_ref(), &request, threads)
    }

    fn run(program: &Path, script: &OsStr, request: &Value, threads: usize) -> Result<Self, Error> {
        let mut child = Command::new(program)
            .arg(script)
            .arg(request.to_string())
            .env("OMP_NUM_THREADS", threads.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(Error::at("start", program))?;
        let (input, output) = (child.stdin.take(), child.stdout.take());
        let Some(output) = output.map(BufReader::new) else {
            return Err(Error::Python(format!("{} has no output", program.display())));
        };
        let mut script =
            Self { child, input, output, row: request.to_string(), note: String::new() };
        script.note = script.reply("ready")?.as_str().unwrap_or_default().to_owned();
        Ok(script)
    }

    /// Returns how PyTorch computes, such as its memory format.
    pub fn note(&self) -> &str {
        &self.note
    }

    /// Takes one measurement, in the row's unit.
    ///
    /// # Errors
    /// The script fails.
    pub fn measure(&mut self) -> Result<f64, Error> {
        if let Some(input) = &mut self.input {
            // If the script has ended, the missing reply below says so.
            let _ = input.write_all(b"\n");
        }
        let value = self.reply("value")?;
        let no_number = || Error::Python(format!("pytorch.py measured {value}: expected a number"));
        value.as_f64().ok_or_else(no_number)
    }

    /// Reads the next line and returns its value of `key`.
    fn reply(&mut self, key: &str) -> Result<Value, Error> {
        let mut line = String::new();
        self.output.read_line(&mut line).map_err(Error::io("read from pytorch.py"))?;
        let reply: Option<Value> = serde_json::from_str(&line).ok();
        let value = reply.as_ref().and_then(|reply| reply.get(key)).cloned();
        value.ok_or_else(|| {
            let said = match line.trim() {
                "" => "gave up; its error is above".to_owned(),
                line => format!("said `{line}`: expected `{key}`"),
            };
            Error::Python(format!("pytorch.py, asked for {}, {said}", self.row))
        })
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        // The script ends, along with its own processes, when its input ends. If it hangs, it is
        // killed after two seconds.
        self.input = None;
        for _ in 0..20 {
            match self.child.try_wait() {
                Ok(None) => sleep(Duration::from_millis(100)),
                _ => return,
            }
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
