//! Conversion of parameters to float16.

use std::path::Path;

use fewshot_experiment::{Error, write_atomically};
use half::f16;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

/// Rounds the parameters of a safetensors file to float16, in place. Running statistics stay
/// float32: they are few, and variances may exceed the range of float16.
///
/// # Errors
/// A file that is not safetensors, or a parameter beyond the range of float16.
pub fn halve(path: &Path) -> Result<(), Error> {
    let bytes = std::fs::read(path).map_err(Error::io("read", path))?;
    let bad = |reason: &dyn std::fmt::Display| Error::checkpoint(path, reason);
    let (_, header) = SafeTensors::read_metadata(&bytes).map_err(|e| bad(&e))?;
    let whole = SafeTensors::deserialize(&bytes).map_err(|e| bad(&e))?;
    let mut rounded = Vec::new();
    for (name, view) in whole.tensors() {
        if view.dtype() != Dtype::F32 || name.contains(".running_") {
            rounded.push((name, view.dtype(), view.shape().to_vec(), view.data().to_vec()));
            continue;
        }
        let mut halves = Vec::with_capacity(view.data().len() / 2);
        for number in view.data().as_chunks::<4>().0 {
            let number = f32::from_le_bytes(*number);
            let half = f16::from_f32(number);
            if half.is_infinite() && number.is_finite() {
                let reason =
                    format!("`{name}` has {number}, which float16 cannot hold: leave out --half");
                return Err(bad(&reason));
            }
            halves.extend(half.to_le_bytes());
        }
        rounded.push((name, Dtype::F16, view.shape().to_vec(), halves));
    }
    let mut views = Vec::new();
    for (name, dtype, shape, data) in &rounded {
        let view = TensorView::new(*dtype, shape.clone(), data).map_err(|e| bad(&e))?;
        views.push((name, view));
    }
    let bytes = safetensors::serialize(views, header.metadata().clone()).map_err(|e| bad(&e))?;
    write_atomically(path, &bytes)
}
