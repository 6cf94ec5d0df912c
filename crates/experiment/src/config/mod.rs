//! The settings of an experiment.

mod check;
mod raw;

pub use raw::RawConfig;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use fewshot_data::{OnBroken, SourceKind, Split};
use fewshot_episodes::Head;
use fewshot_losses::ClassifierKind;
use fewshot_models::BackboneKind;
use sha2::{Digest, Sha256};

use crate::Error;

/// A checked configuration: the only form that the rest accepts, made by
/// [`RawConfig::check`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// Where every random stream begins.
    pub seed: u64,
    /// `cpu`, or `cuda:0`.
    pub device: DeviceKind,
    /// What images and what is computed of them are kept in.
    pub precision: Precision,
    /// Where images come from.
    pub dataset: DatasetConfig,
    /// What is trained.
    pub method: Method,
    /// How it is trained.
    pub train: Train,
    /// How training images are varied.
    pub augment: Augment,
    /// Validation during training.
    pub val: Validation,
    /// Few-shot evaluation.
    pub test: Test,
    /// The loader.
    pub loader: LoaderConfig,
    /// Every setting with its effective value.
    resolved: toml::Table,
}

/// Where an experiment computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceKind {
    /// The CPU.
    Cpu,
    /// The NVIDIA GPU of this number.
    Cuda(usize),
}

impl std::fmt::Display for DeviceKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(ordinal) => write!(f, "cuda:{ordinal}"),
        }
    }
}

/// What a network computes in. Parameters, statistics and sums are `f32` always.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// Single precision throughout.
    F32,
    /// Single precision, but products of factors rounded to 10 bits of mantissa.
    Tf32,
    /// Images and what is computed of them in bfloat16.
    Bf16,
}

impl Precision {
    const ALL: [(&'static str, Self); 3] =
        [("f32", Self::F32), ("tf32", Self::Tf32), ("bf16", Self::Bf16)];

    /// What it is called in a configuration.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, precision)| *precision == self).map_or("", |(name, _)| name)
    }

    fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(known, _)| *known == name).map(|(_, precision)| *precision)
    }
}

impl Config {
    /// Every setting with its effective value, as TOML that [`RawConfig`] reads back.
    pub fn to_toml(&self) -> String {
        self.resolved.to_string()
    }

    /// SHA-256 of [`to_toml`](Self::to_toml), in hexadecimal digits. The loader's `threads` and
    /// `prefetch_mib` are left out: they change no result.
    pub fn sha256(&self) -> String {
        let mut settings = self.resolved.clone();
        if let Some(loader) = settings.get_mut("loader").and_then(toml::Value::as_table_mut) {
            loader.retain(|key, _| !["threads", "prefetch_mib"].contains(&key));
        }
        let digest = Sha256::digest(settings.to_string());
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The settings of a split; those that have none of their own come from base's source.
    pub fn split(&self, split: Split) -> SplitConfig {
        match split {
            Split::Base => self.dataset.base.clone(),
            Split::Val => self.dataset.val.clone(),
            Split::Novel => self.dataset.novel.clone(),
            split => SplitConfig { split, ..self.dataset.base.clone() },
        }
    }
}

/// Where the images of base, val and novel classes come from.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DatasetConfig {
    /// Names the run folder.
    pub name: String,
    /// Base classes.
    pub base: SplitConfig,
    /// Validation classes.
    pub val: SplitConfig,
    /// Novel classes.
    pub novel: SplitConfig,
}

/// Where the images of one split come from.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct SplitConfig {
    /// The key that [`root`](Self::root) was given by, for messages.
    pub root_key: String,
    /// The kind of source.
    pub source: SourceKind,
    /// Folder or archive; relative ones also under `FEWSHOT_DATA`.
    pub root: PathBuf,
    /// Which of the source's splits.
    pub split: Split,
    /// Go on without absent images.
    pub allow_partial: bool,
    /// Only this many images of each class.
    pub images_per_class: Option<usize>,
    /// Images of each base class that are kept out of training; base accuracy is measured on them.
    pub hold_out: usize,
    /// Side of drawn glyphs, in pixels.
    pub glyph_size: u32,
    /// Seed of drawn glyphs.
    pub glyph_seed: u64,
}

