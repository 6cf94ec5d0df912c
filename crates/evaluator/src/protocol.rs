//! The settings that a checkpoint is evaluated by.

use fewshot_experiment::RawConfig;

/// Settings of `[test]` that are not part of the protocol.
const UNSPECIFIED: [&str; 3] = ["test.seed", "test.batch_size", "test.pixel_baseline"];

/// Replaces the `[test]` settings of a training by the published protocol, so that results of all
/// checkpoints are comparable: 600 episodes, 5-way, 16 queries, 1 and 5 shots, fine-tuning of the
/// method's own classifier with the published settings.
///
/// `test.seed`, `test.batch_size` and `test.pixel_baseline` stay: the protocol does not specify them.
pub fn use_published_protocol(raw: &mut RawConfig) {
    let is_protocol = |key: &str| key.starts_with("test.") && !UNSPECIFIED.contains(&key);
    raw.take_from(&RawConfig::default(), is_protocol);
}

/// Takes from `first` the settings that determine the episodes and their evaluation: the dataset, its
/// loader, and `[test]`.
pub fn use_episodes_of(raw: &mut RawConfig, first: &RawConfig) {
    let determines =
        |key: &str| ["dataset.", "loader.", "test."].iter().any(|s| key.starts_with(s));
    raw.take_from(first, determines);
}
