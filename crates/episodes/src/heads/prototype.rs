//! The nearest class mean, by cosine.

use fewshot_losses::ClassifierKind;
use rand::RngCore;

use super::HeadKind;
use crate::{
    Classifier, Error, Head, LinearClassifier, Support,
    vector::{add_scaled, normalize, widen},
};

/// Chooses the class whose mean of L2-normalized features has the largest cosine with the query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prototype;

impl Head for Prototype {
    fn name(&self) -> &str {
        HeadKind::Prototype.name()
    }

    fn fit(&self, support: &Support, _: &mut dyn RngCore) -> Result<Box<dyn Classifier>, Error> {
        let (way, dim) = (support.way(), support.dim());
        // The sum stands for the mean: the cosine ignores the length of either.
        let mut sums = vec![0.0; way * dim];
        for (row, &label) in support.rows().zip(support.labels()) {
            let mut row = widen(row);
            normalize(&mut row);
            add_scaled(&mut sums[label * dim..][..dim], 1.0, &row);
        }
        let bias = vec![0.0; way];
        Ok(Box::new(LinearClassifier::new(ClassifierKind::Cosine, 1.0, sums, bias, dim)))
    }
}
