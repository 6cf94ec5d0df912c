//! Reference numbers of the published implementation, for tests.
//!
//! The files of `fixtures/parity`, or of the folder that the environment variable
//! `PARITY_DIR` names, hold what the published PyTorch code computes. Its inputs are not
//! stored: every weight and image is a pure function of the file's `salt`, a name, and an
//! index, rebuilt here by the formulas of `fixtures/parity/README.md`.
//!
//! ```
//! let (name, heads) = fewshot_parity::files("heads").remove(0);
//! let inputs = fewshot_parity::Inputs::of(&heads);
//! let weight = inputs.fill("head/cosine/weight", &[7, 32]);
//! assert!(weight.iter().all(|w| w.abs() <= 1.0 / 32f32.sqrt()), "{name}");
//! ```
//!
//! This crate only serves tests, and panics with a message where a file is not as expected.

#![forbid(unsafe_code)]

mod device;

pub use device::{device, is_gpu};

use std::path::{Path, PathBuf};

use serde_json::Value;

/// The folder of the fixtures.
fn fixtures() -> PathBuf {
    root().join("fixtures/parity")
}

/// The workspace, which cargo is run from.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The folders that are read, the first that has what is asked for: `PARITY_DIR`, then the
/// fixtures.
fn folders() -> Vec<PathBuf> {
    let named = std::env::var_os("PARITY_DIR").map(|folder| root().join(folder));
    if let Some(folder) = &named {
        let is_set = !files_in(folder, "").is_empty() || folder.join("checkpoints").exists();
        assert!(is_set, "PARITY_DIR: neither a JSON file nor checkpoints in {folder:?}");
    }
    named.into_iter().chain([fixtures()]).collect()
}

/// Every JSON file whose name starts with `prefix`, by name: those of the folder that
/// `PARITY_DIR` names, or of the fixtures if it has none.
///
/// # Panics
/// If there is none, so that a test cannot pass without checking something.
pub fn files(prefix: &str) -> Vec<(String, Value)> {
    let mut found = folders().into_iter().map(|folder| files_in(&folder, prefix));
    found.find(|files| !files.is_empty()).unwrap_or_else(|| panic!("no {prefix}*.json"))
}

/// What the JSON files of the subfolder `checkpoints` say, each with the PyTorch checkpoints
/// that are named after it.
///
/// # Panics
/// If there is none.
pub fn checkpoints() -> Vec<(Value, Vec<PathBuf>)> {
    let mut folders = folders().into_iter().map(|folder| folder.join("checkpoints"));
    let folder = folders.find(|folder| folder.exists()).expect("checkpoints");
    let files = files_in(&folder, "");
    assert!(!files.is_empty(), "no JSON file in {folder:?}");
    let with_checkpoints = |(name, json): (String, Value)| {
        let stem = name.trim_end_matches(".json");
        let is_its = |path: &PathBuf| file_name(path).starts_with(stem) && file_name(path) != name;
        let mut paths: Vec<_> = entries(&folder).filter(is_its).collect();
        assert!(!paths.is_empty(), "no checkpoint beside {name}");
        paths.sort();
        (json, paths)
    };
    files.into_iter().map(with_checkpoints).collect()
}

fn files_in(folder: &Path, prefix: &str) -> Vec<(String, Value)> {
    let mut found = Vec::new();
    for path in entries(folder) {
        let name = file_name(&path);
        if name.starts_with(prefix) && name.ends_with(".json") {
            let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path:?}: {e}"));
            let json = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{path:?}: {e}"));
            found.push((name, json));
        }
    }
    found.sort_by(|a, b| a.0.cmp(&b.0));
    found
}

fn entries(folder: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|e| panic!("{folder:?}: {e}"));
    entries.map(|entry| entry.expect("a directory entry").path())
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// The inputs of one file.
pub struct Inputs {
    salt: String,
}

impl Inputs {
    /// By the file's own salt.
    pub fn of(file: &Value) -> Self {
        Self { salt: file["salt"].as_str().expect("a salt").to_owned() }
    }

