//! Fine-tuning against the published implementation, run in PyTorch: the `adaptation` files of
//! the parity fixtures.

use fewshot_episodes::heads::{FineTune, finetune};
use fewshot_episodes::{Classifier, Support};
use fewshot_losses::ClassifierKind;
use fewshot_parity::{Inputs, check, digest_deviation, files};
use serde_json::Value;

/// Sizes and random inputs that all episodes of a file share.
struct Sizes {
    inputs: Inputs,
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
            inputs: Inputs::of(file),
            way: size("way"),
            query: size("query"),
            dim: size("dim"),
            passes: size("iterations"),
            batch: size("batch"),
        }
    }

    /// Returns uniform draws, rounded to `f32` as in the script that computed the fixtures.
    fn uniform(&self, name: &str, count: usize) -> Vec<f32> {
        self.inputs.uniform(name, count).into_iter().map(|u| u as f32).collect()
    }

    /// Returns the features of each class, support first: `[way][shot + query][dim]`.
    fn features(&self, shot: usize) -> Vec<Vec<Vec<f32>>> {
        let images = shot + self.query;
        let class = self.uniform(&format!("adapt/{shot}/class"), self.way * self.dim);
        let noise = self.uniform(&format!("adapt/{shot}/noise"), self.way * images * self.dim);
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

    /// Returns the order in which a pass takes the support rows.
    fn order(&self, pass: usize, rows: usize) -> Vec<usize> {
        let key = self.uniform(&format!("adapt/order/{pass}"), rows);
        let mut order: Vec<usize> = (0..rows).collect();
        order.sort_by(|&a, &b| key[a].total_cmp(&key[b]));
        order
    }
}

/// Returns the scores `[way · query, way]` of our implementation, and their accuracy.
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
        weight: sizes.inputs.fill(&format!("{parameter}/weight"), &[way, dim]),
        bias: kind.has_bias().then(|| sizes.inputs.fill(&format!("{parameter}/bias"), &[way])),
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
fn parity_adaptation() {
    for (file, json) in files("adaptation") {
        let sizes = Sizes::new(&json);
        let episodes = json["episodes"].as_array().unwrap();
        assert!(!episodes.is_empty(), "{file}");
        for episode in episodes {
            let (scores, accuracy) = adapted_scores(&sizes, episode);
            let shape = [sizes.way * sizes.query, sizes.way];
            let deviation = digest_deviation(&episode["scores"], &shape, &scores, 0.0);
            let name = format!("{file} {} {}-shot", episode["head"], episode["shot"]);
            check(&format!("{name} scores"), deviation, 1e-4);
            assert_eq!(accuracy, episode["accuracy"].as_f64().unwrap(), "{name}");
        }
    }
}
