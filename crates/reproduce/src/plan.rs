//! Trainings that the cells need, and the state of each.

use std::path::{Path, PathBuf};

use fewshot_experiment::{Config, RawConfig};
use trainer::FinalReport;

use super::budget::Budget;
use super::cells::Cell;
use super::files::write;
use super::results;

/// One training. Cells with the same settings share it.
pub struct Training {
    /// Name, after a cell and a seed: `cub/cosine-5shot seed 0`.
    pub name: String,
    /// Checked settings.
    pub config: Config,
    /// Its run folder.
    pub folder: PathBuf,
    /// Settings as they are given to the trainer.
    settings: RawConfig,
}

/// State of a training.
#[derive(Debug)]
pub enum State {
    /// Finished.
    Done(Box<FinalReport>),
    /// Interrupted after this many epochs; it can be resumed.
    Interrupted(usize),
    /// Its folder holds a run of other settings, which will be moved aside.
    Other,
    /// Not begun.
    Absent,
}

/// A cell with the trainings of all its seeds, as indices into the list of trainings.
pub struct Planned {
    /// The cell.
    pub cell: Cell,
    /// One training per seed.
    pub trainings: Vec<usize>,
}

/// Returns the trainings of the cells, each once, and which cell uses which of them.
///
/// # Errors
/// Settings that cannot be read or do not check.
pub fn plan(
    budget: &Budget,
    cells: &[Cell],
    seeds: u64,
    out: &Path,
) -> Result<(Vec<Training>, Vec<Planned>), String> {
    let mut trainings = Vec::<Training>::new();
    let mut planned = Vec::new();
    for cell in cells {
        let mut of_cell = Vec::new();
        let trained = budget.trained(cell);
        for seed in 0..seeds {
            let name = format!("{} seed {seed}", trained.name());
            let folder = out.join(trained.name()).join(format!("seed-{seed}"));
            let training = Training::new(name, budget.settings(&trained, seed)?, folder)?;
            let sha256 = training.config.sha256();
            let same = trainings.iter().position(|t| t.config.sha256() == sha256);
            of_cell.push(same.unwrap_or(trainings.len()));
            if same.is_none() {
                trainings.push(training);
            }
        }
        planned.push(Planned { cell: *cell, trainings: of_cell });
    }
    Ok((trainings, planned))
}

impl Training {
    /// Describes a training into `folder`.
    ///
    /// # Errors
    /// Settings that do not check.
    pub fn new(name: String, settings: RawConfig, folder: PathBuf) -> Result<Self, String> {
        let config = settings.check().map_err(|error| format!("{name}: {error}"))?;
        Ok(Self { name, config, folder, settings })
    }

    /// Describes a training of a margin and a seed, into `out/NAME/marginM/seed-N`.
    ///
    /// # Errors
    /// Settings that do not check.
    pub fn of_margin(
        name: &str,
        mut settings: RawConfig,
        margin: f64,
        seed: u64,
        out: &Path,
    ) -> Result<Self, String> {
        // A whole number is written with its point: TOML takes 0 for an integer.
        for setting in [format!("method.margin={margin:?}"), format!("seed={seed}")] {
            settings.set(&setting).map_err(|e| e.to_string())?;
        }
        let folder = out.join(name).join(format!("margin{margin}")).join(format!("seed-{seed}"));
        Self::new(format!("{name} margin {margin} seed {seed}"), settings, folder)
    }

    /// Returns its state, from the files in its folder. Its settings are those of its `config.toml`,
    /// as this version reads it, rather than a stored hash, which changes with every new key.
    pub fn state(&self) -> State {
        let is_used = std::fs::read_dir(&self.folder).is_ok_and(|mut files| files.next().is_some());
        let began = RawConfig::from_file(&self.folder.join("config.toml"));
        match began.and_then(|raw| raw.check()) {
            Ok(config) if config.sha256() != self.config.sha256() => State::Other,
            Ok(_) => match results::read(&self.folder) {
                Some(results) => State::Done(Box::new(results)),
                // Without a checkpoint there is nothing to resume.
                None if self.folder.join("last.safetensors").exists() => {
                    State::Interrupted(self.epochs())
                }
                None => State::Absent,
            },
            Err(_) if is_used => State::Other,
            Err(_) => State::Absent,
        }
    }

    /// Returns the number of epochs in its log.
    pub fn epochs(&self) -> usize {
        let log = std::fs::read_to_string(self.folder.join("metrics.jsonl")).unwrap_or_default();
        log.lines().filter(|line| line.ends_with('}')).count()
    }

    /// Writes its settings beside its folder, for the trainer; gives the file.
    ///
    /// # Errors
    /// A folder that cannot be written to.
    pub fn write_settings(&self) -> Result<PathBuf, String> {
        let path = self.folder.with_extension("toml");
        let parent = path.parent().unwrap_or(Path::new("."));
        std::fs::create_dir_all(parent)
            .map_err(|error| format!("cannot create {}: {error}", parent.display()))?;
        write(&path, self.settings.to_toml().as_bytes())?;
        Ok(path)
    }
}
