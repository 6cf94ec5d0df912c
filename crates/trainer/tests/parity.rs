//! Learning rates, optimizers and six steps of training against the published implementation.

use std::collections::BTreeMap;

use candle_core::backprop::GradStore;
use candle_core::{DType, Tensor, Var};
use fewshot_experiment::{OptimizerKind, Schedule};
use fewshot_losses::{ClassifierKind, Margin, MarginHead, cross_entropy};
use fewshot_models::{Backbone, BackboneKind, DropOptions, Parameters, Pass};
use fewshot_parity::{Inputs, check, device, digest_deviation, files, numbers};
use serde_json::Value;
use trainer::{LearningRate, Optimizer};

fn tensor(data: Vec<f32>, shape: &[usize]) -> Tensor {
    Tensor::from_vec(data, shape, device()).unwrap()
}

fn values(tensor: &Tensor) -> Vec<f64> {
    let tensor = tensor.flatten_all().unwrap().to_dtype(DType::F64).unwrap();
    tensor.to_vec1().unwrap()
}

/// The largest `deviation` of a pair.
fn largest(
    got: impl IntoIterator<Item = f64>,
    expected: Vec<f64>,
    deviation: impl Fn(f64, f64) -> f64,
) -> f64 {
    let got: Vec<_> = got.into_iter().collect();
    assert_eq!(got.len(), expected.len());
    assert!(got.iter().all(|v| v.is_finite()));
    got.into_iter().zip(expected).map(|(g, e)| deviation(g, e)).fold(0.0, f64::max)
}

fn absolute(got: f64, expected: f64) -> f64 {
    (got - expected).abs()
}

fn relative(got: f64, expected: f64) -> f64 {
    absolute(got, expected) / expected.abs()
}

#[test]
fn parity_schedule() {
    for (file, json) in files("schedule") {
        let schedules = json["schedules"].as_array().unwrap();
        assert!(!schedules.is_empty(), "{file}");
        for schedule in schedules {
            let count = |key: &str| schedule[key].as_u64().unwrap() as usize;
            assert_eq!((schedule["multiplier"].as_f64(), count("multiplier")), (Some(16.0), 16));
            assert_eq!(schedule["eta_min"].as_f64(), Some(1e-6));
            let epochs = (count("warmup_epochs"), count("stop_epoch"));
            let per_epoch = count("iterations_per_epoch");
            let highest = schedule["base_lr"].as_f64().unwrap();

            let course = Schedule::WarmupCosine { warmup_epochs: epochs.0 };
            let rates = LearningRate::from_schedule(highest, &course, epochs.1, per_epoch);
            let expected = numbers(&schedule["lr_used"]);
            assert_eq!(expected.len(), epochs.1 * per_epoch, "{file}");
            let got = (0..expected.len()).map(|step| rates.at(step));
            let what = format!("{file} {highest} over {epochs:?} epochs of {per_epoch}");
            check(&what, largest(got, expected, relative), 1e-6);
        }
    }
}

/// Gradients of which `parameter`'s is `gradient`.
fn gradients(parameter: &Var, gradient: &Tensor) -> GradStore {
    parameter.mul(gradient).unwrap().sum_all().unwrap().backward().unwrap()
}

