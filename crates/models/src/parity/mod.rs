//! The backbones against the published implementation: features, loss, every gradient,
//! running statistics.

mod settle;
mod ties;

pub use ties::{nudged, watched};

use std::collections::BTreeMap;

use candle_core::{DType, Tensor, Var};
use candle_nn::VarBuilder;
use fewshot_losses::{ClassifierKind, Margin, MarginHead, cross_entropy};
use fewshot_ops::TapeContext;
use fewshot_parity::{Inputs, check, device, digest_deviation, files, integers};
use serde_json::Value;
use settle::Settling;

use crate::{Backbone, BackboneKind, DropOptions, Parameters, Pass};

/// Gradients of biases before a batch norm are zero but for rounding: their scale is at least
/// this.
const FLOOR: f64 = 1e-2;

/// Units at a tie that two right implementations may have on different sides: up to 31 of the 29
/// million of WRN-28-10 were seen.
const MOST_MOVED: usize = 50;

fn tensor(data: Vec<f32>, shape: &[usize]) -> Tensor {
    Tensor::from_vec(data, shape, device()).unwrap()
}

/// The files of one backbone, `backbone_NAME….json`.
fn backbones(name: &str) {
    let kind = name.replace("wide_resnet28_10", "wrn28-10").parse().unwrap();
    for (file, json) in files(&format!("backbone_{name}")) {
        check_backbone(file.trim_end_matches(".json"), kind, &json);
    }
}

#[test]
fn parity_conv4() {
    backbones("conv4");
}

#[test]
fn parity_resnet10() {
    backbones("resnet10");
}

#[test]
fn parity_resnet12() {
    backbones("resnet12");
}

#[test]
fn parity_resnet18() {
    backbones("resnet18");
}

#[test]
fn parity_wide_resnet() {
    backbones("wide_resnet28_10");
}

/// How far each tensor of a JSON object of digests is from the one of its name.
fn deviations(digests: &Value, got: &BTreeMap<String, Tensor>) -> BTreeMap<String, f64> {
    let digests = digests.as_object().unwrap();
    assert_eq!(digests.keys().collect::<Vec<_>>(), got.keys().collect::<Vec<_>>());
    let deviation = |(name, tensor): (&String, &Tensor)| {
        let values = ties::values(tensor).unwrap();
        (name.clone(), digest_deviation(&digests[name], tensor.dims(), &values, FLOOR))
    };
    got.iter().map(deviation).collect()
}

/// Compares each tensor of a JSON object of digests with the one of its name.
fn compare_all(what: &str, digests: &Value, got: &BTreeMap<String, Tensor>, tolerance: f64) {
    let deviations = deviations(digests, got);
    let worst = deviations.iter().max_by(|a, b| a.1.total_cmp(b.1)).unwrap();
    check(&format!("{what} (worst: {})", worst.0), *worst.1, tolerance);
}

