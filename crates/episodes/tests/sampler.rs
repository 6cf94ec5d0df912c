//! Sampling from labels alone: these tests have no images at all.

use std::collections::HashSet;

use fewshot_episodes::{EpisodeShape, Error, Sampler};

const SHAPE: EpisodeShape = EpisodeShape { way: 4, shot: 2, query: 3 };

/// Seven classes, 10, 20, …, 70, in mixed order; class 30 has the fewest images, five.
fn labels() -> Vec<u32> {
    let labels: Vec<u32> = (0..70).map(|image| 10 * (image * 3 % 7 + 1)).collect();
    let mut of_30 = 0;
    labels
        .into_iter()
        .filter(|&label| {
            of_30 += usize::from(label == 30);
            label != 30 || of_30 <= 5
        })
        .collect()
}

#[test]
fn episodes_are_balanced_and_disjoint() {
    let labels = labels();
    let sampler = Sampler::new(&labels, SHAPE, 1).unwrap();
    for n in 0..200 {
        let episode = sampler.episode(n);
        assert_eq!(episode.classes.iter().collect::<HashSet<_>>().len(), SHAPE.way);
        assert_eq!(episode.support.len(), SHAPE.way * SHAPE.shot);
        assert_eq!(episode.query.len(), SHAPE.way * SHAPE.query);
        let images: HashSet<_> = episode.support.iter().chain(&episode.query).collect();
        assert_eq!(images.len(), episode.support.len() + episode.query.len());
        for (way, class) in episode.classes.iter().enumerate() {
            let support = &episode.support[way * SHAPE.shot..][..SHAPE.shot];
            let query = &episode.query[way * SHAPE.query..][..SHAPE.query];
            assert!(support.iter().chain(query).all(|&image| labels[image] == *class));
        }
    }
}

#[test]
fn an_episode_depends_on_seed_and_number_alone() {
    let labels = labels();
    let sampler = Sampler::new(&labels, SHAPE, 1).unwrap();
    let again = Sampler::new(&labels, SHAPE, 1).unwrap();
    let forward: Vec<_> = (0..50).map(|n| sampler.episode(n)).collect();
    let mut backward: Vec<_> = (0..50).rev().map(|n| again.episode(n)).collect();
    backward.reverse();
    assert_eq!(forward, backward);

    let other = Sampler::new(&labels, SHAPE, 2).unwrap();
    let differ = |n: u64| other.episode(n) != sampler.episode(n);
    assert!((0..50).all(differ));
    assert!((1..50).all(|n| sampler.episode(n) != sampler.episode(n - 1)));
}

/// Recorded, so that a change of the episodes of every published result cannot go unnoticed.
#[test]
fn episodes_are_stable() {
    let labels: Vec<u32> = (0..50).map(|image| image / 5).collect();
    let shape = EpisodeShape { way: 3, shot: 1, query: 2 };
    let episode = Sampler::new(&labels, shape, 0).unwrap().episode(7);
    assert_eq!(episode.classes, [8, 2, 1]);
    assert_eq!(episode.support, [42, 12, 7]);
    assert_eq!(episode.query, [43, 40, 13, 14, 8, 5]);
}

#[test]
fn classes_images_and_roles_are_drawn_uniformly() {
    const EPISODES: u64 = 20_000;
    let labels: Vec<u32> = (0..60).map(|image| image / 6).collect();
    let sampler = Sampler::new(&labels, SHAPE, 5).unwrap();
    let mut supports = [0.0; 60];
    let mut queries = [0.0; 60];
    let mut first = [0.0; 10];
    for n in 0..EPISODES {
        let episode = sampler.episode(n);
        first[episode.classes[0] as usize] += 1.0;
        episode.support.iter().for_each(|&image| supports[image] += 1.0);
        episode.query.iter().for_each(|&image| queries[image] += 1.0);
    }
    let assert_near = |counts: &[f64], expected: f64| {
        // Five standard deviations of a Poisson count.
        let slack = 5.0 * expected.sqrt();
        assert!(counts.iter().all(|count| (count - expected).abs() < slack), "{counts:?}");
    };
    let episodes = EPISODES as f64;
    assert_near(&first, episodes / 10.0);
    assert_near(&supports, episodes * 0.4 * 2.0 / 6.0);
    assert_near(&queries, episodes * 0.4 * 3.0 / 6.0);
}

#[test]
fn a_shape_may_take_everything() {
    let labels = [0, 1, 0, 1, 1, 0];
    let shape = EpisodeShape { way: 2, shot: 1, query: 2 };
    let episode = Sampler::new(&labels, shape, 0).unwrap().episode(u64::MAX);
    let mut all: Vec<_> = episode.support.into_iter().chain(episode.query).collect();
    all.sort_unstable();
    assert_eq!(all, [0, 1, 2, 3, 4, 5]);
}

#[test]
fn impossible_shapes_are_refused_at_construction() {
    let refused = |labels: &[u32], way, shot, query| {
        Sampler::new(labels, EpisodeShape { way, shot, query }, 0).unwrap_err()
    };
    let five: Vec<u32> = (0..50).map(|image| image / 10).collect();
    assert_eq!(
        refused(&five, 6, 1, 1).to_string(),
        "a 6-way episode needs 6 classes, but the data hold 5"
    );
    assert_eq!(
        refused(&labels(), 5, 3, 4).to_string(),
        "an episode of 3 shots and 4 queries needs 7 images of each class, but class 30 has 5"
    );
    for (way, shot, query, name) in [(0, 1, 1, "way"), (1, 0, 1, "shot"), (1, 1, 0, "query")] {
        let error = refused(&five, way, shot, query);
        assert!(matches!(error, Error::Parameter { what, .. } if what == name), "{error}");
    }
    assert!(matches!(refused(&[], 1, 1, 1), Error::TooFewClasses { classes: 0, .. }));
    let error = refused(&five, 5, usize::MAX, usize::MAX);
    assert!(matches!(error, Error::TooFewImages { images: 10, .. }), "{error}");
    assert!(error.to_string().contains("needs"));
}
