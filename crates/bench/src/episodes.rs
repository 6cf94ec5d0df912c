//! Speed of adaptation heads, on features in memory.

use std::time::Instant;

#[cfg(feature = "cuda")]
use fewshot_episodes::evaluate_on_gpu;
use fewshot_episodes::heads::{FineTune, Logistic};
use fewshot_episodes::{EpisodeShape, FeatureBank, Head, Sampler, evaluate};
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

/// Episodes of scikit-learn, which take some milliseconds each.
const SCIKIT_LEARN_EPISODES: usize = 60;

/// Returns the rows on the CPU, in episodes/s.
pub fn cases(setup: &Setup) -> Vec<Case> {
    let run = |bank: &FeatureBank, sampler: &Sampler, head: &dyn Head, episodes| {
        evaluate(bank, sampler, head, episodes, 0, &|| ()).map(drop)
    };
    let fine_tune = FineTune::published(ClassifierKind::NegCosine);
    vec![case(setup, "cpu", fine_tune, run), case(setup, "cpu", Logistic::default(), run)]
}

/// Returns the row on a GPU, in episodes/s.
#[cfg(feature = "cuda")]
pub fn on_gpu(setup: &Setup) -> Case {
    let run = |bank: &FeatureBank, sampler: &Sampler, head: &dyn Head, episodes| {
        let device = fewshot_ops::cuda::open(0)?;
        evaluate_on_gpu(&device, bank, sampler, head, episodes, 0, &|_| ()).map(drop)
    };
    case(setup, "cuda", FineTune::published(ClassifierKind::NegCosine), run)
}

fn case(
    setup: &Setup,
    device: &'static str,
    head: impl Head + Clone,
    run: impl Fn(&FeatureBank, &Sampler, &dyn Head, usize) -> Result<(), fewshot_episodes::Error>
    + 'static,
) -> Case {
    let is_tuned = head.name() == "finetune";
    let theirs = if is_tuned { PYTORCH_EPISODES } else { SCIKIT_LEARN_EPISODES };
    let (episodes, theirs) = if setup.smallest { (4, 1) } else { (EPISODES, theirs) };
    let EpisodeShape { way, shot, query } = SHAPE;
    let request = json!({
        "kind": "episodes",
        "device": device,
        "head": head.name(),
        "way": way,
        "shot": shot,
        "query": query,
        "dim": DIM,
        "episodes": theirs,
    });
    let ours = move || -> Result<Measure, Error> {
        let bank = bank()?;
        let sampler = Sampler::new(bank.labels(), SHAPE, 0)?;
        let head = head.clone();
        Ok(Box::new(move || {
            let started = Instant::now();
            run(&bank, &sampler, &head, episodes)?;
            Ok(episodes as f64 / started.elapsed().as_secs_f64())
        }))
    };
    let prefix = if device == "cpu" { "" } else { "gpu " };
    let what = if is_tuned { "fine-tuned" } else { "by logistic regression" };
    let name = format!("{prefix}episodes {way}-way {shot}-shot, {episodes} {what}");
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
