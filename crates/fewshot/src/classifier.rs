//! A linear classifier of L2-normalised features.

use fewshot_episodes::heads::{FineTune, Logistic};
use fewshot_episodes::{LinearClassifier, Support};
use fewshot_losses::ClassifierKind;
use fewshot_seed::stream;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::Error;

/// How a classifier is learned.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum HeadKind {
    /// The nearest mean of a class, by cosine.
    Prototype,
    /// Logistic regression.
    #[default]
    Logistic,
    /// A cosine classifier, trained as the paper does.
    Finetune,
}

impl HeadKind {
    /// Its name on command lines and in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Prototype => "prototype",
            Self::Logistic => "logistic",
            Self::Finetune => "finetune",
        }
    }
}

/// Weights and biases of each class.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Classifier {
    /// `[K, D]`, row-major.
    pub weight: Vec<f32>,
    /// `[K]`
    pub bias: Vec<f32>,
}

impl Classifier {
    /// Learns a classifier of features `[N][D]` with labels below `classes`, each of which has one.
    pub fn fit(
        head: HeadKind,
        features: &[&[f32]],
        labels: &[usize],
        classes: usize,
        seed: u64,
    ) -> Result<Self, Error> {
        let dim = features.first().map_or(0, |feature| feature.len());
        if head == HeadKind::Prototype {
            let weight = directions(&sums(features, labels, classes, dim), dim);
            return Ok(Self { weight, bias: vec![0.0; classes] });
        }
        let flat: Vec<f32> = features.iter().flat_map(|feature| feature.iter().copied()).collect();
        let support = Support::new(&flat, dim, labels, classes)?;
        let linear: LinearClassifier = match head {
            HeadKind::Logistic => Logistic::default().linear(&support),
            _ => {
                let head = FineTune::published(ClassifierKind::Cosine);
                head.linear(&support, &mut stream(seed, "finetune", &[]))?
            }
        };
        let (weight, bias) = linear.on_directions().unwrap_or_default();
        let narrow = |values: Vec<f64>| values.into_iter().map(|value| value as f32).collect();
        Ok(Self { weight: narrow(weight), bias: narrow(bias) })
    }

    /// Returns the score of each class.
    pub fn scores(&self, feature: &[f32]) -> Vec<f64> {
        let rows = self.weight.chunks_exact(feature.len()).zip(&self.bias);
        rows.map(|(weight, bias)| dot(weight, feature) + f64::from(*bias)).collect()
    }
}

/// Returns `a · b`.
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
}

/// Sums of the features of each class, `[K, D]`.
pub(crate) fn sums(features: &[&[f32]], labels: &[usize], classes: usize, dim: usize) -> Vec<f64> {
    let mut sums = vec![0.0; classes * dim];
    for (feature, &label) in features.iter().zip(labels) {
        let of_class = &mut sums[label * dim..][..dim];
        of_class.iter_mut().zip(*feature).for_each(|(sum, value)| *sum += f64::from(*value));
    }
    sums
}

/// L2-normalises rows; zero stays zero.
pub(crate) fn directions(rows: &[f64], dim: usize) -> Vec<f32> {
    let normalised = |row: &[f64]| {
        let norm = row.iter().map(|v| v * v).sum::<f64>().sqrt().max(1e-12);
        row.iter().map(|v| (v / norm) as f32).collect::<Vec<_>>()
    };
    rows.par_chunks(dim.max(1)).flat_map(normalised).collect()
}
