//! Speed of fine-tuning, on features in memory.

use std::time::Instant;

#[cfg(feature = "cuda")]
use fewshot_episodes::evaluate_on_gpu;
use fewshot_episodes::heads::FineTune;
use fewshot_episodes::{EpisodeShape, FeatureBank, Sampler, evaluate};
use fewshot_losses::ClassifierKind;
use fewshot_seed::stream;
use rand::Rng;
use serde_json::json;

use super::Error;
use super::case::{Case, Measure, Setup};
use super::row::Better;

/// Novel classes of mini-ImageNet.
const CLASSES: u32 = 20;
/// Images of each class: fewer than mini-ImageNet's 600, which changes no time.
const IMAGES: u32 = 100;
/// Features of ResNet-10 and ResNet-18.
const DIM: usize = 512;
const SHAPE: EpisodeShape = EpisodeShape { way: 5, shot: 5, query: 16 };
/// Episodes of a published evaluation.
const EPISODES: usize = 600;
/// Episodes of PyTorch, which take a quarter of a second each.
const PYTORCH_EPISODES: usize = 3;

/// Returns the one row on the CPU, in episodes/s.
pub fn cases(setup: &Setup) -> Vec<Case> {
    let run = |bank: &FeatureBank, sampler: &Sampler, settings: &FineTune, episodes| {
        evaluate(bank, sampler, settings, episodes, 0, &|| ()).map(drop)
    };
    vec![case(setup, "cpu", run)]
}

/// Returns the row on a GPU, in episodes/s.
#[cfg(feature = "cuda")]
pub fn on_gpu(setup: &Setup) -> Case {
    let run = |bank: &FeatureBank, sampler: &Sampler, settings: &FineTune, episodes| {
        let device = fewshot_ops::cuda::open(0)?;
        evaluate_on_gpu(&device, bank, sampler, settings, episodes, 0, &|_| ()).map(drop)
    };
    case(setup, "cuda", run)
}

fn case(
    setup: &Setup,
    device: &'static str,
    run: impl Fn(&FeatureBank, &Sampler, &FineTune, usize) -> Result<(), fewshot_episodes::Error>
    + 'static,
) -> Case {
    let (episodes, theirs) = if setup.smallest { (4, 1) } else { (EPISODES, PYTORCH_EPISODES) };
    let EpisodeShape { way, shot, query } = SHAPE;
    let request = json!({
        "kind": "episodes",
        "device": device,
        "way": way,
        "shot": shot,
        "query": query,
        "dim": DIM,
        "episodes": theirs,
    });
    let ours = move || -> Result<Measure, Error> {
        let bank = bank()?;
        let sampler = Sampler::new(bank.labels(), SHAPE, 0)?;
        let settings = FineTune::published(ClassifierKind::NegCosine);
        Ok(Box::new(move || {
            let started = Instant::now();
            run(&bank, &sampler, &settings, episodes)?;
            Ok(episodes as f64 / started.elapsed().as_secs_f64())
        }))
    };
    let prefix = if device == "cpu" { "" } else { "gpu " };
    let name = format!("{prefix}episodes {way}-way {shot}-shot, {episodes} fine-tuned");
    Case::new(name, "episodes/s", Better::Higher, ours).against(request)
}

/// Draws features scattered about a center for each class, none below zero, as after a ReLU.
fn bank() -> Result<FeatureBank, Error> {
    let mut rng = stream(0, "bench", &[]);
    let mut draw = || (0..DIM).map(|_| rng.random::<f32>()).collect::<Vec<_>>();
    let centers: Vec<_> = (0..CLASSES).map(|_| draw()).collect();
    let labels: Vec<u32> = (0..CLASSES * IMAGES).map(|image| image / IMAGES).collect();
    let mut features = Vec::with_capacity(labels.len() * DIM);
    for &label in &labels {
        let (center, noise) = (&centers[label as usize], draw());
        let scatter = |(c, n): (&f32, f32)| (2.0 * c + 3.0 * n - 1.5).max(0.0);
        features.extend(center.iter().zip(noise).map(scatter));
    }
    Ok(FeatureBank::new(features, DIM, labels)?)
}
