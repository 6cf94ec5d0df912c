//! Estimates of a training's time and disk space.

use std::time::Instant;

use fewshot_bench::training as bench;
use fewshot_data::Split;
use fewshot_datasets::{Expected, NAMES, figures};
use fewshot_experiment::{Config, Model, SplitConfig, device, open_split};

use super::plan::Training;

/// Pixels in a batch of the steps that are timed: small images reach their full speed only in large
/// batches.
const PIXELS: usize = 64 * 84 * 84;
const STEPS: u32 = 3;

/// Estimated cost of a training.
#[derive(Clone, Copy, Debug)]
pub struct Estimate {
    /// Number of base images.
    pub images: usize,
    /// Whether all images are there.
    pub is_ready: bool,
    /// Seconds, if its device is present and could be measured.
    pub seconds: Option<f64>,
    /// Bytes of the finished run folder.
    pub bytes: u64,
}

/// Measures, once, a few steps of each distinct network.
#[derive(Default)]
pub struct Estimator {
    /// Networks, with images per second.
    measured: Vec<(String, f64)>,
}

impl Estimator {
    /// Estimates the cost of the whole training.
    ///
    /// # Errors
    /// Out of memory.
    pub fn estimate(&mut self, training: &Training) -> Result<Estimate, String> {
        let config = &training.config;
        let (base, has_base) = images(&config.dataset.base);
        let (val, has_val) = images(&config.dataset.val);
        let is_same = config.dataset.novel == config.dataset.val;
        let (novel, has_novel) = if is_same { (0, has_val) } else { images(&config.dataset.novel) };
        let seconds = match device(config) {
            Err(_) => None,
            Ok(_) => {
                let speed = self.images_per_second(config)?;
                // A pass without gradients takes about a third of a step. The report sees base
                // images once more, and all others, by both checkpoints.
                let steps = (config.train.epochs * base) as f64;
                Some((steps + 2.0 / 3.0 * (base + val + novel) as f64) / speed)
            }
        };
        Ok(Estimate {
            images: base,
            is_ready: has_base && has_val && has_novel,
            seconds,
            bytes: bytes(config)?,
        })
    }

    fn images_per_second(&mut self, config: &Config) -> Result<f64, String> {
        let method = &config.method;
        let batch = PIXELS / (method.image_size * method.image_size);
        let batch = batch.clamp(1, config.train.batch_size);
        let network = bench::Network { backbone: method.backbone, size: method.image_size, batch };
        let on =
            [format!("device={}", config.device), format!("precision={}", config.precision.name())];
        let name = format!("{network} {}", on.join(" "));
        if let Some((_, speed)) = self.measured.iter().find(|(measured, _)| *measured == name) {
            return Ok(*speed);
        }
        let speed = measure(network, &on).map_err(|error| error.to_string())?;
        self.measured.push((name, speed));
        Ok(speed)
    }
}

fn measure(network: bench::Network, on: &[String; 2]) -> Result<f64, fewshot_bench::Error> {
    let config = network.config_with(&on.each_ref().map(String::as_str))?;
    let mut training = bench::Training::new(&config)?;
    let [images, labels] = training.to_device(&config, &network.images()?, &network.labels()?)?;
    // Reading the loss waits for a GPU.
    training.step(&images, &labels)?.to_scalar::<f32>()?;
    let started = Instant::now();
    for step in 1..=STEPS {
        let loss = training.step(&images, &labels)?;
        if step == STEPS {
            loss.to_scalar::<f32>()?;
        }
    }
    Ok(f64::from(STEPS) * network.batch as f64 / started.elapsed().as_secs_f64())
}

/// Returns the number of images of a split, and whether they are there; if not, the published
/// number.
fn images(split: &SplitConfig) -> (usize, bool) {
    match open_split(split) {
        Ok(dataset) => (dataset.len(), true),
        Err(_) => (published(split), false),
    }
}

fn published(split: &SplitConfig) -> usize {
    let source = split.source.kind.as_str();
    if !NAMES.contains(&source) {
        return 0;
    }
    let of = |expected: &Expected| match split.source.images_per_class {
        Some(per_class) => expected.images.min(expected.classes * per_class),
        None => expected.images,
    };
    let splits = figures(source).splits;
    let is_wanted = |e: &&Expected| [e.split, Split::All].contains(&split.split);
    splits.iter().filter(is_wanted).map(of).sum()
}

/// Returns the bytes of two checkpoints, each with two moments of every parameter.
fn bytes(config: &Config) -> Result<u64, String> {
    let outputs = config.method.outputs.unwrap_or(1);
    let model =
        Model::new(config, outputs, &candle_core::Device::Cpu).map_err(|e| e.to_string())?;
    let numbers: usize = model.parameters.all().values().map(|var| var.elem_count()).sum();
    Ok(2 * 3 * 4 * numbers as u64)
}

#[cfg(test)]
mod tests {
    use super::super::budget::Budget;
    use super::super::cells::CELLS;
    use super::super::plan::plan;
    use super::*;

    #[test]
    fn a_paper_sized_training_is_estimated_without_its_images() {
        let budget = Budget::read("paper").unwrap();
        let folder = tempfile::tempdir().unwrap();
        let (mut trainings, _) = plan(&budget, &CELLS[15..16], 1, folder.path()).unwrap();
        // Whatever there is on this machine.
        let config = &mut trainings[0].config;
        for split in [&mut config.dataset.base, &mut config.dataset.val, &mut config.dataset.novel]
        {
            split.source.root = folder.path().join("absent");
        }
        let estimate = Estimator::default().estimate(&trainings[0]).unwrap();
        assert_eq!((estimate.images, estimate.is_ready), (5_885, false));
        // ResNet-18 with its classifier has 11.3 million parameters: 45 MB, six times.
        assert!((268_000_000..273_000_000).contains(&estimate.bytes), "{}", estimate.bytes);
        assert!(estimate.seconds.unwrap() > 60.0);
    }

    #[test]
    fn no_time_is_promised_for_a_device_that_is_not_there() {
        let budget = Budget::read("gpu-half-hour").unwrap();
        let (trainings, _) = plan(&budget, &CELLS[..1], 1, "out".as_ref()).unwrap();
        let estimate = Estimator::default().estimate(&trainings[0]).unwrap();
        assert!(estimate.seconds.is_none());
    }
}
