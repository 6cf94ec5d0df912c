//! What the command line, the configuration file and the environment add up to.

use std::path::{Path, PathBuf};

use fewshot_experiment::{Config, Error, RawConfig};
use trainer::{ProcessGroup, Session};

use crate::flags::Flags;

/// Configuration without --config: it needs no file and no download.
const QUICKSTART: &str = include_str!("../../../../../configs/quickstart.toml");

/// What is to be done.
pub enum Command {
    /// Print the configuration.
    PrintConfig(Config),
    /// Train by it.
    Train(Settings),
}

/// Everything that a training needs to know.
pub struct Settings {
    config: Config,
    run_folder: PathBuf,
    /// The checkpoint to continue from, if any.
    pub resume: Option<PathBuf>,
    group: ProcessGroup,
    /// The command that continues the training once it is interrupted.
    pub resume_command: String,
}

impl Command {
    /// Reads what the flags name and checks it.
    ///
    /// # Errors
    /// A configuration that cannot be read or has a wrong setting; an environment that does not
    /// describe a group of processes.
    pub fn from_flags(flags: &Flags) -> Result<Self, Error> {
        let config = raw_config(flags)?.check()?;
        if flags.print_config {
            return Ok(Self::PrintConfig(config));
        }
        let run_folder = run_folder(flags, &config);
        let resume = flags.resume.as_ref().map(|resume| match resume.as_str() {
            "last" | "best" => run_folder.join(format!("{resume}.safetensors")),
            path => PathBuf::from(path),
        });
        let group = ProcessGroup::from_environment(|name| std::env::var(name).ok())?;
        let resume_command = flags.resume_command();
        Ok(Self::Train(Settings { config, run_folder, resume, group, resume_command }))
    }
}

impl Settings {
    /// Starts the training, or continues it from a checkpoint.
    ///
    /// # Errors
    /// Those of [`Session::start`] and [`Session::resume`].
    pub fn session(&self) -> Result<Session, Error> {
        let (config, group) = (self.config.clone(), self.group.clone());
        match &self.resume {
            None => Session::start(config, &self.run_folder, group),
            Some(checkpoint) => Session::resume(config, &self.run_folder, checkpoint, group),
        }
    }
}

/// The configuration of the file, or for a resumed run its own, or the quickstart's.
fn raw_config(flags: &Flags) -> Result<RawConfig, Error> {
    let mut raw = match (&flags.config, &flags.run_dir, &flags.resume) {
        (Some(path), _, _) => RawConfig::from_file(path)?,
        (None, Some(folder), Some(_)) if folder.join("config.toml").exists() => {
            RawConfig::from_file(&folder.join("config.toml"))?
        }
        _ => RawConfig::from_toml(QUICKSTART)?,
    };
    flags.settings.iter().try_for_each(|setting| raw.set(setting))?;
    Ok(raw)
}

fn run_folder(flags: &Flags, config: &Config) -> PathBuf {
    if let Some(folder) = &flags.run_dir {
        return folder.clone();
    }
    let stem = flags.config.as_deref().and_then(Path::file_stem);
    let mut name = stem.map_or("quickstart".into(), |s| s.to_string_lossy().into_owned());
    if let Some(supplement) = &flags.name {
        name = format!("{name}_{supplement}");
    }
    Path::new("checkpoints").join(&config.dataset.name).join(name)
}
