//! Heads and evaluation from end to end on synthetic features.

use std::sync::atomic::{AtomicUsize, Ordering};

use fewshot_episodes::heads::{FineTune, NearestNeighbor, Prototype};
use fewshot_episodes::{EpisodeShape, Error, FeatureBank, Head, Sampler, Support, evaluate};
use fewshot_losses::ClassifierKind;
use fewshot_seed::stream;
use rand::Rng;

const SHAPE: EpisodeShape = EpisodeShape { way: 5, shot: 3, query: 4 };

fn heads() -> Vec<Box<dyn Head>> {
    let fine_tune = |kind| Box::new(FineTune::published(kind)) as Box<dyn Head>;
    let others: [Box<dyn Head>; 2] = [Box::new(Prototype), Box::new(NearestNeighbor)];
    ClassifierKind::ALL.map(fine_tune).into_iter().chain(others).collect()
}

/// Eight classes of ten images, each a random centre plus uniform noise in `[0, noise)`.
fn bank(noise: f32) -> FeatureBank {
    const DIM: usize = 24;
    let mut rng = stream(0, "bank", &[]);
    let labels: Vec<u32> = (0..80).map(|image| image % 8).collect();
    let centres: Vec<f32> = (0..8 * DIM).map(|_| rng.random()).collect();
    let mut features = Vec::new();
    for &label in &labels {
        let centre = &centres[label as usize * DIM..][..DIM];
        features.extend(centre.iter().map(|c| c + noise * rng.random::<f32>()));
    }
    FeatureBank::new(features, DIM, labels).unwrap()
}

#[test]
fn clear_classes_are_told_apart_and_blurred_ones_less() {
    let (clear, blurred) = (bank(0.3), bank(6.0));
    let sampler = Sampler::new(clear.labels(), SHAPE, 0).unwrap();
    for head in heads() {
        let accuracy = |bank| evaluate(bank, &sampler, &*head, 40, 0, &|| ()).unwrap();
        let (clear, blurred) = (accuracy(&clear), accuracy(&blurred));
        assert!(clear.mean > 0.95, "{head:?}: {}", clear.mean);
        assert!(blurred.mean < 0.6 && blurred.mean > 0.15, "{head:?}: {}", blurred.mean);
        assert!(blurred.ci95 > 0.0);
    }
}

#[test]
fn the_number_of_threads_changes_nothing() {
    let bank = bank(3.0);
    let sampler = Sampler::new(bank.labels(), SHAPE, 0).unwrap();
    for head in heads() {
        let with = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| evaluate(&bank, &sampler, &*head, 30, 9, &|| ())).unwrap()
        };
        let one = with(1);
        assert_eq!(one, with(2), "{head:?}");
        assert_eq!(one, with(4), "{head:?}");
    }
}

#[test]
fn the_seed_draws_the_fresh_classifier() {
    let bank = bank(4.0);
    let sampler = Sampler::new(bank.labels(), SHAPE, 0).unwrap();
    let per_episode = |head: &dyn Head, seed| {
        evaluate(&bank, &sampler, head, 30, seed, &|| ()).unwrap().per_episode
    };
    let fine_tune = FineTune::published(ClassifierKind::Softmax);
    assert_eq!(per_episode(&fine_tune, 1), per_episode(&fine_tune, 1));
    assert_ne!(per_episode(&fine_tune, 1), per_episode(&fine_tune, 2));
    assert_eq!(per_episode(&Prototype, 1), per_episode(&Prototype, 2));
}

#[test]
fn every_episode_is_reported() {
    let bank = bank(1.0);
    let sampler = Sampler::new(bank.labels(), SHAPE, 0).unwrap();
    let seen = AtomicUsize::new(0);
    let count = || {
        seen.fetch_add(1, Ordering::Relaxed);
    };
    let accuracy = evaluate(&bank, &sampler, &Prototype, 17, 0, &count).unwrap();
    assert_eq!((seen.into_inner(), accuracy.per_episode.len()), (17, 17));
}

/// All scores tie, and the first class wins: one query in five is right.
#[test]
fn features_of_zero_give_chance() {
    let bank = FeatureBank::new(vec![0.0; 80 * 3], 3, bank(0.0).labels().to_vec()).unwrap();
    let sampler = Sampler::new(bank.labels(), SHAPE, 0).unwrap();
    for head in heads() {
        let accuracy = evaluate(&bank, &sampler, &*head, 5, 0, &|| ()).unwrap();
        assert!((accuracy.mean - 0.2).abs() < 1e-12, "{head:?}: {}", accuracy.mean);
        assert!(accuracy.ci95.abs() < 1e-12, "{head:?}");
    }
}

#[test]
fn one_way_is_always_right() {
    let bank = bank(1.0);
    let shape = EpisodeShape { way: 1, ..SHAPE };
    let sampler = Sampler::new(bank.labels(), shape, 0).unwrap();
    for head in heads() {
        assert_eq!(evaluate(&bank, &sampler, &*head, 3, 0, &|| ()).unwrap().mean, 1.0);
    }
}

#[test]
fn what_cannot_be_evaluated_is_refused() {
    let bank = bank(1.0);
    let mut labels = bank.labels().to_vec();
    let sampler = Sampler::new(&labels, SHAPE, 0).unwrap();
    let run =
        |sampler, head: &dyn Head, n| evaluate(&bank, sampler, head, n, 0, &|| ()).unwrap_err();
    let none = run(&sampler, &Prototype, 0);
    assert!(matches!(none, Error::Parameter { what: "episodes", .. }));

    labels.swap(0, 1);
    let swapped = Sampler::new(&labels, SHAPE, 0).unwrap();
    assert_eq!(run(&swapped, &Prototype, 1), Error::OtherLabels);
    labels.swap(0, 1);
    labels.push(0);
    let longer = Sampler::new(&labels, SHAPE, 0).unwrap();
    assert_eq!(run(&longer, &Prototype, 1), Error::OtherLabels);

    let settings = FineTune { batch_size: 0, ..FineTune::published(ClassifierKind::Cosine) };
    assert!(matches!(run(&sampler, &settings, 3), Error::Parameter { .. }));
}

#[test]
fn a_prototype_is_the_mean_of_directions() {
    // Class 0 points along x and y, one of them very long; class 1 along -x.
    let features = [100.0, 0.0, 0.0, 1.0, -1.0, 0.0];
    let support = Support::new(&features, 2, &[0, 0, 1], 2).unwrap();
    let fitted = Prototype.fit(&support, &mut stream(0, "none", &[])).unwrap();
    let scores = fitted.scores(&[0.0, 3.0]).unwrap();
    assert!((scores[0] - 0.5_f64.sqrt()).abs() < 1e-12 && scores[1].abs() < 1e-12);
    assert_eq!(fitted.predict(&[-2.0, 1.0]), Ok(1));
}

#[test]
fn the_nearest_neighbour_counts_distance_and_ties_go_to_the_first_class() {
    let features = [4.0, 0.0, 1.0, 0.0, -1.0, 0.0, 9.0, 9.0];
    let support = Support::new(&features, 2, &[1, 0, 1, 0], 2).unwrap();
    let fitted = NearestNeighbor.fit(&support, &mut stream(0, "none", &[])).unwrap();
    assert_eq!(fitted.scores(&[3.0, 0.0]), Ok(vec![-4.0, -1.0]));
    assert_eq!(fitted.predict(&[3.0, 0.0]), Ok(1));
    assert_eq!(fitted.predict(&[0.0, 5.0]), Ok(0));
    assert!(matches!(fitted.predict(&[0.0]), Err(Error::Length { .. })));
}
