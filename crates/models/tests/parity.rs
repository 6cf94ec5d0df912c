//! The backbones against the published implementation: features, loss and running statistics in
//! float32, and once more with every gradient in float64.

use std::collections::BTreeMap;

use candle_core::backprop::GradStore;
use candle_core::{DType, Tensor, Var};
use fewshot_losses::{ClassifierKind, Margin, MarginHead, cross_entropy};
use fewshot_models::{Backbone, BackboneKind, DropOptions, Parameters, Pass};
use fewshot_ops::TapeContext;
use fewshot_parity::{Inputs, check, device, digest_deviation, digest_rms, files, integers};
use serde_json::Value;

const TRAIN: Pass = Pass::Train { seed: 0, forward: 0 };

#[test]
fn parity_conv4() {
    check_backbones("conv4", BackboneKind::Conv4);
}

#[test]
fn parity_resnet10() {
    check_backbones("resnet10", BackboneKind::ResNet10);
}

#[test]
fn parity_resnet12() {
    check_backbones("resnet12", BackboneKind::ResNet12);
}

#[test]
fn parity_resnet18() {
    check_backbones("resnet18", BackboneKind::ResNet18);
}

#[test]
fn parity_wide_resnet() {
    check_backbones("wide_resnet28_10", BackboneKind::Wrn28_10);
}

/// Checks the files of one backbone, `backbone_NAME….json`.
fn check_backbones(name: &str, kind: BackboneKind) {
    for (file, json) in files(&format!("backbone_{name}")) {
        let name = file.trim_end_matches(".json");
        check_float32(name, kind, &json);
        check_float64(&format!("{name} float64"), kind, &json);
    }
}

fn check_float32(name: &str, kind: BackboneKind, json: &Value) {
    let model = Model::new(kind, json, DType::F32);
    let trainable = model.parameters.trainable();
    let shapes: BTreeMap<_, _> = trainable.iter().map(|(n, v)| (n, v.dims().to_vec())).collect();
    let published = json["parameters"].as_object().unwrap();
    let published = published.iter().map(|(n, shape)| (n, integers(shape))).collect();
    assert_eq!(shapes, published, "{name}: names and shapes of parameters");

    let eval = model.backbone.forward(&model.images, Pass::Eval).unwrap();
    check_digest(&format!("{name} eval feature"), &json["eval_feature"], &eval, 1e-4);
    let frozen = model.parameters.frozen_builder(DType::F32, device());
    let frozen = Backbone::new(kind, DropOptions::default(), frozen).unwrap();
    let folded = frozen.forward(&model.images, Pass::Eval).unwrap();
    let what = format!("{name} eval feature, batch norms folded into convolutions");
    check_digest(&what, &json["eval_feature"], &folded, 1e-4);

    let step = model.forward(&TapeContext::new());
    check_digest(&format!("{name} train feature"), &json["train_feature"], &step.feature, 1e-4);
    check_loss(name, json, &step.loss, 1e-4);
    let statistics = &json["running_stats_after_one_step"];
    check_all(&format!("{name} running statistics"), statistics, &model.statistics(), 1e-4);
}

/// In float64 no unit is on another side of a ReLU than the reference's, so that gradients can be
/// compared: with direct convolution, and with the fewer products of Winograd's algorithm.
fn check_float64(name: &str, kind: BackboneKind, json: &Value) {
    let expected = &json["float64"];
    let check_step = |name: &str, context: TapeContext| {
        let model = Model::new(kind, json, DType::F64);
        let step = model.forward(&context);
        let gradients = context.backward(&step.loss).unwrap();
        let feature = &expected["train_feature"];
        check_digest(&format!("{name} train feature"), feature, &step.feature, 1e-7);
        check_loss(name, expected, &step.loss, 1e-7);
        let statistics = &expected["running_stats_after_one_step"];
        check_all(&format!("{name} running statistics"), statistics, &model.statistics(), 1e-7);
        let classifier = gradients.get(&model.classifier_weight).unwrap();
        let what = format!("{name} classifier gradient");
        check_digest(&what, &expected["classifier_grad"], classifier, 1e-7);
        let gradients = model.gradients(&gradients);
        check_all(&format!("{name} gradients"), &expected["grads"], &gradients, 1e-7);
    };
    let direct = TapeContext::new().with_direct_convolution();
    check_step(&format!("{name}, direct convolution,"), direct);
    check_step(name, TapeContext::new());
}

/// A backbone with a classifier, and the images and labels of its file.
struct Model {
    parameters: Parameters,
    backbone: Backbone,
    classifier: MarginHead,
    classifier_weight: Var,
    /// `[B, 3, S, S]`
    images: Tensor,
    /// `[B]`
    labels: Tensor,
}

/// A training forward pass.
struct Step {
    feature: Tensor,
    loss: Tensor,
}

