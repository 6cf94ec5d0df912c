//! Evaluation on a GPU, compared with the CPU.
#![cfg(feature = "cuda")]

use std::sync::atomic::{AtomicUsize, Ordering};

use fewshot_episodes::heads::{FineTune, Prototype};
use fewshot_episodes::{EpisodeShape, Error, FeatureBank, Sampler, evaluate, evaluate_on_gpu};
use fewshot_losses::ClassifierKind;
use fewshot_parity::{device, is_gpu};
use fewshot_seed::stream;
use rand::Rng;

const CLASSES: u32 = 7;

/// Classes of twelve images around random centres, so near that most classifiers err.
fn bank() -> FeatureBank {
    const DIM: usize = 40;
    let mut rng = stream(0, "bank", &[]);
    let labels: Vec<u32> = (0..12 * CLASSES).map(|image| image % CLASSES).collect();
    let centres: Vec<f32> = (0..CLASSES as usize * DIM).map(|_| rng.random()).collect();
    let mut features = Vec::new();
    for &label in &labels {
        let centre = &centres[label as usize * DIM..][..DIM];
        features.extend(centre.iter().map(|c| c + 3.0 * rng.random::<f32>()));
    }
    FeatureBank::new(features, DIM, labels).unwrap()
}

#[test]
fn accuracies_are_those_of_the_cpu() {
    if !is_gpu() {
        return;
    }
    let bank = bank();
    // More support images than features, too, and a last step of fewer images.
    for shape in [
        EpisodeShape { way: 5, shot: 1, query: 4 },
        EpisodeShape { way: 5, shot: 5, query: 6 },
        EpisodeShape { way: 6, shot: 9, query: 3 },
        EpisodeShape { way: 1, shot: 1, query: 1 },
    ] {
        let sampler = Sampler::new(bank.labels(), shape, 3).unwrap();
        for kind in ClassifierKind::ALL {
            let published = FineTune::published(kind);
            let softmaxes = [ClassifierKind::Softmax, ClassifierKind::NegSoftmax];
            // Steps so long that they overshoot would make much of any rounding.
            let learning_rate = if softmaxes.contains(&kind) { 0.001 } else { 0.1 };
            let eager = FineTune { margin: -0.1, learning_rate, momentum: 0.5, ..published };
            let still = FineTune { momentum: 0.0, batch_size: 100, ..eager.clone() };
            let none = FineTune { passes: 0, ..eager.clone() };
            for settings in [eager, still, none] {
                let expected = evaluate(&bank, &sampler, &settings, 4, 9, &|| ()).unwrap();
                let count = AtomicUsize::new(0);
                let add = |n| {
                    count.fetch_add(n, Ordering::Relaxed);
                };
                let got =
                    evaluate_on_gpu(device(), &bank, &sampler, &settings, 4, 9, &add).unwrap();
                assert_eq!(got, expected, "{shape:?} {settings:?}");
                assert_eq!(count.into_inner(), 4);
            }
        }
    }
}

#[test]
fn heads_without_a_gpu_implementation_are_evaluated_on_the_cpu() {
    if !is_gpu() {
        return;
    }
    let (bank, shape) = (bank(), EpisodeShape { way: 5, shot: 2, query: 4 });
    let sampler = Sampler::new(bank.labels(), shape, 3).unwrap();
    let expected = evaluate(&bank, &sampler, &Prototype, 6, 0, &|| ()).unwrap();
    let got = evaluate_on_gpu(device(), &bank, &sampler, &Prototype, 6, 0, &|_| ());
    assert_eq!(got, Ok(expected));
}

#[test]
fn what_fails_on_the_cpu_fails_on_the_gpu() {
    if !is_gpu() {
        return;
    }
    let bank = bank();
    let shape = EpisodeShape { way: 5, shot: 2, query: 4 };
    let sampler = Sampler::new(bank.labels(), shape, 3).unwrap();
    let published = FineTune::published(ClassifierKind::Softmax);
    let on_gpu = |settings: &FineTune, episodes| {
        evaluate_on_gpu(device(), &bank, &sampler, settings, episodes, 0, &|_| ())
    };
    let wild = FineTune { learning_rate: 1e200, weight_decay: 1e200, ..published.clone() };
    assert_eq!(on_gpu(&wild, 2), Err(Error::Diverged));
    let senseless = FineTune { learning_rate: -1.0, ..published.clone() };
    assert!(matches!(on_gpu(&senseless, 2), Err(Error::Parameter { what: "learning rate", .. })));
    assert!(matches!(on_gpu(&published, 0), Err(Error::Parameter { what: "episodes", .. })));
}