/// What is trained.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Method {
    /// The network.
    pub backbone: BackboneKind,
    /// Side of its images, in pixels.
    pub image_size: usize,
    /// The classifier over base classes.
    pub classifier: ClassifierKind,
    /// Its scale, positive.
    pub scale: f64,
    /// Its margin, of any sign.
    pub margin: f64,
    /// Its outputs, if not one a base class.
    pub outputs: Option<usize>,
    /// Rate of dropout and DropBlock, in [0, 1).
    pub drop_rate: f64,
    /// Side of DropBlock's squares.
    pub dropblock_size: usize,
}

/// How it is trained.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Train {
    /// Steps after which loss and accuracy are read: a GPU is waited for only then.
    pub print_freq: usize,
    /// Whether batch norms of several processes take the statistics of all their images.
    pub sync_batch_norm: bool,
    /// The update rule.
    pub optimizer: OptimizerKind,
    /// Highest learning rate.
    pub learning_rate: f64,
    /// Weight decay: coupled (L2) for Adam and SGD, decoupled for AdamW.
    pub weight_decay: f64,
    /// How the learning rate moves.
    pub schedule: Schedule,
    /// Passes over the base images.
    pub epochs: usize,
    /// Images a step.
    pub batch_size: usize,
}

/// The update rule.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum OptimizerKind {
    /// Adam with weight decay added to the gradient.
    Adam,
    /// Adam with decoupled weight decay.
    AdamW,
    /// Stochastic gradient descent.
    Sgd {
        /// Share of the last step that is kept.
        momentum: f64,
        /// Share of the gradient that is left out of the momentum buffer.
        dampening: f64,
        /// Looks ahead along the momentum.
        nesterov: bool,
    },
}

/// How the learning rate moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Schedule {
    /// Up from a sixteenth over some epochs, then a cosine down to 1e-6.
    WarmupCosine {
        /// Epochs of going up.
        warmup_epochs: usize,
    },
    /// Not at all.
    Constant,
}

/// How training images are varied.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Augment {
    /// Smallest share of the image's area that a crop takes.
    pub min_area: f64,
    /// Strength of brightness, contrast and saturation jitter.
    pub jitter: f64,
    /// Whether half of the images are mirrored.
    pub flip: bool,
}

/// Validation during training.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Validation {
    /// Epochs between validations; 0 for none but the last.
    pub freq: usize,
    /// Episodes a validation.
    pub episodes: usize,
    /// Support images a class.
    pub shot: usize,
}

/// Few-shot evaluation.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Test {
    /// Classes per episode.
    pub way: usize,
    /// Numbers of support images per class; one evaluation each.
    pub shots: Vec<usize>,
    /// Query images per class.
    pub query: usize,
    /// Number of episodes.
    pub episodes: usize,
    /// Seed that episodes are drawn from; not the training's seed, so that runs of several
    /// training seeds are evaluated on the same episodes.
    pub seed: u64,
    /// Images per batch when features are extracted.
    pub batch_size: usize,
    /// The adaptation head, with its settings.
    pub head: Arc<dyn Head>,
    /// Whether the report also shows the accuracy of a nearest neighbour on pixels.
    pub pixel_baseline: bool,
}

/// The loader.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct LoaderConfig {
    /// Decoding threads, if not one a core.
    pub threads: Option<usize>,
    /// Bytes of batches that may wait.
    pub prefetch_bytes: usize,
    /// What to do about an image that cannot be decoded.
    pub on_broken: OnBroken,
    /// Whether training images are decoded once and kept on the GPU, which then varies them.
    pub keep_on_gpu: bool,
}

impl SplitConfig {
    /// The root as it is, or under `FEWSHOT_DATA` if only that exists.
    ///
    /// # Errors
    /// [`Error::NoDataset`].
    pub fn resolve_root(&self) -> Result<PathBuf, Error> {
        if !self.source.needs_root() || self.root.exists() {
            return Ok(self.root.clone());
        }
        let under = std::env::var_os("FEWSHOT_DATA").map(PathBuf::from);
        match &under {
            Some(under) if under.join(&self.root).exists() && self.has_root() => {
                Ok(under.join(&self.root))
            }
            _ => {
                Err(Error::NoDataset { key: self.root_key.clone(), root: self.root.clone(), under })
            }
        }
    }

    fn has_root(&self) -> bool {
        self.root != Path::new("")
    }
}
