//! The settings of an experiment.

mod check;
mod names;
mod raw;
mod reference;
mod resume;
mod root;

pub use raw::RawConfig;
pub use reference::settings_reference;
pub use resume::Change;

use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use fewshot_data::{OnBroken, Preprocessing, SourceKind, SourceSpec, Split};
use fewshot_episodes::Head;
use fewshot_losses::ClassifierKind;
use fewshot_models::BackboneKind;
use fewshot_progress::printable_value;
use sha2::{Digest, Sha256};

use crate::Error;

/// A checked configuration, made by [`RawConfig::check`]: the only form that the rest of the
/// workspace accepts.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// Seed of all random streams but those of episodes.
    pub seed: u64,
    /// Device that the experiment is computed on.
    pub device: DeviceKind,
    /// Number type that the network computes in.
    pub precision: Precision,
    /// Sources of the images.
    pub dataset: DatasetConfig,
    /// Network and classifier.
    pub method: Method,
    /// Optimization.
    pub train: Train,
    /// Augmentation of training images.
    pub augment: Augment,
    /// Validation during training.
    pub val: Validation,
    /// Few-shot evaluation.
    pub test: Test,
    /// Loading of images.
    pub loader: LoaderConfig,
    /// Every setting with its effective value.
    resolved: toml::Table,
}

/// Device that an experiment is computed on; parsed from and displayed as `cpu` or `cuda:N`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceKind {
    /// The CPU.
    Cpu,
    /// The NVIDIA GPU of this number.
    Cuda(usize),
}

impl DeviceKind {
    /// What names a device, for messages.
    const EXPECTED: &str = "cpu, or cuda:N";
}

impl std::fmt::Display for DeviceKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(ordinal) => write!(f, "cuda:{ordinal}"),
        }
    }
}

impl FromStr for DeviceKind {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        let ordinal = |name: &str| name.strip_prefix("cuda:")?.parse::<u16>().ok();
        match (name, ordinal(name)) {
            ("cpu", _) => Ok(Self::Cpu),
            (_, Some(ordinal)) => Ok(Self::Cuda(ordinal.into())),
            _ => Err(raw::value_error("device", format!("{name:?}"), Self::EXPECTED)),
        }
    }
}

/// Number type that a network computes in. Parameters, statistics and sums are `f32` always.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, strum::EnumString, strum::IntoStaticStr, strum::VariantNames,
)]
#[strum(serialize_all = "lowercase")]
pub enum Precision {
    /// Single precision throughout.
    F32,
    /// Single precision, but products of factors rounded to 10 bits of mantissa.
    Tf32,
    /// Images and what is computed of them in bfloat16.
    Bf16,
}

impl Precision {
    /// The name in a configuration.
    pub fn name(self) -> &'static str {
        self.into()
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
        if let Some(train) = settings.get_mut("train").and_then(toml::Value::as_table_mut) {
            train.remove("save_freq");
        }
        let digest = Sha256::digest(settings.to_string());
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The settings of a split. A split that has no section of its own comes from the source of
    /// base classes.
    pub fn split(&self, split: Split) -> SplitConfig {
        match split {
            Split::Base => self.dataset.base.clone(),
            Split::Val => self.dataset.val.clone(),
            Split::Novel => self.dataset.novel.clone(),
            split => SplitConfig { split, ..self.dataset.base.clone() },
        }
    }
}

/// Sources of the images of base, validation and novel classes.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DatasetConfig {
    /// Name of the folder of runs.
    pub name: String,
    /// Base classes.
    pub base: SplitConfig,
    /// Validation classes.
    pub val: SplitConfig,
    /// Novel classes.
    pub novel: SplitConfig,
}

/// Source of the images of one split.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct SplitConfig {
    /// The key that the root was given by, for messages.
    pub root_key: String,
    /// The source. A relative root is looked up under `FEWSHOT_DATA`, too
    /// ([`resolve_root`](Self::resolve_root)).
    pub source: SourceSpec,
    /// Which of the source's splits.
    pub split: Split,
}

/// What is trained.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Method {
    /// The network.
    pub backbone: BackboneKind,
    /// Side of its images, in pixels.
    pub image_size: usize,
    /// How its images are resized for evaluation, and normalized.
    pub preprocessing: Preprocessing,
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

