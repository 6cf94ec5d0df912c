//! Fine-tuning against a naive implementation: the loss as the published classifiers write it,
//! its gradient by finite differences, and the update of `torch.optim.SGD`, all in the space
//! of the features.

use fewshot_episodes::heads::{
    FineTune,
    finetune::{Initial, adapt},
};
use fewshot_episodes::{Classifier, Error, Support};
use fewshot_losses::ClassifierKind;
use fewshot_seed::stream;
use rand::Rng;

const WAY: usize = 3;

/// Returns the mean cross entropy of `rows`, as `lib/metric.py` defines it. `parameters` are the
/// weights `[WAY, dim]`, followed by the biases if there are any.
fn loss(settings: &FineTune, parameters: &[f64], rows: &[(&[f32], usize)]) -> f64 {
    let kind = settings.classifier;
    let dim = rows[0].0.len();
    let norm = |v: &mut dyn Iterator<Item = f64>| v.map(|v| v * v).sum::<f64>().sqrt().max(1e-12);
    let mut total = 0.0;
    for &(feature, label) in rows {
        let feature: Vec<f64> = feature.iter().copied().map(f64::from).collect();
        let mut scores: Vec<f64> = parameters[..WAY * dim]
            .chunks(dim)
            .map(|weight| {
                let product: f64 = weight.iter().zip(&feature).map(|(w, f)| w * f).sum();
                let norms = norm(&mut weight.iter().copied()) * norm(&mut feature.iter().copied());
                match kind {
                    ClassifierKind::Cosine | ClassifierKind::NegCosine => product / norms,
                    ClassifierKind::Softmax | ClassifierKind::NegSoftmax => product,
                }
            })
            .collect();
        if kind == ClassifierKind::Softmax {
            scores.iter_mut().zip(&parameters[WAY * dim..]).for_each(|(s, b)| *s += b);
        }
        if kind == ClassifierKind::NegSoftmax {
            let least = scores.iter().copied().fold(f64::INFINITY, f64::min);
            scores.iter_mut().for_each(|s| *s -= least);
        }
        if kind.has_margin() {
            scores[label] -= settings.margin;
        }
        if kind.has_scale() {
            scores.iter_mut().for_each(|s| *s *= settings.scale);
        }
        total += scores.iter().map(|s| s.exp()).sum::<f64>().ln() - scores[label];
    }
    total / rows.len() as f64
}

fn gradient(settings: &FineTune, parameters: &[f64], rows: &[(&[f32], usize)]) -> Vec<f64> {
    const STEP: f64 = 1e-5;
    let at = |i: usize, step: f64| {
        let mut moved = parameters.to_vec();
        moved[i] += step;
        loss(settings, &moved, rows)
    };
    (0..parameters.len()).map(|i| (at(i, STEP) - at(i, -STEP)) / (2.0 * STEP)).collect()
}

/// Fine-tunes by `torch.optim.SGD`, taking rows in the orders that [`order`] returns.
fn naive(settings: &FineTune, initial: &Initial, support: &Support) -> Vec<f64> {
    let bias = initial.bias.iter().flatten();
    let mut parameters: Vec<f64> =
        initial.weight.iter().chain(bias).copied().map(f64::from).collect();
    let mut buffer: Option<Vec<f64>> = None;
    let rows: Vec<_> = support.rows().zip(support.labels().iter().copied()).collect();
    for pass in 0..settings.passes {
        for batch in order(pass, rows.len()).chunks(settings.batch_size) {
            let batch: Vec<_> = batch.iter().map(|&row| rows[row]).collect();
            let mut step = gradient(settings, &parameters, &batch);
            for (step, parameter) in step.iter_mut().zip(&parameters) {
                *step += settings.weight_decay * parameter;
            }
            if settings.momentum != 0.0 {
                if let Some(buffer) = &buffer {
                    for (step, buffer) in step.iter_mut().zip(buffer) {
                        *step = settings.momentum * buffer + (1.0 - settings.dampening) * *step;
                    }
                }
                buffer = Some(step.clone());
            }
            for (parameter, step) in parameters.iter_mut().zip(step) {
                *parameter -= settings.learning_rate * step;
            }
        }
    }
    parameters
}

fn order(pass: usize, rows: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..rows).collect();
    order.rotate_left(pass % rows);
    order.swap(0, rows - 1);
    order
}

/// A seeded problem of nine rows: some numbers negative, one row twice, one all zero.
struct Case {
    features: Vec<f32>,
    dim: usize,
    initial: Initial,
}

const LABELS: [usize; 9] = [0, 0, 0, 1, 1, 1, 2, 2, 2];

