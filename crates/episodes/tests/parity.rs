//! Fine-tuning against the published implementation, run in PyTorch.
//!
//! Reads `adaptation.json` from the folder that the variable `PARITY_DIR` names, or from
//! `tests/parity`. The file holds results alone: every weight, feature and order is a function
//! of its salt, a name and an index.

use fewshot_episodes::{FineTune, Support, finetune};
use fewshot_losses::ClassifierKind;
use serde_json::Value;
use std::{env, fs, path::Path};

/// `uniform(name, n)` of the script that made the numbers, before its rounding to `f32`.
fn uniform(salt: &str, name: &str, n: usize) -> Vec<f64> {
    let fnv1a = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    let key = format!("{salt}/{name}").bytes().fold(0xcbf2_9ce4_8422_2325, fnv1a);
    let splitmix = |i: u64| {
        let z = (i + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(key);
        let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    };
    (0..n as u64).map(splitmix).collect()
}

/// The sizes that all episodes of a file share.
struct Sizes {
    salt: String,
    way: usize,
    query: usize,
    dim: usize,
    passes: usize,
    batch: usize,
}

impl Sizes {
    fn new(file: &Value) -> Self {
        let size = |key: &str| file[key].as_u64().unwrap() as usize;
        Self {
            salt: file["salt"].as_str().unwrap().to_owned(),
            way: size("way"),
            query: size("query"),
            dim: size("dim"),
            passes: size("iterations"),
            batch: size("batch"),
        }
    }

    fn narrow(&self, name: &str, n: usize, value: impl Fn(f64) -> f64) -> Vec<f32> {
        uniform(&self.salt, name, n).into_iter().map(|u| value(u) as f32).collect()
    }

    /// The features of each class, support first: `[way][shot + query][dim]`.
    fn features(&self, shot: usize) -> Vec<Vec<Vec<f32>>> {
        let images = shot + self.query;
        let class = self.narrow(&format!("adapt/{shot}/class"), self.way * self.dim, |u| u);
        let noise =
            self.narrow(&format!("adapt/{shot}/noise"), self.way * images * self.dim, |u| u);
        let noise = noise.chunks(self.dim * images);
        class
            .chunks(self.dim)
            .zip(noise)
            .map(|(class, noise)| {
                let image = |noise: &[f32]| {
                    let pair = class.iter().zip(noise);
                    pair.map(|(c, n)| (c * 2.0 + n * 3.0 - 1.5).max(0.0)).collect()
                };
                noise.chunks(self.dim).map(image).collect()
            })
            .collect()
    }

    /// The order in which a pass takes the support rows.
    fn order(&self, pass: usize, rows: usize) -> Vec<usize> {
        let key = self.narrow(&format!("adapt/order/{pass}"), rows, |u| u);
        let mut order: Vec<usize> = (0..rows).collect();
        order.sort_by(|&a, &b| key[a].total_cmp(&key[b]));
        order
    }
}

/// The largest deviation of `scores` from the digest, relative to the tensor's RMS.
fn deviation(scores: &[f64], digest: &Value) -> f64 {
    let number = |value: &Value| value.as_f64().unwrap();
    let list = |key: &str| digest[key].as_array().unwrap();
    let shape: f64 = list("shape").iter().map(number).product();
    let n = scores.len() as f64;
    assert_eq!(shape, n);
    let sum_sq = number(&digest["sum_sq"]);
    let rms = (sum_sq / n).sqrt();
    let samples = list("index").iter().zip(list("value"));
    let worst = samples
        .map(|(i, value)| (scores[i.as_u64().unwrap() as usize] - number(value)).abs() / rms)
        .fold(0.0, f64::max);
    let sum = (scores.iter().sum::<f64>() - number(&digest["sum"])).abs() / (n * rms);
    // Half, because squares deviate twice as much as what is squared.
    let squares = (scores.iter().map(|s| s * s).sum::<f64>() / sum_sq - 1.0).abs() / 2.0;
    worst.max(sum).max(squares)
}

/// The scores `[way · query, way]` that our implementation gives, and their accuracy.
fn adapted_scores(sizes: &Sizes, episode: &Value) -> (Vec<f64>, f64) {
    let name = episode["head"].as_str().unwrap();
    let kind: ClassifierKind = name.parse().unwrap();
    let shot = episode["shot"].as_u64().unwrap() as usize;
    let (way, dim) = (sizes.way, sizes.dim);

    let features = sizes.features(shot);
    let support = features.iter().flat_map(|class| &class[..shot]).flatten();
    let support: Vec<f32> = support.copied().collect();
    let labels: Vec<usize> = (0..way * shot).map(|row| row / shot).collect();
    let support = Support::new(&support, dim, &labels, way).unwrap();

    let parameter = format!("adapt/{name}/{shot}");
    let initial = finetune::Initial {
        weight: sizes.narrow(&format!("{parameter}/weight"), way * dim, |u| {
            (u - 0.5) * 2.0 / (dim as f64).sqrt()
        }),
        bias: kind
            .has_bias()
            .then(|| sizes.narrow(&format!("{parameter}/bias"), way, |u| 0.2 * (u - 0.5))),
    };
    let settings = FineTune {
        scale: episode["scale_factor"].as_f64().unwrap_or(1.0),
        passes: sizes.passes,
        batch_size: sizes.batch,
        ..FineTune::published(kind)
    };
    let reorder =
        |pass, order: &mut [usize]| order.copy_from_slice(&sizes.order(pass, labels.len()));
    let classifier = finetune::adapt(&settings, &initial, &support, reorder).unwrap();

    let (mut scores, mut right) = (Vec::new(), 0);
    for (label, class) in features.iter().enumerate() {
        for query in &class[shot..] {
            let row = classifier.scores(query).unwrap();
            right += usize::from((0..way).all(|c| c == label || row[c] < row[label]));
            scores.extend(row);
        }
    }
    (scores, right as f64 / (way * sizes.query) as f64)
}

#[test]
fn parity_of_adaptation() {
    let default = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/parity");
    let folder = env::var_os("PARITY_DIR").map_or(default, Into::into);
    let path = folder.join("adaptation.json");
    let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let file: Value = serde_json::from_str(&text).unwrap();
    let sizes = Sizes::new(&file);
    let episodes = file["episodes"].as_array().unwrap();
    assert!(!episodes.is_empty());
    for episode in episodes {
        let (scores, accuracy) = adapted_scores(&sizes, episode);
        let deviation = deviation(&scores, &episode["scores"]);
        let name = format!("{} {}-shot", episode["head"], episode["shot"]);
        println!("{name}: scores deviate by {deviation:.1e} of their RMS");
        assert!(deviation < 1e-4, "{name}: {deviation}");
        assert_eq!(accuracy, episode["accuracy"].as_f64().unwrap(), "{name}");
    }
}
