//! Few-shot evaluation of a model: features are extracted once, episodes index into them.
//!
//! [`extract_features`] maps the images of a split to a
//! [`FeatureBank`](fewshot_episodes::FeatureBank); [`few_shot`] adapts a head to the support
//! set of each episode and measures accuracy on its queries; [`evaluate_split`] does both for
//! every number of shots. [`base_accuracy`] is the supervised accuracy on base classes, and
//! [`pixels`] the baseline without any network. The binary evaluates a checkpoint:
//!
//! ```text
//! evaluator --checkpoint checkpoints/glyphs/quickstart/best.safetensors --shots 1,5
//! ```

mod features;
mod few_shot;

pub use features::{base_accuracy, extract_features, pixels};
pub use few_shot::{ShotResult, SplitResults, evaluate_split, few_shot, head_of};
