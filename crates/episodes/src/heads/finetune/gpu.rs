//! Fine-tuning of many episodes at once on a GPU.

use candle_core::{Device, Tensor};
use fewshot_ops::cuda::episodes::{Descent, Episodes, adapt};
use fewshot_seed::stream;
use rand::seq::SliceRandom;
use rayon::prelude::*;

use super::{FineTune, Initial};
use crate::{
    Accuracy, Episode, Error, FeatureBank, Sampler,
    evaluate::{accuracy_of, support_of},
    head::argmax,
    vector::MIN_NORM,
};

/// Bytes of inner products that are on the GPU at a time.
const MEMORY: usize = 256 << 20;

/// Fine-tunes as many episodes at once as have inner products that fit into 256 MiB.
///
/// Every draw is the same as on the CPU, and sums are taken in double precision, so that accuracies
/// differ only by queries at a tie.
pub(super) fn evaluate(
    settings: &FineTune,
    device: &Device,
    bank: &FeatureBank,
    sampler: &Sampler,
    episodes: usize,
    seed: u64,
    on_episodes: &dyn Fn(usize),
) -> Result<Accuracy, Error> {
    settings.check()?;
    let shape = sampler.shape();
    let (supports, queries) = (shape.way * shape.shot, shape.way * shape.query);
    let has_bias = settings.classifier.has_bias();
    let columns = bank.dim() + usize::from(has_bias);
    let features: Vec<f32> = (0..bank.len())
        .flat_map(|image| bank.feature(image).iter().copied().chain(has_bias.then_some(1.0)))
        .collect();
    let features = Tensor::from_vec(features, (bank.len(), columns), device)?;
    let labels: Vec<u32> = (0..supports as u32).map(|row| row / shape.shot as u32).collect();
    let labels = Tensor::from_vec(labels, supports, device)?;

    let width = supports + shape.way;
    let at_once = (MEMORY / (8 * (width + queries) * width)).max(1);
    let mut per_episode = Vec::with_capacity(episodes);
    while per_episode.len() < episodes {
        let first = per_episode.len();
        let numbers = first as u64..(first + at_once).min(episodes) as u64;
        let drawn: Vec<_> = numbers
            .into_par_iter()
            .map(|n| Draws::new(bank, &sampler.episode(n), settings, seed, n))
            .collect::<Result<_, _>>()?;
        let count = drawn.len();
        let all = |part: fn(&Draws) -> &[u32], shape: &[usize]| {
            Tensor::from_vec(drawn.iter().flat_map(part).copied().collect(), shape, device)
        };
        let initial: Vec<f32> = drawn.iter().flat_map(|drawn| &drawn.initial).copied().collect();
        let scores = adapt(
            &Episodes {
                bank: &features,
                initial: &Tensor::from_vec(initial, (count, shape.way, columns), device)?,
                rows: &all(|drawn| &drawn.rows, &[count, supports + queries])?,
                labels: &labels,
                order: &all(|drawn| &drawn.order, &[count, settings.passes.max(1), supports])?,
            },
            &descent(settings),
        )?;
        let scores = scores.flatten_all()?.to_vec1::<f64>()?;
        for scores in scores.chunks_exact(queries * shape.way) {
            if !scores.iter().all(|score| score.is_finite()) {
                return Err(Error::Diverged);
            }
            let predictions = scores.chunks_exact(shape.way).map(argmax);
            per_episode.push(accuracy_of(predictions, shape.query));
        }
        on_episodes(count);
    }
    Ok(Accuracy::from_episodes(per_episode))
}

fn descent(settings: &FineTune) -> Descent {
    let kind = settings.classifier;
    // Without momentum, dampening has no effect.
    let take = if settings.momentum == 0.0 { 1.0 } else { 1.0 - settings.dampening };
    Descent {
        passes: settings.passes,
        batch_size: settings.batch_size,
        is_cosine: kind.is_cosine(),
        scale: kind.effective_scale(settings.scale),
        margin: kind.effective_margin(settings.margin),
        keep: settings.momentum,
        take,
        rate: settings.learning_rate,
        decay: settings.weight_decay,
        min_norm: MIN_NORM,
    }
}

/// The images of an episode, and everything that fine-tuning on it draws.
struct Draws {
    /// `[S + Q]`: support images, then queries.
    rows: Vec<u32>,
    /// `[way, D]`, or `[way, D + 1]` with the biases if the classifier has them.
    initial: Vec<f32>,
    /// `[max(passes, 1), S]`: the order of support images in each pass.
    order: Vec<u32>,
}

impl Draws {
    fn new(
        bank: &FeatureBank,
        episode: &Episode,
        settings: &FineTune,
        seed: u64,
        number: u64,
    ) -> Result<Self, Error> {
        let mut rng = stream(seed, "finetune", &[number]);
        let initial = support_of(bank, episode, |support| {
            Ok(Initial::random(settings.classifier, support, &mut rng))
        })?;
        let Initial { weight, bias } = initial;
        let bias = |class: usize| bias.as_ref().map(|bias| bias[class]);
        let weights = weight.chunks_exact(bank.dim()).enumerate();
        let initial =
            weights.flat_map(|(class, row)| row.iter().copied().chain(bias(class))).collect();
        let mut order: Vec<u32> = (0..episode.support.len() as u32).collect();
        let mut orders = Vec::with_capacity(settings.passes * order.len());
        for _ in 0..settings.passes.max(1) {
            order.shuffle(&mut rng);
            orders.extend_from_slice(&order);
        }
        let images = episode.support.iter().chain(&episode.query);
        Ok(Self { rows: images.map(|&image| image as u32).collect(), initial, order: orders })
    }
}