impl Model {
    fn new(kind: BackboneKind, json: &Value, dtype: DType) -> Self {
        let inputs = Inputs::of(json);
        let prefix = json["prefix"].as_str().unwrap();
        let tensor = |data: Vec<f32>, shape: &[usize]| {
            Tensor::from_vec(data, shape, device()).unwrap().to_dtype(dtype).unwrap()
        };
        let fill = |parameters: &Parameters, prefix: &str| {
            for (name, variable) in parameters.all() {
                let data = inputs.fill(&format!("{prefix}{name}"), variable.dims());
                variable.set(&tensor(data, variable.dims())).unwrap();
            }
        };
        let size = |value: &Value| value.as_u64().unwrap() as usize;
        let (batch, side) = (size(&json["batch"]), size(&json["image_size"]));
        let shape = [batch, 3, side, side];
        let images = inputs.images(&format!("{prefix}x"), shape.iter().product());

        let parameters = Parameters::new(0);
        let builder = parameters.builder(dtype, device());
        let backbone = Backbone::new(kind, DropOptions::default(), builder).unwrap();
        fill(&parameters, prefix);

        let head = &json["head"];
        assert_eq!(head["metric"], ClassifierKind::NegCosine.published_name());
        let number = |key: &str| head[key].as_f64().unwrap();
        let margin = Margin::new(number("scale_factor"), number("margin")).unwrap();
        let classifier_parameters = Parameters::new(0);
        let classifier = MarginHead::new(
            ClassifierKind::NegCosine,
            kind.features(side).unwrap(),
            size(&head["classes"]),
            margin,
            classifier_parameters.builder(dtype, device()),
        )
        .unwrap();
        fill(&classifier_parameters, &format!("{prefix}classifier/"));
        let labels: Vec<u32> = integers(&head["labels"]).into_iter().map(|l| l as u32).collect();
        Self {
            parameters,
            backbone,
            classifier,
            classifier_weight: classifier_parameters.all()["weight"].clone(),
            images: tensor(images, &shape),
            labels: Tensor::new(labels, device()).unwrap(),
        }
    }

    fn forward(&self, context: &TapeContext) -> Step {
        let feature = self.backbone.forward_with(&self.images, TRAIN, context).unwrap();
        let scores = self.classifier.training_scores(&feature, &self.labels).unwrap();
        Step { feature, loss: cross_entropy(&scores, &self.labels).unwrap() }
    }

    fn statistics(&self) -> BTreeMap<String, Tensor> {
        let all = self.parameters.all().into_iter();
        let statistics = all.filter(|(name, _)| name.contains("running_"));
        statistics.map(|(name, variable)| (name, variable.as_tensor().clone())).collect()
    }

    fn gradients(&self, gradients: &GradStore) -> BTreeMap<String, Tensor> {
        let gradient = |(name, variable): (String, Var)| {
            let gradient = gradients.get(&variable).unwrap_or_else(|| panic!("{name}")).clone();
            (name, gradient)
        };
        self.parameters.trainable().into_iter().map(gradient).collect()
    }
}

fn values(tensor: &Tensor) -> Vec<f64> {
    let tensor = tensor.flatten_all().unwrap().to_dtype(DType::F64).unwrap();
    tensor.to_vec1().unwrap()
}

fn check_loss(name: &str, json: &Value, loss: &Tensor, tolerance: f64) {
    let expected = json["loss"].as_f64().unwrap();
    let deviation = (values(loss)[0] - expected).abs() / expected;
    check(&format!("{name} loss"), deviation, tolerance);
}

fn check_digest(what: &str, digest: &Value, got: &Tensor, tolerance: f64) {
    check(what, digest_deviation(digest, got.dims(), &values(got), 0.0), tolerance);
}

/// Compares each tensor of a JSON object of digests with the one of its name.
fn check_all(what: &str, digests: &Value, got: &BTreeMap<String, Tensor>, tolerance: f64) {
    let digests = digests.as_object().unwrap();
    assert_eq!(digests.keys().collect::<Vec<_>>(), got.keys().collect::<Vec<_>>());
    let mut worst = (0.0, "");
    for (name, tensor) in got {
        // The gradient of a convolution's bias before a batch norm is zero but for rounding: it
        // is compared with the size of its kernel's.
        let kernel = name.strip_suffix("C.bias").map(|layer| &digests[&format!("{layer}C.weight")]);
        let scale = kernel.map_or(0.0, digest_rms);
        let deviation = digest_deviation(&digests[name], tensor.dims(), &values(tensor), scale);
        assert!(deviation.is_finite(), "{name}");
        if deviation > worst.0 {
            worst = (deviation, name);
        }
    }
    check(&format!("{what} (worst: {})", worst.1), worst.0, tolerance);
}
