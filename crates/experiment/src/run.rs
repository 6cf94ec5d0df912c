//! The folder of a run.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use candle_core::Tensor;
use serde_json::Value;

use crate::checkpoint::{read_tensors, write_tensors};
use crate::{Checkpoint, Config, Error, Model, TrainingState};

/// The folder of a run's files: `config.toml`, `last.safetensors`, `best.safetensors`,
/// `optimizer/`, `metrics.jsonl`, `results.json`, `report.md` and TensorBoard events.
#[derive(Clone, Debug)]
pub struct RunFolder {
    path: PathBuf,
}

impl RunFolder {
    /// Creates an empty folder for a new run. An earlier run that lies there is moved to the same
    /// name with a number appended; that path is returned, too.
    ///
    /// # Errors
    /// [`Error::Io`] if the folder cannot be created or written to.
    pub fn create(path: &Path) -> Result<(Self, Option<PathBuf>), Error> {
        let is_used = fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_some());
        let mut moved = None;
        if is_used {
            let aside = |n: usize| {
                let mut name = path.as_os_str().to_owned();
                name.push(format!(".{n}"));
                PathBuf::from(name)
            };
            let free = (1..).map(aside).find(|p| !p.exists()).unwrap_or_default();
            fs::rename(path, &free).map_err(Error::io("move aside", path))?;
            moved = Some(free);
        }
        fs::create_dir_all(path.join("optimizer")).map_err(Error::io("create", path))?;
        Ok((Self::open(path)?, moved))
    }

    /// Opens the folder of an existing run.
    ///
    /// # Errors
    /// [`Error::Io`] if it is no folder or cannot be written to.
    pub fn open(path: &Path) -> Result<Self, Error> {
        // Found out now rather than after the first epoch.
        tempfile::tempfile_in(path).map_err(Error::io("write to", path))?;
        Ok(Self { path: path.to_owned() })
    }

    /// Returns the path of the folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the path of a file in the folder.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Saves the model and the optimizer as `last`, and with `is_best` as `best`, too.
    ///
    /// The optimizer's file is written first, under a name of its own, and old ones are
    /// removed last: at whatever moment the process is killed, each checkpoint has its
    /// optimizer.
    ///
    /// # Errors
    /// [`Error::Io`], as on a full disk; the earlier checkpoints are then as they were.
    pub fn save(
        &self,
        config: &Config,
        state: &TrainingState,
        model: &Model,
        optimizer: &BTreeMap<String, Tensor>,
        is_best: bool,
    ) -> Result<(), Error> {
        let folder = self.path.join("optimizer");
        fs::create_dir_all(&folder).map_err(Error::io("create", &folder))?;
        write_tensors(&self.optimizer_file(state.epochs, state.steps), optimizer, None)?;
        let config = config.to_toml();
        if is_best {
            Checkpoint::write(&self.file("best.safetensors"), &config, state, model)?;
        }
        Checkpoint::write(&self.file("last.safetensors"), &config, state, model)?;
        self.remove_stale(state)
    }

    /// Reads the optimizer's tensors that belong to a checkpoint in any run's folder.
    ///
    /// # Errors
    /// [`Error::Io`] or [`Error::Checkpoint`].
    pub fn optimizer(
        checkpoint: &Path,
        state: &TrainingState,
    ) -> Result<BTreeMap<String, Tensor>, Error> {
        let path = checkpoint.parent().unwrap_or(Path::new("")).to_owned();
        let path = Self { path }.optimizer_file(state.epochs, state.steps);
        read_tensors(&path, &fs::read(&path).map_err(Error::io("read", &path))?)
    }

    fn optimizer_file(&self, epochs: usize, steps: usize) -> PathBuf {
        self.path.join("optimizer").join(format!("{epochs:06}-{steps:06}.safetensors"))
    }

    /// Removes optimizer files that belong neither to `last`, whose progress is `state`, nor to
    /// `best`.
    fn remove_stale(&self, state: &TrainingState) -> Result<(), Error> {
        let last = self.optimizer_file(state.epochs, state.steps);
        let best = self.optimizer_file(state.best_epochs, 0);
        let folder = self.path.join("optimizer");
        for entry in fs::read_dir(&folder).map_err(Error::io("read", &folder))? {
            let path = entry.map_err(Error::io("read", &folder))?.path();
            if path != last && path != best {
                fs::remove_file(&path).map_err(Error::io("remove", &path))?;
            }
        }
        Ok(())
    }

    /// Appends a line to `metrics.jsonl`.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn append_metrics(&self, metrics: &Value) -> Result<(), Error> {
        let path = self.file("metrics.jsonl");
        let file = OpenOptions::new().create(true).append(true).open(&path);
        let mut file = file.map_err(Error::io("write", &path))?;
        writeln!(file, "{metrics}").map_err(Error::io("write", &path))
    }

    /// Keeps the first `epochs` epochs of `metrics.jsonl` and removes those that a resumed run
    /// will write again, as well as an incomplete last line.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn truncate_metrics(&self, epochs: usize) -> Result<(), Error> {
        let path = self.file("metrics.jsonl");
        let Ok(text) = fs::read_to_string(&path) else { return Ok(()) };
        let is_kept = |line: &&str| {
            let epoch = serde_json::from_str::<Value>(line).ok().and_then(|v| v["epoch"].as_u64());
            epoch.is_some_and(|epoch| epoch <= epochs as u64)
        };
        let kept: String = text.lines().filter(is_kept).map(|line| format!("{line}\n")).collect();
        write_atomically(&path, kept.as_bytes())
    }
}

/// Writes a temporary file beside `path`, flushes it to the disk, and renames it to `path`.
///
/// # Errors
/// [`Error::Io`]; `path` is then as it was, and nothing is left beside it.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let folder = path.parent().filter(|p| *p != Path::new("")).unwrap_or(Path::new("."));
    let write = || -> std::io::Result<()> {
        let mut file = tempfile::Builder::new().prefix(".writing-").tempfile_in(folder)?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            // A temporary file is its owner's alone; a result is as readable as any file.
            file.as_file().set_permissions(fs::Permissions::from_mode(0o644))?;
        }
        file.persist(path)?;
        // The rename itself must reach the disk, too.
        File::open(folder)?.sync_all()
    };
    write().map_err(Error::io("write", path))
}