impl Case {
    fn new(kind: ClassifierKind, dim: usize) -> Self {
        let mut rng = stream(3, "case", &[dim as u64]);
        let mut features: Vec<f32> =
            (0..LABELS.len() * dim).map(|_| rng.random_range(-0.5..1.5)).collect();
        features.copy_within(dim..2 * dim, 3 * dim);
        features[5 * dim..6 * dim].fill(0.0);
        let support = Support::new(&features, dim, &LABELS, WAY).unwrap();
        let initial = Initial::random(kind, &support, &mut rng);
        Self { features, dim, initial }
    }

    fn support(&self) -> Support<'_> {
        Support::new(&self.features, self.dim, &LABELS, WAY).unwrap()
    }

    /// Returns weights, then biases, after adaptation.
    fn adapt(&self, settings: &FineTune) -> Vec<f64> {
        let reorder = |pass, to: &mut [usize]| to.copy_from_slice(&order(pass, LABELS.len()));
        let adapted = adapt(settings, &self.initial, &self.support(), reorder).unwrap();
        let biases = if settings.classifier.has_bias() { adapted.biases() } else { &[] };
        adapted.weights().flatten().chain(biases).copied().collect()
    }
}

fn assert_close(ours: &[f64], expected: &[f64], tolerance: f64, settings: &FineTune, dim: usize) {
    assert_eq!(ours.len(), expected.len());
    for (ours, expected) in ours.iter().zip(expected) {
        let near = (ours - expected).abs() < tolerance;
        assert!(near, "{settings:?}, dimension {dim}: {ours} instead of {expected}");
    }
}

/// One step over all rows at learning rate 1 subtracts the gradient.
#[test]
fn gradients_are_finite_differences() {
    for kind in ClassifierKind::ALL {
        for (dim, margin) in [(2, -0.3), (5, 0.0), (9, 0.4), (40, -0.3)] {
            let settings = FineTune {
                margin,
                passes: 1,
                batch_size: LABELS.len(),
                learning_rate: 1.0,
                momentum: 0.0,
                weight_decay: 0.0,
                ..FineTune::published(kind)
            };
            let case = Case::new(kind, dim);
            let bias = case.initial.bias.iter().flatten();
            let before: Vec<f64> =
                case.initial.weight.iter().chain(bias).copied().map(f64::from).collect();
            let support = case.support();
            let rows: Vec<_> = support.rows().zip(LABELS).collect();
            let expected = gradient(&settings, &before, &rows);
            let ours: Vec<f64> =
                before.iter().zip(case.adapt(&settings)).map(|(b, a)| b - a).collect();
            assert_close(&ours, &expected, 1e-8, &settings, dim);
        }
    }
}

#[test]
fn updates_are_those_of_torch_sgd() {
    for kind in ClassifierKind::ALL {
        for (dim, momentum, dampening) in [(2, 0.9, 0.9), (5, 0.5, 0.0), (30, 0.0, 0.9)] {
            let settings = FineTune {
                margin: -0.1,
                passes: 6,
                momentum,
                dampening,
                weight_decay: 0.1,
                learning_rate: 0.05,
                ..FineTune::published(kind)
            };
            let case = Case::new(kind, dim);
            let expected = naive(&settings, &case.initial, &case.support());
            assert_close(&case.adapt(&settings), &expected, 1e-7, &settings, dim);
        }
    }
}

/// The published softmax classifier has no scale, and softmax and cosine have no margin.
#[test]
fn settings_that_a_classifier_lacks_change_nothing() {
    for kind in ClassifierKind::ALL {
        let case = Case::new(kind, 5);
        let published = FineTune { passes: 3, ..FineTune::published(kind) };
        let scaled = FineTune { scale: 20.0, ..published.clone() };
        let margin = FineTune { margin: -0.5, ..published.clone() };
        let before = case.adapt(&published);
        assert_eq!(before == case.adapt(&scaled), !kind.has_scale());
        assert_eq!(before == case.adapt(&margin), !kind.has_margin());
    }
}

#[test]
fn zero_passes_give_the_initial_classifier() {
    let case = Case::new(ClassifierKind::Softmax, 12);
    let settings = FineTune { passes: 0, ..FineTune::published(ClassifierKind::Softmax) };
    let initial = case.initial.weight.iter().chain(case.initial.bias.iter().flatten());
    let initial: Vec<f64> = initial.copied().map(f64::from).collect();
    assert_close(&case.adapt(&settings), &initial, 1e-12, &settings, 12);
}

/// The cosine of a zero vector is defined as 0, as in PyTorch, instead of NaN.
#[test]
fn zeros_give_finite_scores() {
    let features = [0.0; 6 * 4];
    let labels = [0, 0, 1, 1, 2, 2];
    let support = Support::new(&features, 4, &labels, WAY).unwrap();
    let mixed: Vec<f32> = (0..24).map(|i| (i % 5) as f32).collect();
    let mixed = Support::new(&mixed, 4, &labels, WAY).unwrap();
    for kind in ClassifierKind::ALL {
        let bias = kind.has_bias().then(|| vec![0.0; WAY]);
        let initial = Initial { weight: vec![0.0; WAY * 4], bias };
        for support in [&support, &mixed] {
            let adapted = adapt(&FineTune::published(kind), &initial, support, |_, _| ()).unwrap();
            for query in [[0.0; 4], [1.0, -2.0, 3.0, 0.5], [f32::MAX; 4]] {
                let scores = adapted.scores(&query).unwrap();
                assert!(scores.iter().all(|score| score.is_finite()), "{kind} {scores:?}");
            }
        }
    }
}

