//! Speed of training on an NVIDIA GPU, with images that are on it already.

use std::time::Instant;

use candle_core::{Device, Tensor};
use fewshot_experiment::{RawConfig, device, image_dtype};
use fewshot_models::BackboneKind;
use serde_json::json;

use super::Error;
use super::case::{Case, Measure, Setup};
use super::row::Better;
use super::training::{Network, Training};

/// Networks, each with the steps of one measurement.
const TRAINED: [(Network, usize); 3] = [
    (Network { backbone: BackboneKind::ResNet18, size: 84, batch: 256 }, 20),
    (Network { backbone: BackboneKind::ResNet18, size: 224, batch: 128 }, 10),
    (Network { backbone: BackboneKind::ResNet10, size: 84, batch: 256 }, 30),
];
const PRECISIONS: [&str; 2] = ["bf16", "tf32"];
const PHASES: [&str; 4] = ["forward", "head and loss", "backward", "update"];

/// Returns the rows of each network's training in each precision, beside PyTorch's eager mode and, for
/// the first network, also beside `torch.compile`, with the phases of a step; of a large matrix
/// product, and the share of its speed that each network reaches; and of fine-tuning on episodes.
///
/// # Errors
/// A build without the feature `cuda`.
pub fn cases(setup: &Setup) -> Result<Vec<Case>, Error> {
    if !cfg!(feature = "cuda") {
        let remedy = "run `cargo xtask --features cuda bench gpu`";
        return Err(Error::Process(format!("this build has no feature `cuda`: {remedy}")));
    }
    let side = if setup.smallest { 64 } else { 8192 };
    let networks = TRAINED.map(|(network, steps)| match setup.smallest {
        true => (network.smallest(), 1),
        false => (network, steps),
    });
    // What matters most comes first, for a machine that is lent for minutes.
    let mut cases = Vec::new();
    for precision in PRECISIONS {
        cases.extend(networks.map(|(network, steps)| training(network, steps, precision, false)));
    }
    cases.extend(PRECISIONS.map(|precision| product_case(precision, side)));
    let (network, steps) = networks[0];
    for precision in PRECISIONS {
        cases.extend((0..PHASES.len()).map(|phase| phase_case(network, precision, phase)));
    }
    #[cfg(feature = "cuda")]
    cases.push(super::episodes::on_gpu(setup));
    for (network, steps) in networks {
        cases.extend(PRECISIONS.map(|precision| share(network, steps, precision, side)));
    }
    // Compiling takes most of a minute.
    cases.extend(PRECISIONS.map(|precision| training(network, steps, precision, true)));
    Ok(cases)
}

/// A product of square matrices, whose TFLOP/s convolutions can be compared with.
struct Product {
    a: Tensor,
    b: Tensor,
}

impl Product {
    fn new(precision: &str, side: usize) -> Result<Self, Error> {
        let settings = settings(precision);
        let mut raw = RawConfig::default();
        settings.iter().try_for_each(|setting| raw.set(setting))?;
        let config = raw.check()?;
        let device = device(&config)?;
        let matrix = || -> Result<Tensor, Error> {
            let numbers = Tensor::randn(0f32, 1.0, (side, side), &Device::Cpu)?;
            Ok(numbers.to_device(&device)?.to_dtype(image_dtype(&config))?)
        };
        let product = Self { a: matrix()?, b: matrix()? };
        product.measure()?;
        Ok(product)
    }

    fn measure(&self) -> Result<f64, Error> {
        const TIMES: usize = 10;
        self.a.device().synchronize()?;
        let started = Instant::now();
        for _ in 0..TIMES {
            self.a.matmul(&self.b)?;
        }
        self.a.device().synchronize()?;
        let operations = 2.0 * (self.a.dim(0)? as f64).powi(3) * TIMES as f64;
        Ok(operations / started.elapsed().as_secs_f64() / 1e12)
    }
}

