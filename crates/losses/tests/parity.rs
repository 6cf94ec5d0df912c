//! The four heads against the published implementation.

use candle_core::{DType, Tensor, Var};
use candle_nn::{VarBuilder, VarMap};
use fewshot_losses::{ClassifierKind, Margin, MarginHead, cross_entropy};
use fewshot_parity::{Inputs, check, deviation, files, integers, numbers};
use serde_json::Value;

fn values(tensor: &Tensor) -> Vec<f64> {
    let tensor = tensor.flatten_all().unwrap().to_dtype(DType::F64).unwrap();
    tensor.to_vec1().unwrap()
}

/// The classifier that the published code calls `metric`.
fn kind(metric: &str) -> ClassifierKind {
    let has_name = |kind: &ClassifierKind| kind.published_name() == metric;
    ClassifierKind::ALL.into_iter().find(has_name).unwrap()
}

#[test]
fn parity_heads() {
    for (file, json) in files("heads") {
        let inputs = Inputs::of(&json);
        let classes = json["classes"].as_u64().unwrap() as usize;
        for (name, head) in json["heads"].as_object().unwrap() {
            check_head(&format!("{file} {name}"), &inputs, classes, name, head);
        }
    }
}

fn check_head(what: &str, inputs: &Inputs, classes: usize, name: &str, head: &Value) {
    let device = fewshot_parity::device();
    let labels: Vec<u32> = integers(&head["labels"]).into_iter().map(|l| l as u32).collect();
    let dim = numbers(&head["grad_feature"]).len() / labels.len();
    let feature = inputs.images("head/feature", labels.len() * dim);
    let feature = Tensor::from_vec(feature, (labels.len(), dim), device).unwrap().relu().unwrap();
    let feature = Var::from_tensor(&feature).unwrap();
    let labels = Tensor::new(labels, device).unwrap();

    let kind = kind(head["metric"].as_str().unwrap());
    let number = |key: &str, default: f64| head[key].as_f64().unwrap_or(default);
    let margin = Margin::new(number("scale_factor", 1.0), number("margin", 0.0)).unwrap();
    let variables = VarMap::new();
    let builder = VarBuilder::from_varmap(&variables, DType::F32, device);
    let classifier = MarginHead::new(kind, dim, classes, margin, builder).unwrap();
    let parameters = variables.data().lock().unwrap().clone();
    for (parameter, variable) in &parameters {
        let data = inputs.fill(&format!("head/{name}/{parameter}"), variable.dims());
        variable.set(&Tensor::from_vec(data, variable.shape(), device).unwrap()).unwrap();
    }

    let scores = classifier.training_scores(&feature, &labels).unwrap();
    let loss = cross_entropy(&scores, &labels).unwrap();
    let gradients = loss.backward().unwrap();
    let compare = |key: &str, got: &Tensor, expected: &Value| {
        check(&format!("{what} {key}"), deviation(&values(got), &numbers(expected)), 1e-5);
    };
    compare("training scores", &scores, &head["train_scores"]);
    let inference = classifier.scores(&feature).unwrap();
    compare("inference scores", &inference, &head["inference_scores"]);
    let expected = head["loss"].as_f64().unwrap();
    check(&format!("{what} loss"), deviation(&values(&loss), &[expected]), 1e-5);
    compare("feature gradient", gradients.get(&feature).unwrap(), &head["grad_feature"]);
    let grads = head["grads"].as_object().unwrap();
    assert_eq!(grads.len(), parameters.len(), "{what}: parameters");
    for (parameter, variable) in &parameters {
        let gradient = gradients.get(variable).unwrap();
        compare(&format!("{parameter} gradient"), gradient, &grads[parameter]);
    }
}
