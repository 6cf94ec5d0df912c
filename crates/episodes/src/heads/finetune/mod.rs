//! Training a classifier on the support set: the published `BaselineFinetune` of `lib/model.py`,
//! with its four classifiers of `lib/metric.py`.

mod descent;
#[cfg(feature = "cuda")]
mod gpu;

use fewshot_losses::ClassifierKind;
use rand::{Rng, RngCore, seq::SliceRandom};

use self::descent::Descent;
use super::{HeadKind, Settings};
use crate::{
    Classifier, Error, Head, LinearClassifier, Support,
    subspace::Subspace,
    vector::{normalize, widen},
};

/// Trains one of the paper's classifiers on the support set: the published head.
#[derive(Clone, Debug, PartialEq)]
pub struct FineTune {
    /// The classifier that is trained.
    pub classifier: ClassifierKind,
    /// Factor on the scores; ignored by softmax, which has none.
    pub scale: f64,
    /// Margin at the label in training; ignored by softmax and cosine, which have none.
    pub margin: f64,
    /// Passes over the support set.
    pub passes: usize,
    /// Support rows per step; the last step of a pass takes what is left.
    pub batch_size: usize,
    /// Learning rate, constant.
    pub learning_rate: f64,
    /// Momentum of `torch.optim.SGD`; 0 turns dampening off as well.
    pub momentum: f64,
    /// Dampening of `torch.optim.SGD`: the share of the gradient that does not enter the momentum.
    pub dampening: f64,
    /// L2 penalty on weights and biases.
    pub weight_decay: f64,
}

impl FineTune {
    /// Returns the settings of the published evaluation.
    pub fn published(classifier: ClassifierKind) -> Self {
        Self {
            classifier,
            scale: 5.0,
            margin: 0.0,
            passes: 100,
            batch_size: 4,
            learning_rate: 0.01,
            momentum: 0.9,
            dampening: 0.9,
            weight_decay: 0.001,
        }
    }

    /// Reads the settings, whose defaults are the published ones.
    pub(super) fn from_settings<S: Settings>(
        classifier: ClassifierKind,
        settings: &mut S,
    ) -> Result<Self, S::Error> {
        const POSITIVE: &str = "a positive finite number";
        const NOT_NEGATIVE: &str = "a finite number of at least 0";
        let published = Self::published(classifier);
        Ok(Self {
            scale: settings.number("scale", published.scale, POSITIVE, |v| v > 0.0)?,
            margin: settings.number("margin", published.margin, "a finite number", |_| true)?,
            passes: settings.count("passes", published.passes, 1)?,
            batch_size: settings.count("finetune_batch_size", published.batch_size, 1)?,
            learning_rate: settings.number(
                "learning_rate",
                published.learning_rate,
                POSITIVE,
                |v| v > 0.0,
            )?,
            weight_decay: settings.number(
                "weight_decay",
                published.weight_decay,
                NOT_NEGATIVE,
                |v| v >= 0.0,
            )?,
            ..published
        })
    }

    /// Trains the classifier of a support set. Draws the initial weights first, then a new order of the
    /// support rows for each pass.
    ///
    /// # Errors
    ///
    /// Those of [`adapt`].
    pub fn linear(
        &self,
        support: &Support,
        rng: &mut dyn RngCore,
    ) -> Result<LinearClassifier, Error> {
        let initial = Initial::random(self.classifier, support, rng);
        adapt(self, &initial, support, |_, order: &mut [usize]| order.shuffle(rng))
    }

    fn check(&self) -> Result<(), Error> {
        let refuse = |what, got, expected| Err(Error::Parameter { what, got, expected });
        if !(self.scale > 0.0 && self.scale.is_finite()) {
            return refuse("scale", self.scale, "a finite number above 0");
        }
        if !self.margin.is_finite() {
            return refuse("margin", self.margin, "a finite number");
        }
        if self.batch_size == 0 {
            return refuse("batch size", 0.0, "at least 1");
        }
        for (what, got) in
            [("learning rate", self.learning_rate), ("weight decay", self.weight_decay)]
        {
            if !(got >= 0.0 && got.is_finite()) {
                return refuse(what, got, "a finite number, at least 0");
            }
        }
        for (what, got) in [("momentum", self.momentum), ("dampening", self.dampening)] {
            if !(0.0..=1.0).contains(&got) {
                return refuse(what, got, "a number from 0 to 1");
            }
        }
        Ok(())
    }
}

impl Head for FineTune {
    fn name(&self) -> &str {
        HeadKind::FineTune.name()
    }

    fn fit(&self, support: &Support, rng: &mut dyn RngCore) -> Result<Box<dyn Classifier>, Error> {
        Ok(Box::new(self.linear(support, rng)?))
    }

