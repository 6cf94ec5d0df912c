//! The command line, resolved into settings.

use std::path::PathBuf;

use fewshot_data::Split;
use fewshot_experiment::{Error, RawConfig};

use crate::arguments::{Arguments, Format};

/// What to evaluate, and how to print it.
pub struct Settings {
    pub checkpoint: PathBuf,
    /// A second checkpoint to compare with.
    pub compare: Option<PathBuf>,
    /// Checkpoints whose features stand beside those of the first one.
    pub ensemble: Vec<PathBuf>,
    pub split: Split,
    pub format: Format,
    /// Overrides the configuration of the first checkpoint.
    pub first_overrides: RawConfig,
    /// Overrides the configuration of every checkpoint.
    pub overrides: RawConfig,
}

impl Settings {
    /// # Errors
    /// If `--config` cannot be read, or an argument is not `key=value`. Settings are checked with the
    /// configuration that they override.
    pub fn resolve(arguments: Arguments) -> Result<Self, Error> {
        let mut first_overrides =
            arguments.config.as_deref().map(RawConfig::from_file).transpose()?.unwrap_or_default();
        set(&mut first_overrides, "method.backbone", arguments.backbone)?;
        set(&mut first_overrides, "method.classifier", arguments.classifier)?;
        set(&mut first_overrides, "method.image_size", arguments.image_size)?;

        let mut overrides = RawConfig::default();
        set(&mut overrides, "test.way", arguments.way)?;
        set(&mut overrides, "test.query", arguments.query)?;
        set(&mut overrides, "test.episodes", arguments.episodes)?;
        set(&mut overrides, "test.seed", arguments.seed)?;
        set(&mut overrides, "test.head", arguments.head)?;
        let shots = (!arguments.shots.is_empty()).then(|| format!("{:?}", arguments.shots));
        set(&mut overrides, "test.shots", shots)?;
        arguments.settings.iter().try_for_each(|setting| overrides.set(setting))?;

        Ok(Self {
            checkpoint: arguments.checkpoint,
            compare: arguments.compare,
            ensemble: arguments.ensemble,
            split: arguments.split,
            format: if arguments.json { Format::Json } else { arguments.format },
            first_overrides,
            overrides,
        })
    }
}

/// Sets `key` if an option gave it a value.
pub fn set(raw: &mut RawConfig, key: &str, value: Option<impl ToString>) -> Result<(), Error> {
    value.map_or(Ok(()), |value| raw.set(&format!("{key}={}", value.to_string())))
}
