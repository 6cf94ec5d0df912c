//! The folder of a run.

mod claim;
mod lock;
mod write;

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use candle_core::Tensor;
use serde_json::Value;

pub use self::claim::RunClaim;
use self::lock::FolderLock;
use self::write::remove_unfinished;
pub use self::write::write_atomically;
use crate::checkpoint::{METADATA_KEY, read_metadata, read_tensors, write_tensors};
use crate::{Checkpoint, Config, Error, Model, RawConfig, TrainingState};

/// Names of what a run folder holds.
const SETTINGS: &str = "config.toml";
pub(crate) const LAST: &str = "last.safetensors";
pub(crate) const BEST: &str = "best.safetensors";
const AVERAGE: &str = "ema.safetensors";
const OPTIMIZER: &str = "optimizer";
const METRICS: &str = "metrics.jsonl";

/// The folder of a run's files: `config.toml`, `last.safetensors`, `best.safetensors`, with `train.ema`
/// `ema.safetensors`, `optimizer/`, `metrics.jsonl`, `results.json`, `report.md` and TensorBoard events. As long as it or
/// a clone of it lives, other trainers are refused.
#[derive(Clone, Debug)]
pub struct RunFolder {
    path: PathBuf,
    _lock: Arc<FolderLock>,
}

impl RunFolder {
    /// Prepares a locked folder for a run's files.
    fn prepare(path: PathBuf, lock: FolderLock) -> Result<Self, Error> {
        let optimizer = path.join(OPTIMIZER);
        fs::create_dir_all(&optimizer).map_err(Error::io("create", &optimizer))?;
        // Found out now rather than after the first epoch.
        tempfile::tempfile_in(&path).map_err(Error::io("write to", &path))?;
        remove_unfinished(&path);
        remove_unfinished(&optimizer);
        Ok(Self { path, _lock: Arc::new(lock) })
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
        let folder = self.path.join(OPTIMIZER);
        fs::create_dir_all(&folder).map_err(Error::io("create", &folder))?;
        let config = config.to_toml();
        // Says which run it belongs to.
        let metadata = HashMap::from([(METADATA_KEY.to_owned(), config.clone())]);
        let file = optimizer_file(&self.path, state.epochs, state.steps);
        write_tensors(&file, optimizer, Some(metadata))?;
        if is_best {
            Checkpoint::write(&self.file(BEST), &config, state, model)?;
        }
        Checkpoint::write(&self.file(LAST), &config, state, model)?;
        self.remove_stale(state)
    }

    /// Saves a model whose weights are averaged over steps.
    ///
    /// # Errors
    /// [`Error::Io`], as on a full disk; the earlier one is then as it was.
    pub fn save_average(
        &self,
        config: &Config,
        state: &TrainingState,
        model: &Model,
    ) -> Result<(), Error> {
        Checkpoint::write(&self.file(AVERAGE), &config.to_toml(), state, model)
    }

    /// Reads the optimizer's tensors that belong to a checkpoint in any run's folder.
    ///
    /// # Errors
    /// [`Error::Io`], or [`Error::Checkpoint`] if the file is damaged or of another run.
    pub fn optimizer(
        path: &Path,
        checkpoint: &Checkpoint,
    ) -> Result<BTreeMap<String, Tensor>, Error> {
        let folder = path.parent().unwrap_or(Path::new(""));
        let TrainingState { epochs, steps, .. } = checkpoint.state;
        let file = optimizer_file(folder, epochs, steps);
        let bytes = fs::read(&file).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => {
                let reason = format!(
                    "the optimizer's state {}, which training goes on with, is not there: \
                     `trainer --no-optimizer` removes it, and so does copying the checkpoint alone. \
                     It can be evaluated and published",
                    file.display()
                );
                Error::checkpoint(path, reason)
            }
            _ => Error::io("read", &file)(error),
        })?;
        let other_run = |reason: &dyn std::fmt::Display| Error::checkpoint(&file, reason);
        // Files of earlier versions do not say which run they belong to.
        if let Some(config) = read_metadata(&file, &bytes)? {
            let config = RawConfig::from_toml(&config).map_err(|e| other_run(&e))?;
            if config.to_toml() != checkpoint.config.to_toml() {
                let reason = format!("is of another run than {}", path.display());
                return Err(other_run(&reason));
            }
        }
        read_tensors(&file, &bytes)
    }

    /// Removes the optimizer's state: the run cannot be trained on from then on.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn remove_optimizer(&self) -> Result<(), Error> {
        let folder = self.path.join("optimizer");
        fs::remove_dir_all(&folder).map_err(Error::io("remove", &folder))
    }

    /// Removes optimizer files that belong neither to `last`, whose progress is `state`, nor to
    /// `best`. What else lies there is not of a run, and stays.
    fn remove_stale(&self, state: &TrainingState) -> Result<(), Error> {
        let last = optimizer_file(&self.path, state.epochs, state.steps);
        let best = optimizer_file(&self.path, state.best_epochs, 0);
        let folder = self.path.join(OPTIMIZER);
        for entry in fs::read_dir(&folder).map_err(Error::io("read", &folder))? {
            let path = entry.map_err(Error::io("read", &folder))?.path();
            if path != last && path != best && is_optimizer_file(&path) {
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
        let path = self.file(METRICS);
        let file = OpenOptions::new().create(true).append(true).open(&path);
        let mut file = file.map_err(Error::io("write", &path))?;
        writeln!(file, "{metrics}").map_err(Error::io("write", &path))
    }

    /// Keeps the first `epochs` epochs of `metrics.jsonl` and removes those that a resumed run
    /// will write again, as well as an incomplete last line and whatever is no epoch's.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn truncate_metrics(&self, epochs: usize) -> Result<(), Error> {
        let path = self.file(METRICS);
        let bytes = match fs::read(&path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            read => read.map_err(Error::io("read", &path))?,
        };
        let is_kept = |line: &&[u8]| {
            let epoch =
                serde_json::from_slice::<Value>(line).ok().and_then(|v| v["epoch"].as_u64());
            epoch.is_some_and(|epoch| epoch <= epochs as u64)
        };
        let kept = bytes.split(|&byte| byte == b'\n').filter(is_kept);
        let kept: Vec<u8> = kept.flat_map(|line| [line, b"\n"]).flatten().copied().collect();
        write_atomically(&path, &kept)
    }
}

/// The optimizer's file in a run folder after so many epochs and steps.
fn optimizer_file(folder: &Path, epochs: usize, steps: usize) -> PathBuf {
    folder.join(OPTIMIZER).join(format!("{epochs:06}-{steps:06}.safetensors"))
}

/// Whether a file's name is one that [`optimizer_file`] gives.
fn is_optimizer_file(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let numbers = name.strip_suffix(".safetensors").and_then(|stem| stem.split_once('-'));
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    path.is_file() && numbers.is_some_and(|(epochs, steps)| is_number(epochs) && is_number(steps))
}
