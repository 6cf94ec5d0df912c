//! Training a classifier on a support set: the published `BaselineFinetune` of
//! `lib/model.py`, with its four classifiers of `lib/metric.py`.

use fewshot_losses::ClassifierKind;
use rand::Rng;

use crate::{
    Classifier, Error, Support,
    classifier::compares_directions,
    finetune::descent::Descent,
    span::Span,
    vector::{normalize, widen},
};

mod descent;

/// What is trained on a support set, and how.
#[derive(Clone, Debug, PartialEq)]
pub struct FineTune {
    /// The classifier.
    pub classifier: ClassifierKind,
    /// The factor on its scores; the softmax classifier has none and ignores it.
    pub scale: f64,
    /// The margin at the label in training; softmax and cosine have none and ignore it.
    pub margin: f64,
    /// How often the support set is gone through.
    pub passes: usize,
    /// Support rows in one step; the last step of a pass takes what is left.
    pub batch_size: usize,
    /// The learning rate, constant.
    pub learning_rate: f64,
    /// The share of the step before that a step keeps; 0 turns dampening off too.
    pub momentum: f64,
    /// The share of the gradient that does not enter the momentum.
    pub dampening: f64,
    /// The L2 penalty, on bias as on weight.
    pub weight_decay: f64,
}

impl FineTune {
    /// The settings of the published evaluation.
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

    pub(crate) fn check(&self) -> Result<(), Error> {
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

/// The classifier before it has learned anything.
#[derive(Clone, Debug, PartialEq)]
pub struct Initial {
    /// `[way, D]`, row-major.
    pub weight: Vec<f32>,
    /// `[way]`, for the classifiers that have a bias.
    pub bias: Option<Vec<f32>>,
}

impl Initial {
    /// Weights, and biases where `kind` has them, uniform in ±1/√D: PyTorch's `nn.Linear`.
    pub fn random(kind: ClassifierKind, support: &Support, rng: &mut impl Rng) -> Self {
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

/// Trains `initial` on `support` and returns what it has become.
///
/// Before each pass, `reorder` gets the pass (from 0) and the order in which the last pass
/// took the rows (at first `0, 1, 2, …`), and rewrites it in place.
///
/// Minimises the mean cross entropy of a batch by stochastic gradient descent with momentum,
/// dampening and weight decay as `torch.optim.SGD` has them. The published softmax classifier
/// has no scale.
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
) -> Result<Classifier, Error> {
    settings.check()?;
    initial.check(settings.classifier, support)?;

    // A bias is the weight of one more feature, which is always 1.
    let bias = initial.bias.as_deref();
    let dim = support.dim() + usize::from(bias.is_some());
    let mut features = Vec::with_capacity(support.rows().len() * dim);
    for row in support.rows() {
        let mut row = widen(row);
        if compares_directions(settings.classifier) {
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

    // Descent in coordinates of the support set's span: as exact, and many times faster.
    let (span, features) = Span::new(&features, dim);
    let (short, outside): (Vec<_>, Vec<_>) =
        weights.iter().map(|weight| span.shorten(weight)).unzip();
    let mut descent = Descent::new(settings, support.labels(), features, short.concat());
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
    for (class, (short, outside)) in descent.weights().zip(outside).enumerate() {
        let row = span.lengthen(short, outside);
        weight.extend_from_slice(&row[..support.dim()]);
        row[support.dim()..].iter().for_each(|&value| bias[class] = value);
    }
    if !weight.iter().chain(&bias).all(|value| value.is_finite()) {
        return Err(Error::Diverged);
    }
    Ok(Classifier::new(settings.classifier, settings.scale, weight, bias, support.dim()))
}
