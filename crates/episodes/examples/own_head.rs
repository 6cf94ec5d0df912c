//! A head of your own: a vote of the nearest support images, compared with the built-in heads on
//! synthetic features.
//!
//! ```console
//! $ cargo run --release -p fewshot-episodes --example own_head
//! ```
//!
//! To make it a built-in head, that configurations select by `test.head` and the evaluator by
//! `--head`, touch two files:
//!
//! 1. `crates/episodes/src/heads/neighbor_vote.rs` (new): [`NeighborVote`] and its classifier as
//!    below, with a function `from_settings` that reads the number of neighbours from the
//!    configuration by `settings.count("neighbors", 3, 1)`;
//! 2. `crates/episodes/src/heads/mod.rs`: `mod neighbor_vote;`, a variant of `HeadKind` with its
//!    name, and an arm of `HeadKind::build`.

use fewshot_episodes::heads::{FineTune, NearestNeighbor, Prototype};
use fewshot_episodes::{
    Accuracy, Classifier, EpisodeShape, Error, FeatureBank, Head, Sampler, Support, evaluate,
};
use fewshot_losses::ClassifierKind;
use fewshot_seed::stream;
use rand::{Rng, RngCore};

/// Chooses the class that most of the nearest support images belong to.
#[derive(Debug)]
struct NeighborVote {
    /// Number of support images that vote.
    neighbors: usize,
}

impl Head for NeighborVote {
    fn name(&self) -> &str {
        "neighbor-vote"
    }

    fn fit(&self, support: &Support, _: &mut dyn RngCore) -> Result<Box<dyn Classifier>, Error> {
        Ok(Box::new(Voters {
            rows: support.rows().map(<[f32]>::to_vec).zip(support.labels().to_vec()).collect(),
            way: support.way(),
            neighbors: self.neighbors,
        }))
    }
}

/// The support set of an episode.
struct Voters {
    rows: Vec<(Vec<f32>, usize)>,
    way: usize,
    neighbors: usize,
}

impl Classifier for Voters {
    /// The sum of `1 / (1 + distance)` over the nearest images of each class: a vote, in which
    /// nearer images settle ties.
    fn scores(&self, query: &[f32]) -> Result<Vec<f64>, Error> {
        let distance = |row: &[f32]| {
            row.iter().zip(query).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>().sqrt()
        };
        let mut voters: Vec<_> =
            self.rows.iter().map(|(row, label)| (distance(row), label)).collect();
        voters.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut scores = vec![0.0; self.way];
        for (distance, &label) in voters.into_iter().take(self.neighbors) {
            scores[label] += 1.0 / (1.0 + distance);
        }
        Ok(scores)
    }
}

/// Features of ten classes of 30 images, scattered about a centre for each class.
fn synthetic_features() -> Result<FeatureBank, Error> {
    const DIM: usize = 32;
    let mut rng = stream(0, "own_head", &[]);
    let labels: Vec<u32> = (0..300).map(|image| image / 30).collect();
    let centres: Vec<f32> = (0..10 * DIM).map(|_| rng.random()).collect();
    let mut features = Vec::new();
    for &label in &labels {
        let centre = &centres[label as usize * DIM..][..DIM];
        features.extend(centre.iter().map(|c| c + 2.0 * rng.random::<f32>()));
    }
    FeatureBank::new(features, DIM, labels)
}

/// Evaluates `head` on 100 episodes, 5-way 5-shot.
fn accuracy(bank: &FeatureBank, head: &dyn Head) -> Result<Accuracy, Error> {
    let shape = EpisodeShape { way: 5, shot: 5, query: 15 };
    let sampler = Sampler::new(bank.labels(), shape, 0)?;
    evaluate(bank, &sampler, head, 100, 0, &|| ())
}

fn main() -> Result<(), Error> {
    let bank = synthetic_features()?;
    let heads: [&dyn Head; 4] = [
        &NeighborVote { neighbors: 5 },
        &NearestNeighbor,
        &Prototype,
        &FineTune::published(ClassifierKind::NegCosine),
    ];
    for head in heads {
        let Accuracy { mean, ci95, .. } = accuracy(&bank, head)?;
        println!("{:14} {:.2} ± {:.2} %", head.name(), 100.0 * mean, 100.0 * ci95);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_single_vote_is_the_nearest_neighbor() {
        let bank = synthetic_features().unwrap();
        let vote = accuracy(&bank, &NeighborVote { neighbors: 1 }).unwrap();
        assert_eq!(vote, accuracy(&bank, &NearestNeighbor).unwrap());
    }

    #[test]
    fn more_votes_are_better_than_one() {
        let bank = synthetic_features().unwrap();
        let mean = |neighbors| accuracy(&bank, &NeighborVote { neighbors }).unwrap().mean;
        assert!(mean(5) > mean(1) && mean(1) > 0.3);
        main().unwrap();
    }
}
