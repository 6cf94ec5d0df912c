//! A checkpoint with the configuration that it is evaluated under.

use std::path::{Path, PathBuf};

use candle_core::Device;
use fewshot_data::{Dataset, Split};
use fewshot_episodes::FeatureBank;
use fewshot_experiment::{
    Checkpoint, Config, Error, FeatureMean, Model, RawConfig, SplitConfig, device, note, open_split,
};

use crate::{
    CheckpointFile, Evaluation, OpenSplit, episode_features, evaluate_bank, feature_mean,
    many_skipped, shared_with, use_published_protocol,
};

/// A checkpoint that is ready to be evaluated.
pub struct Candidate {
    /// The name that results give it.
    pub name: PathBuf,
    /// What it is evaluated under.
    pub config: Config,
    /// The same, before the check.
    pub raw: RawConfig,
    /// The images that it was trained on, if it tells.
    trained_on: Option<SplitConfig>,
    /// Number of completed training epochs.
    pub epoch: usize,
    /// The network.
    pub model: Model,
    /// The mean feature of its base images, if it has that.
    feature_mean: Option<FeatureMean>,
    /// Other networks whose features stand beside this one's.
    pub ensemble: Vec<Self>,
}

impl Candidate {
    /// Reads the checkpoint at a path, or at an `hf://` address, as [`read`](Self::read) does.
    ///
    /// # Errors
    /// Those of [`CheckpointFile::locate`] and of [`read`](Self::read).
    pub fn open(
        given: &Path,
        overrides: &RawConfig,
        adjust: impl FnOnce(&mut RawConfig),
    ) -> Result<Self, Error> {
        let CheckpointFile { path, name } = CheckpointFile::locate(given)?;
        Self::read(&path, name, overrides, adjust)
    }

    /// Reads a checkpoint's file, which results call `name`. Its configuration is its own with the
    /// published protocol, changed by `adjust`, then overridden.
    ///
    /// # Errors
    /// If it cannot be read, names no dataset, or does not fit the settings.
    pub fn read(
        path: &Path,
        name: PathBuf,
        overrides: &RawConfig,
        adjust: impl FnOnce(&mut RawConfig),
    ) -> Result<Self, Error> {
        let checkpoint = Checkpoint::read(path)?;
        let mut raw = checkpoint.config.clone();
        if raw.has("dataset") {
            raw.forget_inherited().map_err(|e| Error::checkpoint(path, e))?;
        }
        if raw.forget_gpu() {
            note(
                "trained on a GPU; this build computes on the CPU, in f32 (--features cuda: on the GPU)",
            );
        }
        use_published_protocol(&mut raw);
        adjust(&mut raw);
        raw.overlay(overrides);
        if !raw.has("dataset") {
            let reason = "carries no configuration, so that the images have to be named: \
                          --config configs/…, or dataset.source=cub dataset.root=…";
            return Err(Error::checkpoint(path, reason));
        }
        let config = raw.check().map_err(|error| {
            // What the file itself has, rather than an option.
            let own = checkpoint.config.check().err().map(|own| own.to_string());
            let is_own = own.is_some_and(|own| own == error.to_string());
            if is_own { Error::checkpoint(path, error) } else { error }
        })?;
        let model = checkpoint.model(path, &config, &device(&config)?)?;
        let own = checkpoint.config.has("dataset").then(|| checkpoint.config.check().ok());
        let trained_on = own.flatten().map(|config| config.dataset.base);
        Ok(Self {
            name,
            config,
            raw,
            trained_on,
            epoch: checkpoint.state.epochs,
            model,
            feature_mean: checkpoint.feature_mean,
            ensemble: Vec::new(),
        })
    }

    /// Evaluates it, and returns the labels of the images that its episodes were drawn from as well.
    ///
    /// # Errors
    /// If images cannot be read, or classes or images do not suffice.
    pub fn evaluate(&self, dataset: &Dataset) -> Result<(Evaluation, Vec<u32>), Error> {
        let config = &self.config;
        let bank = self.features(dataset)?;
        let results = evaluate_bank(config, &bank, &*config.test.head, &device(config)?)?;
        let mut evaluation = Evaluation::new(&self.name, self.epoch, config, results);
        evaluation.skipped = dataset.len() - bank.len();
        // The margin of a PyTorch checkpoint is not known.
        evaluation.margin = evaluation.margin.filter(|_| self.raw.has("method.margin"));
        Ok((evaluation, bank.labels().to_vec()))
    }

    /// Extracts the features of a dataset as the settings have heads see them, beside those of its
    /// ensemble.
    ///
    /// # Errors
    /// If images cannot be read.
    pub fn features(&self, dataset: &Dataset) -> Result<FeatureBank, Error> {
        let config = &self.config;
        let device = device(config)?;
        let mean = self.mean(&device)?;
        let own = episode_features(config, &self.model, dataset, mean.as_deref(), &device)
            .map_err(|error| named(&self.name, error))?;
        if self.ensemble.is_empty() {
            return Ok(own);
        }
        let others = self.ensemble.iter().map(|other| other.features(dataset));
        let banks = std::iter::once(Ok(own)).chain(others).collect::<Result<Vec<_>, _>>()?;
        Ok(FeatureBank::side_by_side(&banks)?)
    }

    /// The mean feature of base images, if `test.center` asks for it: the checkpoint's own, or that of the
    /// images that it was trained on.
    fn mean(&self, device: &Device) -> Result<Option<Vec<f32>>, Error> {
        let own = self.feature_mean.as_ref();
        let own = own.filter(|mean| mean.power == self.config.test.power);
        if let (true, Some(mean)) = (self.config.test.center, own) {
            return Ok(Some(mean.values.clone()));
        }
        let mut config = self.config.clone();
        if let Some(trained_on) = &self.trained_on {
            config.dataset.base = trained_on.clone();
        }
        feature_mean(&config, &self.model, device).map_err(|error| {
            let reason = format!(
                "does not hold the mean feature of its base images (`test.center=true` in its training \
                 keeps it), and they cannot be read: {error}"
            );
            Error::checkpoint(&self.name, reason)
        })
    }

    /// What makes results of this checkpoint on `split`, `skipped` of whose images were skipped,
    /// doubtful: images that it was trained on, if they are on this machine and the split is to be
    /// of other classes, and many that were skipped.
    pub fn warnings(&self, split: OpenSplit<'_>, skipped: usize) -> Vec<String> {
        let trained_on = self.trained_on.as_ref();
        let is_of_base = matches!(split.0.split, Split::Base | Split::BaseVal);
        let seen = trained_on.filter(|base| !(is_of_base && base.source == split.0.source));
        let shared = seen.and_then(|base| shared_with((base, &open_split(base).ok()?), split));
        shared.into_iter().chain(many_skipped(split, skipped)).collect()
    }
}

/// Names the checkpoint whose features are not finite: nothing else is at fault for that.
pub(crate) fn named(checkpoint: &Path, error: Error) -> Error {
    match error {
        Error::Episodes(fewshot_episodes::Error::NotFinite { .. }) => {
            let reason = "its features are not finite: it is damaged, or its training diverged";
            Error::checkpoint(checkpoint, reason)
        }
        error => error,
    }
}
