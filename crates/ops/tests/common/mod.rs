//! Random tensors, comparisons, and finite differences.

use candle_core::{DType, Result, Tensor, Var};
use fewshot_parity::{device, is_gpu};
use fewshot_seed::stream;
use rand::Rng;

/// Returns a tensor of `f64`, uniform in [-1, 1), drawn by its name.
pub fn random(name: &str, shape: &[usize]) -> Tensor {
    let mut rng = stream(1, name, &[]);
    let count = shape.iter().product();
    let data: Vec<f64> = (0..count).map(|_| rng.random_range(-1.0..1.0)).collect();
    Tensor::from_vec(data, shape, device()).unwrap()
}

/// Returns all elements.
pub fn values(tensor: &Tensor) -> Vec<f64> {
    tensor.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

/// Asserts that differences are at most `tolerance`, relative to the expected values' root mean
/// square.
#[track_caller]
pub fn assert_close(name: &str, got: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(got.len(), expected.len(), "{name}: length");
    let rms = (expected.iter().map(|v| v * v).sum::<f64>() / expected.len().max(1) as f64).sqrt();
    let largest = got.iter().zip(expected).map(|(g, e)| (g - e).abs()).fold(0.0, f64::max);
    if is_gpu() {
        println!("{name}: off by {:.1e} of {tolerance:.0e}", largest / rms.max(1e-3));
    }
    for (i, (g, e)) in got.iter().zip(expected).enumerate() {
        let difference = (g - e).abs();
        assert!(
            difference <= tolerance * rms.max(1e-3),
            "{name}[{i}]: {g}, expected {e}: off by {difference:e}, rms {rms:e}"
        );
    }
}

/// Checks the gradients of a randomly weighted sum of `f`'s outputs against central differences,
/// at every element of small inputs and at 48 elements of large ones.
#[track_caller]
pub fn check_gradients(name: &str, inputs: &[Tensor], f: impl Fn(&[Tensor]) -> Result<Tensor>) {
    let scalar = |inputs: &[Tensor]| -> Result<Tensor> {
        let y = f(inputs)?;
        (&y * random("weighting", y.dims()))?.sum_all()
    };
    let vars: Vec<Var> = inputs.iter().map(|t| Var::from_tensor(t).unwrap()).collect();
    let tensors: Vec<Tensor> = vars.iter().map(|v| v.as_tensor().clone()).collect();
    let gradients = scalar(&tensors).unwrap().backward().unwrap();
    let step = 1e-5;
    for (k, input) in inputs.iter().enumerate() {
        let gradient = values(gradients.get(&vars[k]).unwrap_or_else(|| panic!("{name}: no {k}")));
        let data = values(input);
        let mut rng = stream(2, name, &[k as u64]);
        let all: Vec<usize> = if data.len() <= 64 {
            (0..data.len()).collect()
        } else {
            (0..48).map(|_| rng.random_range(0..data.len())).collect()
        };
        let at = |i: usize, delta: f64| {
            let mut moved = data.clone();
            moved[i] += delta;
            let mut inputs = inputs.to_vec();
            inputs[k] = Tensor::from_vec(moved, input.dims(), device()).unwrap();
            scalar(&inputs).unwrap().to_scalar::<f64>().unwrap()
        };
        let got: Vec<f64> = all.iter().map(|&i| gradient[i]).collect();
        let expected: Vec<f64> =
            all.iter().map(|&i| (at(i, step) - at(i, -step)) / (2.0 * step)).collect();
        assert_close(&format!("{name}, gradient of input {k}"), &got, &expected, 1e-6);
    }
}
