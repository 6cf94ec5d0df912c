//! Times the published fine-tuning on 600 episodes, 5-way 5-shot with 16 queries, of random
//! 512-number features: `cargo run --release -p fewshot-episodes --example speed`.

use std::time::Instant;

use fewshot_episodes::heads::FineTune;
use fewshot_episodes::{EpisodeShape, Error, FeatureBank, Sampler, evaluate};
use fewshot_losses::ClassifierKind;
use fewshot_seed::stream;
use rand::Rng;

const DIM: usize = 512;
const CLASSES: u32 = 20;
const IMAGES: u32 = 100;
const EPISODES: usize = 600;

fn main() -> Result<(), Error> {
    let mut rng = stream(0, "speed", &[]);
    let labels: Vec<u32> = (0..CLASSES * IMAGES).map(|image| image / IMAGES).collect();
    let features = (0..labels.len() * DIM).map(|_| rng.random()).collect();
    let bank = FeatureBank::new(features, DIM, labels)?;
    let shape = EpisodeShape { way: 5, shot: 5, query: 16 };
    let sampler = Sampler::new(bank.labels(), shape, 0)?;
    let threads = rayon::current_num_threads();
    println!("{EPISODES} episodes, 5-way 5-shot, {DIM} numbers, {threads} threads");
    for kind in ClassifierKind::ALL {
        let head = FineTune::published(kind);
        let start = Instant::now();
        evaluate(&bank, &sampler, &head, EPISODES, 0, &|| ())?;
        println!("{:12} {:.3} s", kind.name(), start.elapsed().as_secs_f64());
    }
    Ok(())
}
