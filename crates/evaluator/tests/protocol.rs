//! The published protocol is the default, and its mean and interval are computed correctly.

mod common;

use std::any::Any;

use candle_core::Device;
use common::{FEW, checkpoint, config, json, model};
use evaluator::{extract_features, few_shot};
use fewshot_episodes::heads::FineTune;
use fewshot_experiment::{Provenance, device, open_split};

/// Settings of `[test]` that all differ from the published ones.
const OTHER: [&str; 13] = [
    "test.way=3",
    "test.shots=[2]",
    "test.query=4",
    "test.episodes=7",
    "test.head=prototype",
    "test.scale=9",
    "test.margin=0.1",
    "test.passes=3",
    "test.finetune_batch_size=2",
    "test.learning_rate=0.5",
    "test.weight_decay=0.1",
    "test.power=0.5",
    "test.crops=2",
];

#[test]
fn a_checkpoint_is_evaluated_by_the_published_protocol() {
    let folder = tempfile::tempdir().unwrap();
    let free = ["test.seed=4", "test.batch_size=50"];
    let path = checkpoint(folder.path(), "other", &[&OTHER[..], &free].concat());
    let report = json(&path, &[]);
    let expected = [("way", 5), ("query", 16), ("test_seed", 4)];
    expected.iter().for_each(|&(key, value)| assert_eq!(report[key], value, "{key}"));
    let results = report["results"].as_object().unwrap();
    assert_eq!(results.keys().collect::<Vec<_>>(), ["1", "5"]);
    for result in results.values() {
        assert_eq!((&result["episodes"], &result["head"]), (&600.into(), &"finetune".into()));
    }
    // The hash covers every setting, those of fine-tuning too.
    let published = config(&free);
    let hash = Provenance::of(&published).config_sha256;
    assert_eq!(report["run"]["config_sha256"], hash);
    let head = &*published.test.head as &dyn Any;
    let head: &FineTune = head.downcast_ref().unwrap();
    assert_eq!(head.classifier, published.method.classifier);
    assert_eq!((head.scale, head.margin, head.passes, head.batch_size), (5.0, 0.0, 100, 4));
    assert_eq!((head.learning_rate, head.weight_decay), (0.01, 0.001));
    assert_eq!((head.momentum, head.dampening), (0.9, 0.9));

    let asked = json(&path, &OTHER);
    assert_eq!((&asked["way"], &asked["results"]["2"]["episodes"]), (&3.into(), &7.into()));
}

/// Recomputed in integers, from the number of correct queries of each episode.
#[test]
fn mean_and_interval_are_those_of_the_episodes() {
    let folder = tempfile::tempdir().unwrap();
    let report = json(&checkpoint(folder.path(), "drawn", &[]), &FEW);
    let config = config(&[]);
    let device = device(&config).unwrap();
    let novel = open_split(&config.dataset.novel).unwrap();
    let bank = extract_features(&config, &model(&config), &novel, &device).unwrap();
    for shot in [1, 5] {
        let accuracy =
            few_shot(&config, &bank, &*config.test.head, shot, 30, &Device::Cpu).unwrap();
        let rights = accuracy.per_episode.iter().map(|a| (80.0 * a).round() as u64);
        let sum: u64 = rights.clone().sum();
        let squares: u64 = rights.map(|right| right * right).sum();
        let variance = (30 * squares - sum * sum) as f64 / 900.0;
        let expected = [sum as f64 / 30.0, 1.96 * (variance / 30.0).sqrt()];
        for (key, expected) in ["mean", "ci95"].into_iter().zip(expected) {
            let got = report["results"][shot.to_string()][key].as_f64().unwrap();
            assert!((got - expected / 0.8).abs() < 1e-9, "{shot}-shot {key}: {got}");
        }
    }
}