fn product_case(precision: &'static str, side: usize) -> Case {
    let ours = move || -> Result<Measure, Error> {
        let product = Product::new(precision, side)?;
        Ok(Box::new(move || product.measure()))
    };
    let request = json!({ "kind": "gpu-product", "side": side, "precision": precision });
    let name = format!("gpu product of {side}×{side} matrices, {precision}");
    Case::new(name, "TFLOP/s", Better::Higher, ours).against(request)
}

/// Returns the row of a training's TFLOP/s in convolutions, in percent of the matrix product's.
fn share(network: Network, steps: usize, precision: &'static str, side: usize) -> Case {
    let ours = move || -> Result<Measure, Error> {
        let product = Product::new(precision, side)?;
        let mut images_per_second = images_per_second(network, steps, precision)?;
        Ok(Box::new(move || {
            let speed = images_per_second()? * network.operations() / 1e12;
            Ok(100.0 * speed / product.measure()?)
        }))
    };
    let name = format!("gpu {network} {precision}: share of the product's TFLOP/s");
    Case::new(name, "%", Better::Higher, ours)
}

fn settings(precision: &str) -> [String; 2] {
    ["device=cuda:0".to_owned(), format!("precision={precision}")]
}

/// Starts a training and takes one step; returns it with its images and labels.
fn start(network: Network, precision: &str) -> Result<(Training, [Tensor; 2]), Error> {
    let settings = settings(precision);
    let config = network.config_with(&settings.each_ref().map(String::as_str))?;
    let mut training = Training::new(&config)?;
    let [images, labels] = training.to_device(&config, &network.images()?, &network.labels()?)?;
    training.step(&images, &labels)?.to_scalar::<f32>()?;
    Ok((training, [images, labels]))
}

fn images_per_second(network: Network, steps: usize, precision: &str) -> Result<Measure, Error> {
    let (mut training, [images, labels]) = start(network, precision)?;
    Ok(Box::new(move || {
        let started = Instant::now();
        for _ in 1..steps {
            training.step(&images, &labels)?;
        }
        // Reading the last loss waits for all steps.
        training.step(&images, &labels)?.to_scalar::<f32>()?;
        Ok((network.batch * steps) as f64 / started.elapsed().as_secs_f64())
    }))
}

fn training(network: Network, steps: usize, precision: &'static str, compiled: bool) -> Case {
    let ours = move || images_per_second(network, steps, precision);
    let request = json!({
        "kind": "gpu",
        "backbone": network.backbone.to_string(),
        "size": network.size,
        "batch": network.batch,
        "steps": steps,
        "precision": precision,
        "compiled": compiled,
    });
    let beside = if compiled { "torch.compile" } else { "eager" };
    let name = format!("gpu {network} {precision}, PyTorch {beside}");
    Case::new(name, "images/s", Better::Higher, ours).against(request)
}

fn phase_case(network: Network, precision: &'static str, phase: usize) -> Case {
    let ours = move || -> Result<Measure, Error> {
        let (mut training, [images, labels]) = start(network, precision)?;
        Ok(Box::new(move || Ok(training.phases(&images, &labels)?[phase])))
    };
    let name = format!("gpu {network} {precision}: {}", PHASES[phase]);
    Case::new(name, "ms", Better::Lower, ours)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(not(feature = "cuda"))]
    fn a_build_without_the_feature_says_so() {
        let setup = Setup {
            threads: 1,
            smallest: true,
            pairs: None,
            epochs: 1,
            against_pytorch: false,
            data: None,
        };
        let refused = cases(&setup).map(|cases| cases.len()).unwrap_err();
        assert!(refused.to_string().contains("--features cuda"), "{refused}");
    }

    #[test]
    fn settings_are_ones_that_a_configuration_takes() {
        let network = TRAINED[0].0;
        for precision in PRECISIONS {
            let settings = settings(precision);
            let config = network.config_with(&settings.each_ref().map(String::as_str)).unwrap();
            assert_eq!(config.precision.name(), precision);
        }
    }
}
