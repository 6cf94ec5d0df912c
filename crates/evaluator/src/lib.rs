//! Few-shot evaluation of a model: features are extracted once, episodes index into them.
//!
//! [`extract_features`] maps the images of a split to a
//! [`FeatureBank`](fewshot_episodes::FeatureBank), and [`episode_features`] does what the settings
//! `test.center`, `test.power` and `test.crops` ask for as well; [`few_shot`] adapts a head to the support
//! set of each episode and measures accuracy on its queries; [`evaluate_split`] does both for
//! every number of shots. [`base_accuracy`] measures the supervised accuracy on base classes,
//! [`pixels`] serves a baseline without a network, and [`compare`] computes the difference of two
//! models on the same episodes. The module `analysis` (a feature, on by default) measures what a
//! margin does to features. [`Report`] is the JSON output of the binary, which evaluates a
//! checkpoint by [the published protocol](use_published_protocol):
//!
//! ```text
//! evaluator --checkpoint checkpoints/glyphs/quickstart/best.safetensors --shots 1,5
//! ```
//!
//! In a program of your own (`examples/own_folder.rs` evaluates a folder of images):
//!
//! ```
//! use candle_core::Device;
//! use evaluator::evaluate_split;
//! use fewshot_experiment::{Model, RawConfig, open_split};
//!
//! # fn main() -> Result<(), fewshot_experiment::Error> {
//! let mut raw = RawConfig::default();
//! for setting in ["method.backbone=conv4", "method.image_size=16", "dataset.images_per_class=21",
//!     "test.head=prototype", "test.shots=[5]", "test.episodes=10"] {
//!     raw.set(setting)?;
//! }
//! let config = raw.check()?;
//! let novel = open_split(&config.dataset.novel)?;
//! let model = Model::new(&config, 64, &Device::Cpu)?;
//! let results = evaluate_split(&config, &model, &novel, &Device::Cpu)?;
//! println!("an untrained Conv4, 5-shot: {} %", results[&5]);
//! assert!(results[&5].mean > 20.0, "better than guessing one of five");
//! # Ok(())
//! # }
//! ```

#![forbid(unsafe_code)]

#[cfg(feature = "analysis")]
pub mod analysis;
mod candidate;
mod checkpoint_file;
mod command_line;
mod doubts;
mod features;
mod few_shot;
mod protocol;
mod report;

pub use candidate::Candidate;
pub use checkpoint_file::CheckpointFile;
pub use command_line::parse_arguments;
pub use doubts::{OpenSplit, many_skipped, shared_with};
pub use features::{
    BaseAccuracy, base_accuracy, episode_features, extract_features, feature_mean, pixels,
};
pub use few_shot::{
    ShotDifference, ShotResult, SplitDifferences, SplitResults, compare, evaluate_bank,
    evaluate_split, few_shot,
};
pub use protocol::{use_episodes_of, use_published_protocol};
pub use report::{Comparison, Evaluation, Report};
