//! Speed of the networks: training steps and feature extraction, with images in memory.

use std::time::Instant;

use candle_core::Device;
use fewshot_experiment::Model;
use fewshot_models::{BackboneKind, Pass};
use serde_json::json;

use super::Error;
use super::case::{Case, Measure, Setup};
use super::row::Better;
use super::training::{CLASSES, Network, Training};

/// Networks, each with the steps of one measurement, which take about a second on two cores.
const TRAINED: [(Network, usize); 5] = [
    (Network { backbone: BackboneKind::ResNet18, size: 84, batch: 64 }, 1),
    (Network { backbone: BackboneKind::ResNet10, size: 84, batch: 64 }, 2),
    (Network { backbone: BackboneKind::ResNet12, size: 84, batch: 16 }, 1),
    (Network { backbone: BackboneKind::ResNet18, size: 224, batch: 8 }, 1),
    (Network { backbone: BackboneKind::Conv4, size: 84, batch: 128 }, 2),
];
/// Batch sizes at one image size, then image sizes at one batch size.
const SCALED: [(Network, usize); 8] = [
    (Network { backbone: BackboneKind::ResNet18, size: 84, batch: 4 }, 8),
    (Network { backbone: BackboneKind::ResNet18, size: 84, batch: 16 }, 4),
    (Network { backbone: BackboneKind::ResNet18, size: 84, batch: 64 }, 1),
    (Network { backbone: BackboneKind::ResNet18, size: 84, batch: 256 }, 1),
    (Network { backbone: BackboneKind::ResNet18, size: 42, batch: 16 }, 8),
    (Network { backbone: BackboneKind::ResNet18, size: 112, batch: 16 }, 2),
    (Network { backbone: BackboneKind::ResNet18, size: 168, batch: 16 }, 1),
    (Network { backbone: BackboneKind::ResNet18, size: 224, batch: 16 }, 1),
];
const EXTRACTED: (Network, usize) =
    (Network { backbone: BackboneKind::ResNet18, size: 84, batch: 128 }, 1);

/// Returns the rows of training steps, one for each network.
pub fn training(setup: &Setup) -> Vec<Case> {
    steps(setup, &TRAINED)
}

/// Returns the rows of training steps of ResNet-18 with other batch and image sizes.
pub fn scaling(setup: &Setup) -> Vec<Case> {
    steps(setup, &SCALED)
}

fn steps(setup: &Setup, networks: &[(Network, usize)]) -> Vec<Case> {
    let case = |&sized| {
        case("train", setup, sized, |network| {
            let mut training = Training::new(&network.config()?)?;
            let (images, labels) = (network.images()?, network.labels()?);
            Ok(Box::new(move || {
                Ok(f64::from(training.step(&images, &labels)?.to_scalar::<f32>()?))
            }))
        })
    };
    networks.iter().map(case).collect()
}

/// Returns the row of feature extraction, as [`evaluator::extract_features`] does it.
pub fn features(setup: &Setup) -> Vec<Case> {
    vec![case("features", setup, EXTRACTED, |network| {
        let config = network.config()?;
        let model = Model::new(&config, CLASSES, &Device::Cpu)?.frozen(&config, &Device::Cpu)?;
        let images = network.images()?;
        Ok(Box::new(move || {
            let features = model.backbone.forward(&images, Pass::Eval)?;
            let features: Vec<f32> = features.flatten_all()?.to_vec1()?;
            Ok(f64::from(features[0]))
        }))
    })]
}

/// Returns a row in images/s. The closure that `work` returns processes one batch, and returns a
/// number that depends on all of the work, so that none of it can be deferred.
fn case(
    kind: &'static str,
    setup: &Setup,
    (network, steps): (Network, usize),
    work: impl FnOnce(Network) -> Result<Measure, Error> + 'static,
) -> Case {
    let (network, steps) = if setup.smallest { (network.smallest(), 1) } else { (network, steps) };
    let Network { backbone, size, batch } = network;
    let request = json!({
        "kind": kind,
        "backbone": backbone.to_string(),
        "size": size,
        "batch": batch,
        "steps": steps,
    });
    let ours = move || -> Result<Measure, Error> {
        let mut work = work(network)?;
        Ok(Box::new(move || {
            let started = Instant::now();
            for _ in 0..steps {
                work()?;
            }
            Ok((batch * steps) as f64 / started.elapsed().as_secs_f64())
        }))
    };
    Case::new(format!("{kind} {network}"), "images/s", Better::Higher, ours).against(request)
}
