//! What the command line, the configuration file and the environment add up to.

use std::path::{Component, Path, PathBuf};

use fewshot_experiment::{Change, Checkpoint, Config, Error, RawConfig};
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
    /// What differs from the settings that the run began under.
    pub changes: Vec<Change>,
    group: ProcessGroup,
}

impl Command {
    /// Reads what the flags name and checks it.
    ///
    /// # Errors
    /// A configuration that cannot be read or has a wrong setting; an environment that does not
    /// describe a group of processes; settings that a run which goes on must not change.
    pub fn from_flags(flags: &Flags) -> Result<Self, Error> {
        let settings = match &flags.resume {
            None => Settings::of_new_run(flags)?,
            Some(resume) => Settings::of_resumed_run(flags, resume)?,
        };
        let is_printed = flags.print_config;
        Ok(if is_printed { Self::PrintConfig(settings.config) } else { Self::Train(settings) })
    }
}

impl Settings {
    fn of_new_run(flags: &Flags) -> Result<Self, Error> {
        let config = with_base(flags, &given(flags)?)?.check()?;
        let run_folder = run_folder(flags, &config)?;
        Self::new(config, run_folder, None, Vec::new())
    }

    /// The checkpoint's own settings are the base of a run that goes on.
    fn of_resumed_run(flags: &Flags, resume: &str) -> Result<Self, Error> {
        let given = given(flags)?;
        let (path, own_folder) = match resume {
            "last" | "best" => {
                let folder = match &flags.run_dir {
                    Some(folder) => folder.clone(),
                    None => run_folder(flags, &with_base(flags, &given)?.check()?)?,
                };
                (folder.join(format!("{resume}.safetensors")), Some(folder))
            }
            path => {
                let mut path = PathBuf::from(path);
                if path.is_dir() {
                    path.push("last.safetensors");
                }
                let is_elsewhere = flags.config.is_some() || flags.name.is_some();
                let folder = path.parent().filter(|folder| *folder != Path::new(""));
                let folder = folder.unwrap_or(Path::new(".")).to_owned();
                (path, (!is_elsewhere).then_some(folder))
            }
        };
        let own = Checkpoint::read(&path)?.config;
        let (config, changes) = Config::resumed(&path, &own, &given, flags.change)?;
        let run_folder = match (&flags.run_dir, own_folder) {
            (Some(folder), _) => folder.clone(),
            (None, Some(folder)) => folder,
            (None, None) => run_folder(flags, &config)?,
        };
        Self::new(config, run_folder, Some(path), changes)
    }

    fn new(
        config: Config,
        run_folder: PathBuf,
        resume: Option<PathBuf>,
        changes: Vec<Change>,
    ) -> Result<Self, Error> {
        let group = ProcessGroup::from_environment(|name| std::env::var(name).ok())?;
        Ok(Self { config, run_folder, resume, changes, group })
    }

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

    /// The command that continues the training once it is interrupted.
    pub fn resume_command(&self) -> String {
        let folder = self.run_folder.display().to_string();
        let quoted = shlex::try_quote(&folder).map_or_else(|_| folder.clone(), Into::into);
        format!("trainer --resume last --run-dir {quoted}")
    }
}

/// What the user gives: the file's settings, and those of the command line over them.
fn given(flags: &Flags) -> Result<RawConfig, Error> {
    let mut raw =
        flags.config.as_deref().map(RawConfig::from_file).transpose()?.unwrap_or_default();
    flags.settings.iter().try_for_each(|setting| raw.set(setting))?;
    Ok(raw)
}

/// Puts what is given over the quickstart's settings, if neither a configuration nor images are named.
fn with_base(flags: &Flags, given: &RawConfig) -> Result<RawConfig, Error> {
    let mut raw = match is_quickstart(flags, given) {
        true => RawConfig::from_toml(QUICKSTART)?,
        false => RawConfig::default(),
    };
    raw.overlay(given);
    Ok(raw)
}

fn is_quickstart(flags: &Flags, given: &RawConfig) -> bool {
    let names_images = |section: &str| {
        ["source", "root"].iter().any(|name| given.has(&format!("{section}.{name}")))
    };
    flags.config.is_none()
        && !["dataset", "dataset.val", "dataset.novel"].into_iter().any(names_images)
}

/// The run folder by the names of dataset and configuration.
fn run_folder(flags: &Flags, config: &Config) -> Result<PathBuf, Error> {
    if let Some(folder) = &flags.run_dir {
        return Ok(folder.clone());
    }
    let stem = flags.config.as_deref().and_then(Path::file_stem);
    let mut name = match stem {
        Some(stem) => stem.to_string_lossy().into_owned(),
        None if is_quickstart(flags, &given(flags)?) => "quickstart".to_owned(),
        None => "default".to_owned(),
    };
    if let Some(supplement) = &flags.name {
        name = format!("{name}_{supplement}");
    }
    if !Path::new(&name).components().all(|part| matches!(part, Component::Normal(_))) {
        let expected = "a name that stays below the folder of runs; --run-dir takes any path";
        return Err(Error::Argument { name: "--name", got: name, expected });
    }
    Ok(Path::new("checkpoints").join(&config.dataset.name).join(name))
}