#[test]
fn parity_optimizers() {
    let sgd = |dampening, nesterov| OptimizerKind::Sgd { momentum: 0.9, dampening, nesterov };
    // Name in the file, rule, rate, weight decay.
    let rules = [
        ("adam", OptimizerKind::Adam, 3e-3, 5e-4),
        ("adamw", OptimizerKind::AdamW, 3e-3, 5e-4),
        ("sgd_nesterov", sgd(0.0, true), 0.1, 5e-4),
        ("sgd_dampening", sgd(0.9, false), 0.01, 1e-3),
    ];
    for (file, json) in files("optimizers") {
        let (inputs, shape) = (Inputs::of(&json), [4, 3]);
        assert_eq!(json["trace"].as_object().unwrap().len(), rules.len(), "{file}");
        for (name, rule, rate, weight_decay) in rules {
            let weight = tensor(inputs.fill("opt/weight", &shape), &shape);
            let weight = Var::from_tensor(&weight).unwrap();
            let parameters = BTreeMap::from([("weight".to_owned(), weight.clone())]);
            let mut optimizer = Optimizer::new(rule, weight_decay, parameters).unwrap();

            let trace = json["trace"][name].as_array().unwrap();
            assert_eq!(trace.len(), 10, "{file} {name}");
            let mut worst: f64 = 0.0;
            for (update, expected) in trace.iter().enumerate() {
                let gradient = inputs.uniform(&format!("opt/grad/{update}"), 12);
                let gradient = gradient.into_iter().map(|u| (u - 0.5) as f32).collect();
                let gradient = gradients(&weight, &tensor(gradient, &shape));
                optimizer.step(&gradient, rate).unwrap();
                worst = worst.max(largest(values(&weight), numbers(expected), absolute));
            }
            check(&format!("{file} {name}"), worst, 1e-6);
        }
    }
}

const CLASSES: usize = 8;
const PREFIX: &str = "traj/";
const WEIGHT_DECAY: f64 = 5e-4;

/// The network of the trajectory, under the names `feature.…` and `classifier.weight`.
struct Network {
    dtype: DType,
    inputs: Inputs,
    parameters: Parameters,
    backbone: Backbone,
    head: MarginHead,
}

impl Network {
    fn new(json: &Value, dtype: DType) -> Self {
        let inputs = Inputs::of(json);
        let parameters = Parameters::new(0);
        let builder = parameters.builder(dtype, device());
        let kind = BackboneKind::Conv4;
        let backbone = Backbone::new(kind, DropOptions::default(), builder.pp("feature")).unwrap();
        let head = MarginHead::new(
            ClassifierKind::NegCosine,
            kind.features(84).unwrap(),
            CLASSES,
            Margin::new(30.0, -0.02).unwrap(),
            builder.pp("classifier"),
        )
        .unwrap();
        for (name, variable) in parameters.all() {
            // `feature/PARAMETER` in the fixtures.
            let name = format!("{PREFIX}{}", name.replacen('.', "/", 1));
            let data = tensor(inputs.fill(&name, variable.dims()), variable.dims());
            variable.set(&data.to_dtype(dtype).unwrap()).unwrap();
        }
        Self { dtype, inputs, parameters, backbone, head }
    }

    /// Images `[count, 3, 84, 84]`.
    fn images(&self, name: &str, count: usize) -> Tensor {
        let shape = [count, 3, 84, 84];
        let images = self.inputs.images(&format!("{PREFIX}{name}"), shape.iter().product());
        tensor(images, &shape).to_dtype(self.dtype).unwrap()
    }

    /// Trains for six steps on images that are made larger by a factor of `scale`. Returns the
    /// losses; `update` gets gradients, the learning rate, and the number of the step, from 1.
    fn train(
        &self,
        rates: Vec<f64>,
        scale: f64,
        mut update: impl FnMut(&GradStore, f64, i32),
    ) -> Vec<f64> {
        assert_eq!(rates.len(), 6);
        let labels = Tensor::arange(0, CLASSES as u32, device()).unwrap();
        let step = |(step, rate): (usize, f64)| {
            let pass = Pass::Train { seed: 0, forward: step as u64 };
            let images = (self.images(&format!("x/{step}"), CLASSES) * scale).unwrap();
            let features = self.backbone.forward(&images, pass).unwrap();
            let scores = self.head.training_scores(&features, &labels).unwrap();
            let loss = cross_entropy(&scores, &labels).unwrap();
            update(&loss.backward().unwrap(), rate, step as i32 + 1);
            values(&loss)[0]
        };
        rates.into_iter().enumerate().map(step).collect()
    }
}

