//! Losses beside that of labels, and turned images, against PyTorch: `objectives.json` of the parity
//! fixtures.

use candle_core::{Device, Tensor, Var};
use fewshot_losses::{quarter_turns, smoothed_cross_entropy, soft_cross_entropy};
use fewshot_parity::{Inputs, check, files, numbers};
use serde_json::Value;

fn scores(file: &Value, name: &str) -> Var {
    let (batch, classes) = (size(file, "batch"), size(file, "classes"));
    let draws = Inputs::of(file).uniform(&format!("objectives/{name}"), batch * classes);
    let scores: Vec<f64> = draws.into_iter().map(|u| (u - 0.5) * 20.0).collect();
    let scores = Tensor::from_vec(scores, (batch, classes), &Device::Cpu).unwrap();
    Var::from_tensor(&scores).unwrap()
}

fn size(file: &Value, key: &str) -> usize {
    file[key].as_u64().unwrap() as usize
}

/// The largest deviation of a loss and of its gradient with respect to `scores`.
fn deviation(loss: &Tensor, scores: &Var, expected: f64, gradient: &Value) -> f64 {
    let gradients = loss.backward().unwrap();
    let got = gradients.get(scores).unwrap().flatten_all().unwrap().to_vec1::<f64>().unwrap();
    let gradient = numbers(gradient);
    assert_eq!(got.len(), gradient.len());
    let deviations = got.iter().zip(gradient).map(|(a, b)| (a - b).abs());
    deviations.fold((loss.to_scalar::<f64>().unwrap() - expected).abs(), f64::max)
}

#[test]
fn parity_losses() {
    for (name, file) in files("objectives") {
        let labels = Inputs::of(&file).uniform("objectives/labels", size(&file, "batch"));
        let classes = size(&file, "classes") as f64;
        let labels: Vec<u32> = labels.into_iter().map(|u| (u * classes) as u32).collect();
        let labels = Tensor::new(labels, &Device::Cpu).unwrap();
        for case in file["smoothed"].as_array().unwrap() {
            let scores = scores(&file, "student");
            let smoothing = case["smoothing"].as_f64().unwrap();
            let loss = smoothed_cross_entropy(&scores, &labels, smoothing).unwrap();
            let expected = case["loss"].as_f64().unwrap();
            let deviation = deviation(&loss, &scores, expected, &case["gradient"]);
            check(&format!("{name} smoothing {smoothing}"), deviation, 1e-9);
        }
        for case in file["taught"].as_array().unwrap() {
            let (student, teacher) = (scores(&file, "student"), scores(&file, "teacher"));
            let number = |key: &str| case[key].as_f64().unwrap();
            let temperature = number("temperature");
            let targets = (teacher.as_tensor() / temperature).unwrap();
            let targets = candle_nn::ops::softmax(&targets, 1).unwrap().detach();
            let loss = soft_cross_entropy(&(student.as_tensor() / temperature).unwrap(), &targets);
            let loss = (loss.unwrap() * temperature.powi(2)).unwrap();
            let expected = (number("divergence") + number("entropy")) * temperature.powi(2);
            let deviation = deviation(&loss, &student, expected, &case["gradient"]);
            check(&format!("{name} temperature {temperature}"), deviation, 1e-9);
        }
    }
}

#[test]
fn parity_turns() {
    for (name, file) in files("objectives") {
        let images = Inputs::of(&file).uniform("objectives/images", 2 * 3 * 5 * 5);
        let images = Tensor::from_vec(images, (2, 3, 5, 5), &Device::Cpu).unwrap();
        let turned = quarter_turns(&images).unwrap().flatten_all().unwrap();
        let (turned, expected) = (turned.to_vec1::<f64>().unwrap(), numbers(&file["turned"]));
        assert_eq!(turned.len(), expected.len());
        let deviations = turned.iter().zip(expected).map(|(a, b)| (a - b).abs());
        check(&name, deviations.fold(0.0, f64::max), 1e-12);
    }
}