    /// Uniform in [0, 1), in `f64`.
    pub fn uniform(&self, name: &str, count: usize) -> Vec<f64> {
        let key =
            format!("{}/{name}", self.salt).bytes().fold(0xcbf2_9ce4_8422_2325_u64, |h, b| {
                (h ^ u64::from(b)).wrapping_mul(0x0000_0100_0000_01b3)
            });
        let draw = |i: u64| {
            let mut z = key.wrapping_add((i + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
        };
        (0..count as u64).map(draw).collect()
    }

    /// Input images: zero mean, unit variance.
    pub fn images(&self, name: &str, count: usize) -> Vec<f32> {
        let scale = 12f64.sqrt();
        self.uniform(name, count).into_iter().map(|u| ((u - 0.5) * scale) as f32).collect()
    }

    /// A parameter or running statistic, by the rules of its name and rank.
    pub fn fill(&self, name: &str, shape: &[usize]) -> Vec<f32> {
        let value = |u: f64| match shape {
            _ if name.ends_with("running_var") => 0.8 + 0.4 * u,
            _ if name.ends_with("running_mean") => 0.2 * (u - 0.5),
            &[out, _, kh, kw] => (u - 0.5) * 12f64.sqrt() * (2.0 / (out * kh * kw) as f64).sqrt(),
            &[_, columns] => (u - 0.5) * 2.0 / (columns as f64).sqrt(),
            [_] if name.ends_with("weight") => 0.8 + 0.4 * u,
            _ => 0.2 * (u - 0.5),
        };
        let count = shape.iter().product();
        self.uniform(name, count).into_iter().map(|u| value(u) as f32).collect()
    }
}

/// A JSON array of numbers.
pub fn numbers(array: &Value) -> Vec<f64> {
    let array = array.as_array().unwrap_or_else(|| panic!("expected an array, got {array}"));
    array.iter().map(|v| v.as_f64().expect("a number")).collect()
}

/// A JSON array of sizes or labels.
pub fn integers(array: &Value) -> Vec<usize> {
    numbers(array).into_iter().map(|v| v as usize).collect()
}

/// The root mean square of the tensor that a `digest` object describes.
pub fn digest_rms(digest: &Value) -> f64 {
    let count: usize = integers(&digest["shape"]).iter().product();
    (digest["sum_sq"].as_f64().expect("sum_sq") / count as f64).sqrt()
}

/// The largest deviation of a tensor from a `digest` object (shape, sum, sum of squares,
/// samples), relative to the digest's root mean square, which is taken as at least
/// `floor`: gradients that are zero but for rounding have no scale of their own.
pub fn digest_deviation(digest: &Value, shape: &[usize], values: &[f64], floor: f64) -> f64 {
    assert_eq!(integers(&digest["shape"]), shape, "shape");
    let count = values.len() as f64;
    let expected_rms = digest_rms(digest);
    let rms = expected_rms.max(floor);
    let samples = integers(&digest["index"]).into_iter().zip(numbers(&digest["value"]));
    let samples = samples.map(|(i, expected)| (values[i] - expected).abs() / rms);
    // A sum of independent errors grows with the root of the count.
    let sum: f64 = values.iter().sum();
    let sum = (sum - digest["sum"].as_f64().expect("sum")).abs() / (rms * count.sqrt());
    let squares: f64 = values.iter().map(|v| v * v).sum();
    let squares = (squares / count).sqrt() - expected_rms;
    samples.chain([sum, squares.abs() / rms]).fold(0.0, f64::max)
}

/// The largest deviation between two tensors, relative to the expected one's root mean
/// square.
pub fn deviation(got: &[f64], expected: &[f64]) -> f64 {
    assert_eq!(got.len(), expected.len(), "length");
    let squares: f64 = expected.iter().map(|v| v * v).sum();
    let rms = (squares / expected.len() as f64).sqrt().max(f64::MIN_POSITIVE);
    got.iter().zip(expected).map(|(g, e)| (g - e).abs() / rms).fold(0.0, f64::max)
}

/// Prints a deviation and fails the test where it exceeds the tolerance (or is NaN).
#[track_caller]
pub fn check(what: &str, deviation: f64, tolerance: f64) {
    println!("parity {what}: deviation {deviation:.2e}, tolerance {tolerance:.0e}");
    assert!(deviation <= tolerance, "{what}: deviation {deviation:e} exceeds {tolerance:e}");
}