fn check_backbone(name: &str, kind: BackboneKind, json: &Value) {
    let inputs = Inputs::of(json);
    let prefix = json["prefix"].as_str().unwrap();
    let (batch, size) = (json["batch"].as_u64().unwrap(), json["image_size"].as_u64().unwrap());
    let shape = [batch as usize, 3, size as usize, size as usize];
    let images = tensor(inputs.images(&format!("{prefix}x"), shape.iter().product()), &shape);

    let parameters = Parameters::new(0);
    let builder = parameters.builder(DType::F32, device());
    let backbone = Backbone::new(kind, DropOptions::default(), builder).unwrap();
    let published = json["parameters"].as_object().unwrap();
    let trainable = parameters.trainable();
    let shapes: BTreeMap<_, _> = trainable.iter().map(|(n, v)| (n, v.dims().to_vec())).collect();
    assert_eq!(
        shapes,
        published.iter().map(|(n, shape)| (n, integers(shape))).collect(),
        "{name}: names and shapes of parameters"
    );
    for (parameter, variable) in parameters.all() {
        let data = inputs.fill(&format!("{prefix}{parameter}"), variable.dims());
        variable.set(&tensor(data, variable.dims())).unwrap();
    }

    let feature = |digest: &Value, feature: &Tensor, pass: &str| {
        let deviation =
            digest_deviation(digest, feature.dims(), &ties::values(feature).unwrap(), 0.0);
        check(&format!("{name} {pass} feature"), deviation, 1e-4);
    };
    feature(&json["eval_feature"], &backbone.forward(&images, Pass::Eval).unwrap(), "eval");
    let frozen = parameters.frozen_builder(DType::F32, device());
    let frozen = Backbone::new(kind, DropOptions::default(), frozen).unwrap();
    let folded = frozen.forward(&images, Pass::Eval).unwrap();
    feature(&json["eval_feature"], &folded, "eval, batch norms folded into convolutions,");

    let pass = Pass::Train { seed: 0, forward: 0 };
    let head = &json["head"];
    assert_eq!(head["metric"], "cosineface");
    let margin =
        Margin::new(head["scale_factor"].as_f64().unwrap(), head["margin"].as_f64().unwrap());
    let classifier_parameters = Parameters::new(0);
    let classes = head["classes"].as_u64().unwrap() as usize;
    let classifier = MarginHead::new(
        ClassifierKind::NegCosine,
        kind.features(size as usize).unwrap(),
        classes,
        margin.unwrap(),
        classifier_parameters.builder(DType::F32, device()),
    )
    .unwrap();
    let weight = &classifier_parameters.all()["weight"];
    let data = inputs.fill(&format!("{prefix}classifier/weight"), weight.dims());
    weight.set(&tensor(data, weight.dims())).unwrap();
    let labels: Vec<u32> = integers(&head["labels"]).into_iter().map(|l| l as u32).collect();
    let labels = Tensor::new(labels, device()).unwrap();
    let forward = |backbone: &Backbone, context: TapeContext| {
        let features = backbone.forward_with(&images, pass, &context).unwrap();
        let scores = classifier.training_scores(&features, &labels).unwrap();
        (features, cross_entropy(&scores, &labels).unwrap())
    };
    let (features, loss) = forward(&backbone, TapeContext::new());
    feature(&json["train_feature"], &features, "train");
    let expected = json["loss"].as_f64().unwrap();
    check(
        &format!("{name} loss"),
        (ties::values(&loss).unwrap()[0] - expected).abs() / expected,
        1e-4,
    );
    let statistics = parameters.all().into_iter().filter(|(n, _)| n.contains("running_"));
    let statistics = statistics.map(|(n, v)| (n, v.as_tensor().clone())).collect();
    let expected = &json["running_stats_after_one_step"];
    compare_all(&format!("{name} running statistics"), expected, &statistics, 1e-4);

    // Units at a tie are found where rounding is that of plain sums; that fewer products give
    // the same gradients is for the kernels' own tests to show.
    let direct = TapeContext::new().with_direct_convolution();
    let gradients = |backbone: &Backbone| forward(backbone, direct.clone()).1.backward().unwrap();
    // The same network with kernels that have no gradients.
    let tensor = |(name, v): (String, Var)| match v.dims() {
        [_] => (name, v.as_tensor().clone()),
        _ => (name, v.as_detached_tensor()),
    };
    let tensors = parameters.all().into_iter().map(tensor).collect();
    let builder = VarBuilder::from_tensors(tensors, DType::F32, device());
    let norms = Backbone::new(kind, DropOptions::default(), builder).unwrap();
    let names = trainable.iter().map(|(name, v)| (v.as_tensor().id(), name.clone())).collect();
    let settling = Settling {
        pass: &|| gradients(&backbone),
        norms: &|| gradients(&norms),
        names,
        digests: &json["grads"],
    };
    let (gradients, moved) = settling.settle().unwrap();
    assert!(moved <= MOST_MOVED, "{name}: {moved} units on the other side cannot all be at a tie");
    let of = |(name, v): (&String, &Var)| (name.clone(), gradients.get(v).unwrap().clone());
    let grads = trainable.iter().map(of).collect();
    let what = format!("{name} gradients, {moved} units at a tie on the other side");
    compare_all(&what, &json["grads"], &grads, 1e-3);
}
