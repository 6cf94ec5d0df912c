//! The images of an experiment.

use std::collections::BTreeMap;

use evaluator::{many_skipped, shared_with};
use fewshot_data::{Dataset, Split};
use fewshot_experiment::{Config, Error, check_episodes, open_optional, open_split};

use crate::Part;

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

    /// Says which classes or images several splits share, except where validation classes stand in
    /// for novel ones.
    pub fn shared(&self, config: &Config) -> Vec<String> {
        let data = &config.dataset;
        let (base, val) = ((&data.base, &self.base), (&data.val, &self.val));
        let novel = (&data.novel, &self.novel);
        let mut shared: Vec<_> = shared_with(base, val).into_iter().collect();
        if !data.novel_is_val() {
            shared.extend(shared_with(base, novel));
            shared.extend(shared_with(val, novel));
        }
        shared
    }

    /// Says of which splits more than one in a hundred images were skipped as broken.
    pub fn many_skipped(&self, config: &Config, skipped: &BTreeMap<Part, usize>) -> Vec<String> {
        let data = &config.dataset;
        let warning = |(part, &count): (&Part, _)| match part {
            Part::Base => many_skipped((&data.base, &self.base), count),
            Part::BaseVal => {
                let base_val = self.base_val.as_ref()?;
                many_skipped((&config.split(Split::BaseVal), base_val), count)
            }
            Part::Val => many_skipped((&data.val, &self.val), count),
            Part::Novel => many_skipped((&data.novel, &self.novel), count),
        };
        skipped.iter().filter_map(warning).collect()
    }
}
