//! What settings do to features before a head sees them, and networks side by side.

mod common;

use common::{FEW, checkpoint, config, evaluate, json, model, print};
use evaluator::{episode_features, extract_features, feature_mean};
use fewshot_episodes::FeatureBank;
use fewshot_experiment::{Checkpoint, Config, FeatureMean, device, open_split};

fn prepared(config: &Config) -> (FeatureBank, FeatureBank) {
    let (model, device) = (model(config), device(config).unwrap());
    let novel = open_split(&config.dataset.novel).unwrap();
    let mean = feature_mean(config, &model, &device).unwrap();
    let plain = extract_features(config, &model, &novel, &device).unwrap();
    (plain, episode_features(config, &model, &novel, mean.as_deref(), &device).unwrap())
}

#[test]
fn features_are_raised_and_centred() {
    let (plain, same) = prepared(&config(&[]));
    let config = config(&["test.power=0.5", "test.center=true"]);
    let (again, prepared) = prepared(&config);
    let base = open_split(&config.dataset.base).unwrap();
    let (model, device) = (model(&config), device(&config).unwrap());
    let base = extract_features(&config, &model, &base, &device).unwrap();
    let raised = |value: f32| f64::from(value).abs().sqrt().copysign(f64::from(value));
    for image in 0..plain.len() {
        assert_eq!(plain.feature(image), same.feature(image), "by default they stay");
        assert_eq!(plain.feature(image), again.feature(image));
    }
    for element in 0..plain.dim() {
        let sum: f64 = (0..base.len()).map(|image| raised(base.feature(image)[element])).sum();
        for image in [0, 7, plain.len() - 1] {
            let expected = raised(plain.feature(image)[element]) - sum / base.len() as f64;
            let got = f64::from(prepared.feature(image)[element]);
            assert!((got - expected).abs() < 1e-5, "{got} {expected}");
        }
    }
}

#[test]
fn crops_are_of_support_images_alone_unless_queries_are_asked_for() {
    let (plain, supports) = prepared(&config(&["test.crops=3"]));
    let threads =
        ["test.crops=3", "test.crop_queries=true", "loader.threads=1", "test.batch_size=7"];
    let (_, all) = prepared(&config(&threads));
    let (_, others) = prepared(&config(&["test.crops=3", "test.seed=1"]));
    for image in 0..plain.len() {
        assert_eq!(supports.feature(image), plain.feature(image));
        assert_ne!(supports.support_feature(image), plain.feature(image));
        // The same crops, whatever the batches and the threads; others by another seed.
        let close = |(a, b): (&f32, &f32)| (a - b).abs() < 1e-5;
        let (crops, again) = (supports.support_feature(image), all.feature(image));
        assert!(crops.iter().zip(again).all(close), "{image}");
        assert_eq!(all.support_feature(image), again);
        assert_ne!(others.support_feature(image), crops);
    }
}

#[test]
fn the_mean_is_the_checkpoints_or_that_of_its_base_images() {
    let folder = tempfile::tempdir().unwrap();
    let path = checkpoint(folder.path(), "drawn", &[]);
    let options = ["--head", "prototype", "test.center=true"];
    let computed = json(&path, &[&FEW[..], &options].concat());
    assert_eq!(computed["features"], "less the mean of base images");
    assert_ne!(computed["results"], json(&path, &[&FEW[..], &options[..2]].concat())["results"]);

    // The same mean, kept in the file, is taken without the base images; so it is seen if another is.
    let config = config(&["test.center=true"]);
    let (model, state) = (model(&config), Default::default());
    let values = feature_mean(&config, &model, &device(&config).unwrap()).unwrap().unwrap();
    let kept = folder.path().join("kept.safetensors");
    let keep = |values: Vec<f32>| {
        let mean = FeatureMean { power: 1.0, values };
        Checkpoint::write_with(&kept, &config.to_toml(), &state, &model, Some(mean)).unwrap();
    };
    keep(values.clone());
    assert_eq!(Checkpoint::read(&kept).unwrap().feature_mean.unwrap().values, values);
    let of_file = json(&kept, &[&FEW[..], &options].concat());
    assert_eq!(of_file["results"], computed["results"]);
    keep(values.iter().map(|value| -5.0 * value).collect());
    assert_ne!(json(&kept, &[&FEW[..], &options].concat())["results"], computed["results"]);
    // That is the mean of other features, which is of no use.
    let power = json(&kept, &[&FEW[..], &options, &["test.power=0.5"]].concat());
    assert_eq!(
        power["results"],
        json(&path, &[&FEW[..], &options, &["test.power=0.5"]].concat())["results"]
    );
    keep(vec![1.0; 3]);
    let output = evaluate(&kept, &[&FEW[..], &options].concat());
    let message = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{message}");
    assert!(message.contains("a mean of 3 numbers"), "{message}");
}

#[test]
fn several_networks_are_one() {
    let folder = tempfile::tempdir().unwrap();
    let [a, b] = ["a", "b"].map(|name| {
        checkpoint(folder.path(), name, &[if name == "a" { "seed=1" } else { "seed=2" }])
    });
    let b_name = b.to_str().unwrap();
    let prototype = [&FEW[..], &["--head", "prototype"]].concat();
    let together = json(&a, &[&prototype[..], &["--ensemble", b_name]].concat());
    assert_eq!(together["ensemble"], serde_json::json!([b_name]));
    // A network beside itself is no other one to a cosine.
    let twice = json(&a, &[&prototype[..], &["--ensemble", a.to_str().unwrap()]].concat());
    let alone = json(&a, &prototype);
    assert_eq!(twice["results"], alone["results"]);
    assert_ne!(together["results"], alone["results"]);
    let text = print(&a, &[&prototype[..], &["--ensemble", b_name, "--compare", b_name]].concat());
    assert!(text.contains(&format!("with the features of {b_name}")), "{text}");
}