    #[cfg(feature = "cuda")]
    fn evaluate_on_gpu(
        &self,
        device: &candle_core::Device,
        bank: &crate::FeatureBank,
        sampler: &crate::Sampler,
        episodes: usize,
        seed: u64,
        on_episodes: &(dyn Fn(usize) + Sync),
    ) -> Option<Result<crate::Accuracy, Error>> {
        Some(gpu::evaluate(self, device, bank, sampler, episodes, seed, on_episodes))
    }
}

/// The parameters of a classifier before training.
#[derive(Clone, Debug, PartialEq)]
pub struct Initial {
    /// `[way, D]`, row-major.
    pub weight: Vec<f32>,
    /// `[way]`, for the classifiers that have a bias.
    pub bias: Option<Vec<f32>>,
}

impl Initial {
    /// Draws weights, and biases if `kind` has them, uniformly from ±1/√D: PyTorch's `nn.Linear`.
    pub fn random(kind: ClassifierKind, support: &Support, rng: &mut dyn RngCore) -> Self {
        let bound = 1.0 / (support.dim() as f32).sqrt();
        let mut draw =
            |n: usize| (0..n).map(|_| rng.random_range(-bound..=bound)).collect::<Vec<_>>();
        Self {
            weight: draw(support.way() * support.dim()),
            bias: kind.has_bias().then(|| draw(support.way())),
        }
    }

    fn check(&self, kind: ClassifierKind, support: &Support) -> Result<(), Error> {
        let weights = ("initial weight", self.weight.len(), support.way() * support.dim());
        let biases = if kind.has_bias() { support.way() } else { 0 };
        let biases = ("initial bias", self.bias.as_ref().map_or(0, Vec::len), biases);
        for (what, got, expected) in [weights, biases] {
            if got != expected {
                return Err(Error::Length { what, expected, got });
            }
        }
        Ok(())
    }
}

/// Trains a classifier on `support`, starting from `initial`.
///
/// Before each pass, `reorder` receives the number of the pass (from 0) and the order in which the
/// previous pass took the rows (at first `0, 1, 2, …`), and rewrites it in place.
///
/// Minimises the mean cross entropy of each batch by stochastic gradient descent with momentum,
/// dampening and weight decay, as `torch.optim.SGD` does.
///
/// # Errors
///
/// If a setting is out of range, if `initial` does not fit `support` and the classifier, if
/// `reorder` writes an index that is not a row, or if the weights do not stay finite.
pub fn adapt(
    settings: &FineTune,
    initial: &Initial,
    support: &Support,
    mut reorder: impl FnMut(usize, &mut [usize]),
) -> Result<LinearClassifier, Error> {
    settings.check()?;
    initial.check(settings.classifier, support)?;

    // A bias is the weight of one more feature, which is always 1.
    let bias = initial.bias.as_deref();
    let dim = support.dim() + usize::from(bias.is_some());
    let mut features = Vec::with_capacity(support.rows().len() * dim);
    for row in support.rows() {
        let mut row = widen(row);
        if settings.classifier.is_cosine() {
            normalize(&mut row);
        }
        features.append(&mut row);
        features.extend(bias.map(|_| 1.0));
    }
    let mut weights = Vec::with_capacity(support.way());
    for (class, row) in initial.weight.chunks_exact(support.dim()).enumerate() {
        let mut row = widen(row);
        row.extend(bias.map(|bias| f64::from(bias[class])));
        weights.push(row);
    }

    // Descent on coordinates in the subspace that the support set spans gives the same result many
    // times faster.
    let (subspace, features) = Subspace::new(&features, dim);
    let (coordinates, residuals): (Vec<_>, Vec<_>) =
        weights.iter().map(|weight| subspace.project(weight)).unzip();
    let mut descent = Descent::new(settings, support.labels(), features, coordinates.concat());
    let mut order: Vec<usize> = (0..support.labels().len()).collect();
    for pass in 0..settings.passes {
        reorder(pass, &mut order);
        let limit = support.labels().len();
        if let Some(&got) = order.iter().find(|&&row| row >= limit) {
            return Err(Error::OutOfRange { what: "support row", got, limit });
        }
        order.chunks(settings.batch_size).for_each(|batch| descent.step(batch));
    }

    let mut weight = Vec::with_capacity(support.way() * dim);
    let mut bias = vec![0.0; support.way()];
    for (class, (coordinates, residual)) in descent.weights().zip(residuals).enumerate() {
        let row = subspace.reconstruct(coordinates, residual);
        weight.extend_from_slice(&row[..support.dim()]);
        row[support.dim()..].iter().for_each(|&value| bias[class] = value);
    }
    if !weight.iter().chain(&bias).all(|value| value.is_finite()) {
        return Err(Error::Diverged);
    }
    Ok(LinearClassifier::new(settings.classifier, settings.scale, weight, bias, support.dim()))
}