/// In float32, units at a tie take either side of a ReLU by rounding, and Adam divides a gradient
/// by its size however small it is. PyTorch's own two memory formats end up to 2e-3 apart in their
/// losses (`generate.py`, several salts), and our runs likewise if images differ by 1e-7. So the
/// published losses have to be those of our code for images within 1e-6 of the given ones.
#[test]
fn parity_trajectory() {
    for (file, json) in files("trajectory") {
        let scales = (0..8).map(|ulps| 1.0 + f64::from(ulps) * 2f64.powi(-23));
        let mut runs = scales.map(|scale| {
            let network = Network::new(&json, DType::F32);
            let trainable = network.parameters.trainable();
            let mut optimizer =
                Optimizer::new(OptimizerKind::Adam, WEIGHT_DECAY, trainable).unwrap();
            let update = |gradients: &GradStore, rate, _| optimizer.step(gradients, rate).unwrap();
            let losses = network.train(numbers(&json["lr_used"]), scale, update);
            let deviation = largest(losses, numbers(&json["losses"]), relative);
            println!("{file}: images × (1 + {:.1e}): losses {deviation:.1e}", scale - 1.0);
            deviation
        });
        let losses = runs.find(|&losses| losses <= 1e-3);
        check(&format!("{file} losses"), losses.unwrap_or(f64::NAN), 1e-3);
    }
}

/// In float64 no unit is at a tie: weights and features can be compared to many digits.
#[test]
fn parity_trajectory_float64() {
    for (file, json) in files("trajectory") {
        let (name, expected) = (format!("{file} float64"), &json["float64"]);
        let network = Network::new(&json, DType::F64);
        let trainable = network.parameters.trainable();
        let mut adam = Adam::new(&trainable);
        let update = |gradients: &GradStore, rate, step| adam.update(gradients, rate, step);
        let losses = network.train(numbers(&expected["lr_used"]), 1.0, update);
        check(
            &format!("{name} losses"),
            largest(losses, numbers(&expected["losses"]), relative),
            1e-6,
        );

        let digests = expected["weights"].as_object().unwrap();
        assert_eq!(digests.len(), trainable.len(), "{name}");
        let mut worst = (0.0, "");
        for (parameter, variable) in &trainable {
            // The file names those of the backbone without `feature.`.
            let digest = &digests[parameter.strip_prefix("feature.").unwrap_or(parameter)];
            let deviation = digest_deviation(digest, variable.dims(), &values(variable), 0.0);
            assert!(deviation.is_finite(), "{parameter}");
            if deviation > worst.0 {
                worst = (deviation, parameter);
            }
        }
        check(&format!("{name} weights (worst: {})", worst.1), worst.0, 1e-6);
        let probe = network.backbone.forward(&network.images("probe", 2), Pass::Eval).unwrap();
        let deviation =
            digest_deviation(&expected["probe_feature"], probe.dims(), &values(&probe), 0.0);
        check(&format!("{name} probe feature"), deviation, 1e-6);
    }
}

/// Adam in float64, which the trainer's optimizer does not compute in.
struct Adam {
    /// Parameter, first and second moment.
    states: Vec<(Var, Tensor, Tensor)>,
}

impl Adam {
    fn new(parameters: &BTreeMap<String, Var>) -> Self {
        let state = |v: &Var| (v.clone(), v.zeros_like().unwrap(), v.zeros_like().unwrap());
        Self { states: parameters.values().map(state).collect() }
    }

    fn update(&mut self, gradients: &GradStore, rate: f64, step: i32) {
        for (variable, first, second) in &mut self.states {
            let gradient = gradients.get(variable).unwrap();
            let mut moved = || -> candle_core::Result<Tensor> {
                let gradient = (gradient + (variable.as_detached_tensor() * WEIGHT_DECAY)?)?;
                *first = ((&*first * 0.9)? + (&gradient * 0.1)?)?;
                *second = ((&*second * 0.999)? + (gradient.sqr()? * 0.001)?)?;
                let size = rate / (1.0 - 0.9f64.powi(step));
                let root = (1.0 - 0.999f64.powi(step)).sqrt();
                let divisor = ((second.sqrt()? / root)? + 1e-8)?;
                variable.as_detached_tensor() - ((&*first / divisor)? * size)?
            };
            variable.set(&moved().unwrap()).unwrap();
        }
    }
}
