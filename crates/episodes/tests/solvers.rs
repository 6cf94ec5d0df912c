//! Logistic and ridge regression against scikit-learn: `solvers.json` of the parity fixtures.

use fewshot_episodes::heads::{Logistic, Ridge};
use fewshot_episodes::{Classifier, LinearClassifier, Support};
use fewshot_parity::{Inputs, files, integers, numbers};
use serde_json::Value;

/// Features `[S, dim]` of a set, and their labels.
fn support(file: &Value, index: usize) -> (Vec<f32>, Vec<usize>) {
    let (inputs, set) = (Inputs::of(file), &file["sets"][index]);
    let (counts, dim) = (integers(&set["counts"]), set["dim"].as_u64().unwrap() as usize);
    let labels: Vec<usize> =
        counts.iter().enumerate().flat_map(|(class, &count)| vec![class; count]).collect();
    let centres = inputs.uniform(&format!("solvers/{index}/class"), counts.len() * dim);
    let noise = inputs.uniform(&format!("solvers/{index}/noise"), labels.len() * dim);
    let feature = |(i, noise): (usize, &f64)| {
        let centre = centres[labels[i / dim] * dim + i % dim];
        (centre * 2.0 + noise * 3.0 - 1.5).max(0.0) as f32
    };
    (noise.iter().enumerate().map(feature).collect(), labels)
}

/// The largest deviation of a classifier's weights and biases from those that a fixture describes.
fn deviation(expected: &Value, classifier: &LinearClassifier) -> f64 {
    let (norms, biases) = (numbers(&expected["norm"]), numbers(&expected["bias"]));
    let first = numbers(&expected["weight"]);
    let weights = classifier.weights().zip(norms).zip(first.chunks(8));
    let mut deviations: Vec<f64> =
        classifier.biases().iter().zip(&biases).map(|(a, b)| (a - b).abs()).collect();
    assert_eq!((deviations.len(), classifier.weights().len()), (biases.len(), biases.len()));
    for ((weight, norm), first) in weights {
        deviations.push((weight.iter().map(|w| w * w).sum::<f64>().sqrt() - norm).abs() / norm);
        deviations.extend(weight.iter().zip(first).map(|(a, b)| (a - b).abs()));
    }
    deviations.into_iter().fold(0.0, f64::max)
}

#[test]
fn classifiers_are_those_of_scikit_learn() {
    for (name, file) in files("solvers") {
        let sets = file["sets"].as_array().unwrap();
        for (index, set) in sets.iter().enumerate() {
            let (features, labels) = support(&file, index);
            let (dim, way) = (features.len() / labels.len(), labels.last().unwrap() + 1);
            let support = Support::new(&features, dim, &labels, way).unwrap();
            let setting = |key: &str| set[key].as_f64().unwrap();
            let logistic = Logistic { c: setting("c") }.linear(&support);
            let ridge = Ridge { alpha: setting("alpha") }.linear(&support).unwrap();
            for (head, classifier) in [("logistic", logistic), ("ridge", ridge)] {
                let deviation = deviation(&set[head], &classifier);
                println!("{name} {index} {head}: {deviation:.1e}");
                assert!(deviation < 1e-5, "{name} {index} {head}: {deviation}");
            }
        }
    }
}

/// Where all features are zero, so are the weights, and the bias tells the more frequent class.
#[test]
fn features_without_direction_are_classified_by_their_number() {
    let (features, labels) = ([0.0; 12], [0, 1, 1]);
    let support = Support::new(&features, 4, &labels, 2).unwrap();
    let ridge = Ridge::default().linear(&support).unwrap();
    for classifier in [Logistic::default().linear(&support), ridge] {
        assert!(classifier.weights().flatten().all(|weight| *weight == 0.0));
        assert_eq!(classifier.predict(&[0.0; 4]).unwrap(), 1);
        assert_eq!(classifier.predict(&[1.0, -2.0, 0.0, 0.0]).unwrap(), 1);
    }
}
