use fewshot_losses::ClassifierKind;
use rand::{Rng, seq::SliceRandom};

use crate::{
    Classifier, Error, FineTune, NearestNeighbour, Support,
    evaluate::best,
    finetune::{self, Initial},
    vector::{add_scaled, normalize, widen},
};

/// How to classify queries from a support set.
#[derive(Clone, Debug, PartialEq)]
pub enum Head {
    /// A classifier trained on the support set: the paper's way.
    FineTune(FineTune),
    /// The nearest class mean of L2-normalized features, by cosine.
    Prototype,
    /// The label of the nearest support row, by Euclidean distance.
    NearestNeighbour,
}

impl Head {
    /// Fits the head to `support`. Only fine-tuning draws from `rng`: first its initial
    /// weights, then a fresh order of the support rows for each pass.
    ///
    /// # Errors
    ///
    /// Those of [`finetune::adapt`].
    pub fn fit(&self, support: &Support, rng: &mut impl Rng) -> Result<Fitted, Error> {
        Ok(Fitted(match self {
            Self::FineTune(settings) => {
                let initial = Initial::random(settings.classifier, support, rng);
                let shuffle = |_, order: &mut [usize]| order.shuffle(rng);
                Scorer::Linear(finetune::adapt(settings, &initial, support, shuffle)?)
            }
            Self::Prototype => Scorer::Linear(prototypes(support)),
            Self::NearestNeighbour => Scorer::Nearest(NearestNeighbour::fit(support)),
        }))
    }
}

/// A head after it has seen its support set.
#[derive(Clone, Debug, PartialEq)]
pub struct Fitted(Scorer);

#[derive(Clone, Debug, PartialEq)]
enum Scorer {
    Linear(Classifier),
    Nearest(NearestNeighbour),
}

impl Fitted {
    /// The scores of one feature `[D]`, `[way]`: the higher, the likelier.
    ///
    /// # Errors
    ///
    /// If the feature has another length than those of the support set, or holds a value that
    /// is not finite.
    pub fn scores(&self, query: &[f32]) -> Result<Vec<f64>, Error> {
        match &self.0 {
            Scorer::Linear(classifier) => classifier.scores(query),
            Scorer::Nearest(nearest) => nearest.scores(query),
        }
    }

    /// The class of `0..way` that scores best; the first one of several.
    ///
    /// # Errors
    ///
    /// Those of [`scores`](Self::scores).
    pub fn predict(&self, query: &[f32]) -> Result<usize, Error> {
        Ok(best(&self.scores(query)?))
    }
}

/// The sum stands for the mean, because the cosine does not see the length of either.
fn prototypes(support: &Support) -> Classifier {
    let (way, dim) = (support.way(), support.dim());
    let mut sums = vec![0.0; way * dim];
    for (row, &label) in support.rows().zip(support.labels()) {
        let mut row = widen(row);
        normalize(&mut row);
        add_scaled(&mut sums[label * dim..][..dim], 1.0, &row);
    }
    Classifier::new(ClassifierKind::Cosine, 1.0, sums, vec![0.0; way], dim)
}
