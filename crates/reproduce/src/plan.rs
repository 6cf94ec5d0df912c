//! Which trainings the cells need, and how far each has come.

use std::path::{Path, PathBuf};

use fewshot_experiment::{Config, RawConfig};

use super::budget::Budget;
use super::cells::Cell;
use super::results::Results;

/// One training. Cells of the same settings share it.
pub struct Training {
    /// The cell and the seed that it is named after, as in `cub/cosine-5shot seed 0`.
    pub name: String,
    /// Its settings.
    pub config: Config,
    /// Its run folder.
    pub folder: PathBuf,
    /// What is given to the trainer.
    settings: RawConfig,
}

/// How far a training has come.
#[derive(Debug)]
pub enum State {
    /// It is finished.
    Done(Box<Results>),
    /// It goes on after so many epochs.
    Interrupted(usize),
    /// Its folder holds the run of other settings, which will be moved aside.
    Other,
    /// There is nothing.
    Absent,
}

/// A cell with the trainings of all its seeds, as places in the list of trainings.
pub struct Planned {
    /// The cell.
    pub cell: Cell,
    /// One training a seed.
    pub trainings: Vec<usize>,
}

/// The trainings of the cells, each once, and which are whose.
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
            let settings = budget.settings(&trained, seed)?;
            let config = settings.check().map_err(|error| format!("{name}: {error}"))?;
            let same = trainings.iter().position(|t| t.config.sha256() == config.sha256());
            of_cell.push(same.unwrap_or(trainings.len()));
            if same.is_none() {
                let folder = out.join(trained.name()).join(format!("seed-{seed}"));
                trainings.push(Training { name, config, folder, settings });
            }
        }
        planned.push(Planned { cell: *cell, trainings: of_cell });
    }
    Ok((trainings, planned))
}

impl Training {
    /// How far it has come.
    pub fn state(&self) -> State {
        let sha256 = self.config.sha256();
        if let Some(results) = Results::read(&self.folder) {
            return match results.run.config_sha256 == sha256 {
                true => State::Done(Box::new(results)),
                false => State::Other,
            };
        }
        let is_used = std::fs::read_dir(&self.folder).is_ok_and(|mut files| files.next().is_some());
        let began = RawConfig::from_file(&self.folder.join("config.toml"));
        match began.and_then(|raw| raw.check()) {
            Ok(config) if config.sha256() != sha256 => State::Other,
            // Without a checkpoint there is nothing to go on from.
            Ok(_) if self.folder.join("last.safetensors").exists() => {
                State::Interrupted(self.epochs())
            }
            Ok(_) => State::Absent,
            Err(_) if is_used => State::Other,
            Err(_) => State::Absent,
        }
    }

    /// Epochs that its log tells of.
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
        fewshot_experiment::write_atomically(&path, self.settings.to_toml().as_bytes())
            .map_err(|error| error.to_string())?;
        Ok(path)
    }
}
