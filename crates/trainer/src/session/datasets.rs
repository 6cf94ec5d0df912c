//! The images of an experiment.

use fewshot_data::{Dataset, Split};
use fewshot_experiment::{Config, Error, check_episodes, open_optional, open_split};

/// The images of an experiment, by split.
pub struct Datasets {
    /// Training images of base classes.
    pub base: Dataset,
    /// Held-out images of base classes, if the source has any.
    pub base_val: Option<Dataset>,
    /// Images of validation classes.
    pub val: Dataset,
    /// Images of novel classes.
    pub novel: Dataset,
}

impl Datasets {
    /// Opens all splits and checks that they have enough classes and images for the episodes
    /// that the configuration asks for.
    ///
    /// # Errors
    /// Data that cannot be read; too few classes or images.
    pub fn open(config: &Config) -> Result<Self, Error> {
        let datasets = Self {
            base: open_split(&config.dataset.base)?,
            base_val: open_optional(&config.split(Split::BaseVal))?,
            val: open_split(&config.dataset.val)?,
            novel: open_split(&config.dataset.novel)?,
        };
        for &shot in &config.test.shots {
            check_episodes(config, &datasets.val, shot)?;
            check_episodes(config, &datasets.novel, shot)?;
        }
        check_episodes(config, &datasets.val, config.val.shot)?;
        Ok(datasets)
    }
}
