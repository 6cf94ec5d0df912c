//! Which settings a checkpoint is measured by.

use fewshot_experiment::RawConfig;

/// Settings of `[test]` that are no part of the protocol.
const FREE: [&str; 3] = ["test.seed", "test.batch_size", "test.pixel_baseline"];

/// Puts the published protocol in place of the `[test]` settings of a training, so that results
/// of all checkpoints compare: 600 episodes, 5-way, 16 queries, 1 and 5 shots, fine-tuning of the
/// method's own classifier with the published settings.
///
/// `test.seed`, `test.batch_size` and `test.pixel_baseline` stay: the protocol leaves them open.
pub fn use_published_protocol(raw: &mut RawConfig) {
    let is_protocol = |key: &str| key.starts_with("test.") && !FREE.contains(&key);
    raw.take_from(&RawConfig::default(), is_protocol);
}

/// Takes from `first` what decides the episodes and how they are measured: the dataset, how it is
/// read, and `[test]`.
pub fn use_episodes_of(raw: &mut RawConfig, first: &RawConfig) {
    let decides = |key: &str| ["dataset.", "loader.", "test."].iter().any(|s| key.starts_with(s));
    raw.take_from(first, decides);
}