#[test]
fn one_way_learns_nothing_and_does_no_harm() {
    let features = [1.0, 2.0, 3.0, -1.0];
    let support = Support::new(&features, 2, &[0, 0], 1).unwrap();
    for kind in ClassifierKind::ALL {
        let initial = Initial::random(kind, &support, &mut stream(0, "one", &[]));
        let adapted = adapt(&FineTune::published(kind), &initial, &support, |_, _| ()).unwrap();
        let scores = adapted.scores(&[0.5, 0.5]).unwrap();
        assert!(scores.len() == 1 && scores[0].is_finite());
    }
}

#[test]
fn inference_takes_the_minimum_away_and_no_margin() {
    let case = Case::new(ClassifierKind::NegSoftmax, 4);
    let settings =
        FineTune { passes: 0, margin: 3.0, ..FineTune::published(ClassifierKind::NegSoftmax) };
    let adapted = adapt(&settings, &case.initial, &case.support(), |_, _| ()).unwrap();
    let query = [1.0, 0.5, -0.25, 2.0];
    let products: Vec<f64> = adapted
        .weights()
        .map(|weight| weight.iter().zip(query).map(|(w, q)| w * f64::from(q)).sum())
        .collect();
    let least = products.iter().copied().fold(f64::INFINITY, f64::min);
    let expected: Vec<f64> = products.iter().map(|product| 5.0 * (product - least)).collect();
    assert_close(&adapted.scores(&query).unwrap(), &expected, 1e-12, &settings, 4);
}

#[test]
fn settings_out_of_range_are_refused() {
    type Change = fn(&mut FineTune);
    let changes: [(&str, Change); 10] = [
        ("scale", |s| s.scale = 0.0),
        ("scale", |s| s.scale = f64::NAN),
        ("margin", |s| s.margin = f64::INFINITY),
        ("batch size", |s| s.batch_size = 0),
        ("learning rate", |s| s.learning_rate = -0.1),
        ("learning rate", |s| s.learning_rate = f64::NAN),
        ("weight decay", |s| s.weight_decay = -1.0),
        ("momentum", |s| s.momentum = 1.5),
        ("dampening", |s| s.dampening = -0.1),
        ("dampening", |s| s.dampening = f64::NAN),
    ];
    let case = Case::new(ClassifierKind::Cosine, 3);
    for (name, change) in changes {
        let mut settings = FineTune::published(ClassifierKind::Cosine);
        change(&mut settings);
        let error = adapt(&settings, &case.initial, &case.support(), |_, _| ()).unwrap_err();
        assert!(matches!(error, Error::Parameter { what, .. } if what == name), "{error}");
    }
}

#[test]
fn inputs_that_do_not_fit_are_refused() {
    let case = Case::new(ClassifierKind::Softmax, 3);
    let settings = FineTune::published(ClassifierKind::Softmax);
    let refused = |settings: &FineTune, initial: &Initial| {
        adapt(settings, initial, &case.support(), |_, _| ()).unwrap_err().to_string()
    };
    let no_bias = Initial { bias: None, ..case.initial.clone() };
    assert_eq!(refused(&settings, &no_bias), "initial bias: expected 3 values, got 0");
    let short = Initial { weight: vec![0.0; 8], ..case.initial.clone() };
    assert_eq!(refused(&settings, &short), "initial weight: expected 9 values, got 8");
    let cosine = FineTune::published(ClassifierKind::Cosine);
    assert_eq!(refused(&cosine, &case.initial), "initial bias: expected 0 values, got 3");
    let nan = Initial { weight: vec![f32::NAN; 9], ..case.initial.clone() };
    assert_eq!(refused(&settings, &nan), Error::Diverged.to_string());
    let wild = FineTune { weight_decay: 1e9, learning_rate: 1e9, ..settings.clone() };
    assert_eq!(refused(&wild, &case.initial), Error::Diverged.to_string());

    let beyond = |_, order: &mut [usize]| order[2] = 9;
    let error = adapt(&settings, &case.initial, &case.support(), beyond).unwrap_err();
    assert_eq!(error.to_string(), "support row 9 is out of range: expected less than 9");

    let adapted = adapt(&settings, &case.initial, &case.support(), |_, _| ()).unwrap();
    assert!(matches!(adapted.scores(&[1.0; 4]), Err(Error::Length { .. })));
    assert!(matches!(adapted.scores(&[f32::NAN; 3]), Err(Error::NotFinite { .. })));
}