/// How a network is trained.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Train {
    /// Steps between readings of loss and accuracy: a GPU is waited for only then.
    pub print_freq: usize,
    /// Epochs between checkpoints; the last epoch and the best one have theirs in any case.
    pub save_freq: usize,
    /// Whether batch norms of several processes take the statistics of all their images.
    pub sync_batch_norm: bool,
    /// The update rule.
    pub optimizer: OptimizerKind,
    /// Highest learning rate.
    pub learning_rate: f64,
    /// Weight decay: coupled (L2) for Adam and SGD, decoupled for AdamW.
    pub weight_decay: f64,
    /// Course of the learning rate.
    pub schedule: Schedule,
    /// Passes over the base images.
    pub epochs: usize,
    /// Images a step.
    pub batch_size: usize,
    /// Weight of the loss of predicting quarter turns, of four copies of each image; 0 for none.
    pub rotation: f64,
    /// Both parameters of the Beta distribution from which manifold mixup draws; 0 for no mixup.
    pub manifold_mixup: f64,
    /// Share of the target that is spread over all classes.
    pub label_smoothing: f64,
    /// Decay of the average of the weights over steps; 0 for no average.
    pub ema: f64,
    /// A network to learn the scores of, if any.
    pub distill: Option<Distill>,
}

/// Distillation: learning the scores of a trained network beside the labels.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Distill {
    /// The network's checkpoint.
    pub checkpoint: PathBuf,
    /// What both networks' scores are divided by.
    pub temperature: f64,
    /// Share of its loss, in [0, 1]; the rest is that of the labels.
    pub weight: f64,
}

/// The update rule.
#[derive(Clone, Copy, Debug, PartialEq, strum::EnumDiscriminants)]
#[strum_discriminants(
    name(OptimizerName),
    vis(pub(crate)),
    derive(strum::EnumString, strum::VariantNames),
    strum(serialize_all = "lowercase")
)]
pub enum OptimizerKind {
    /// Adam with weight decay added to the gradient.
    Adam,
    /// Adam with decoupled weight decay.
    AdamW,
    /// Stochastic gradient descent.
    Sgd {
        /// Share of the momentum buffer that is kept at each step.
        momentum: f64,
        /// Share of the gradient that is left out of the momentum buffer.
        dampening: f64,
        /// Whether the gradient is taken ahead along the momentum (Nesterov).
        nesterov: bool,
    },
}

/// Course of the learning rate over a training.
#[derive(Clone, Debug, PartialEq, strum::EnumDiscriminants)]
#[strum_discriminants(
    name(ScheduleName),
    vis(pub(crate)),
    derive(strum::EnumString, strum::VariantNames),
    strum(serialize_all = "kebab-case")
)]
pub enum Schedule {
    /// Linear from a sixteenth of the highest rate over some epochs, then a cosine down to 1e-6.
    WarmupCosine {
        /// Epochs of warm-up.
        warmup_epochs: usize,
    },
    /// The highest rate throughout.
    Constant,
    /// The highest rate, multiplied by a factor when so many epochs are over.
    Step {
        /// Numbers of epochs, rising.
        milestones: Vec<usize>,
        /// The factor.
        factor: f64,
    },
    /// Cosines down to 1e-6, all equally long, each from the highest rate on.
    CosineRestarts {
        /// Number of cosines.
        cycles: usize,
    },
}

/// Augmentation of training images.
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
    /// Whether the mean feature of base images is subtracted from features.
    pub center: bool,
    /// Exponent of the elements of features, their signs kept; 1 leaves them as they are.
    pub power: f64,
    /// Random crops of each image whose features are averaged; `None` for the whole image alone.
    pub crops: Option<Crops>,
    /// The adaptation head, with its settings.
    pub head: Arc<dyn Head>,
    /// Whether the report also shows the accuracy of a nearest neighbour on pixels.
    pub pixel_baseline: bool,
}

/// Features that are averaged over random crops of an image.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Crops {
    /// Number of crops.
    pub count: usize,
    /// Smallest share of the image's area that a crop takes.
    pub min_area: f64,
    /// Whether queries are cropped, too, not support images alone.
    pub of_queries: bool,
}

/// Loading of images.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct LoaderConfig {
    /// Number of decoding threads, if not one a core.
    pub threads: Option<usize>,
    /// Bytes of loaded batches that may wait for the training.
    pub prefetch_bytes: usize,
    /// What to do about an image that cannot be decoded.
    pub on_broken: OnBroken,
    /// Whether training images are decoded once and kept on the GPU, which then augments them.
    pub keep_on_gpu: bool,
}

impl DatasetConfig {
    /// Whether validation classes stand in for novel ones, whichever key gave their root.
    pub fn novel_is_val(&self) -> bool {
        SplitConfig { root_key: self.val.root_key.clone(), ..self.novel.clone() } == self.val
    }
}

impl SplitConfig {
    /// The name of the dataset: of a source of the user's own images that of its folder or file,
    /// otherwise that of the source.
    pub fn dataset_name(&self) -> String {
        match (self.source.kind, self.source.root.file_name()) {
            (SourceKind::Folders | SourceKind::Json, Some(name)) => {
                // Names go into the heads of tables.
                printable_value(&name.to_string_lossy()).replace('|', "/")
            }
            (kind, _) => kind.to_string(),
        }
    }

    /// Dataset and split, as tables are headed: `cub novel`.
    pub fn title(&self) -> String {
        format!("{} {}", self.dataset_name(), self.split)
    }
}
