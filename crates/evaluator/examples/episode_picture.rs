//! Draws one 5-way 1-shot episode of novel classes as a picture: a row per class with its support
//! image, then its queries, framed in green where a checkpoint classifies them correctly and in red
//! where it does not.
//!
//! ```console
//! $ cargo run --release -p trainer
//! $ cargo run --release -p evaluator --example episode_picture -- \
//!       checkpoints/glyphs/quickstart/best.safetensors docs/images/episode.png
//! ```

use std::error::Error;
use std::path::Path;

use candle_core::Device;
use evaluator::extract_features;
use fewshot_episodes::Support;
use fewshot_experiment::{Checkpoint, open_split, sampler};
use fewshot_seed::stream;
use image::imageops::{FilterType, resize};
use image::{GenericImage, Rgb, RgbImage};

/// Side of an image in the picture, and the width of its frame, in pixels.
const SIDE: u32 = 48;
const FRAME: u32 = 3;
/// Space between the support images and the queries, in pixels.
const GAP: u32 = 20;

const GREEN: Rgb<u8> = Rgb([46, 140, 70]);
const RED: Rgb<u8> = Rgb([205, 50, 45]);
const GREY: Rgb<u8> = Rgb([120, 120, 120]);

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let [checkpoint, out] = &arguments[..] else {
        return Err("usage: episode_picture CHECKPOINT OUT.png".into());
    };
    let checkpoint_path = Path::new(checkpoint);
    let checkpoint = Checkpoint::read(checkpoint_path)?;
    let config = checkpoint.config.check()?;
    let model = checkpoint.model(checkpoint_path, &config, &Device::Cpu)?;
    let novel = open_split(&config.dataset.novel)?;
    let bank = extract_features(&config, &model, &novel, &Device::Cpu)?;

    let episode = sampler(&config, bank.labels(), 1)?.episode(0);
    let way = episode.classes.len();
    let support: Vec<f32> =
        episode.support.iter().flat_map(|&image| bank.feature(image)).copied().collect();
    let labels: Vec<usize> = (0..way).collect();
    let support = Support::new(&support, bank.dim(), &labels, way)?;
    let mut rng = stream(config.test.seed, "finetune", &[0]);
    let classifier = config.test.head.fit(&support, &mut rng)?;

    let queries = episode.query.len() / way;
    let pitch = SIDE + 2 * FRAME + 2;
    let mut picture = RgbImage::from_pixel(
        pitch * (1 + queries as u32) + GAP,
        pitch * way as u32,
        Rgb([255, 255, 255]),
    );
    let mut correct = 0;
    for class in 0..way {
        let top = class as u32 * pitch;
        put(&mut picture, &novel.load(episode.support[class])?, 0, top, GREY)?;
        for column in 0..queries {
            let image = episode.query[class * queries + column];
            let is_correct = classifier.predict(bank.feature(image))? == class;
            correct += usize::from(is_correct);
            let left = pitch * (1 + column as u32) + GAP;
            let color = if is_correct { GREEN } else { RED };
            put(&mut picture, &novel.load(image)?, left, top, color)?;
        }
    }
    picture.save(out)?;
    println!("{correct} of {} queries are classified correctly", episode.query.len());
    Ok(())
}

/// Puts an image with a frame of `color` at (`left`, `top`).
fn put(
    picture: &mut RgbImage,
    image: &RgbImage,
    left: u32,
    top: u32,
    color: Rgb<u8>,
) -> Result<(), image::ImageError> {
    let framed = RgbImage::from_pixel(SIDE + 2 * FRAME, SIDE + 2 * FRAME, color);
    picture.copy_from(&framed, left, top)?;
    let image = resize(image, SIDE, SIDE, FilterType::Triangle);
    picture.copy_from(&image, left + FRAME, top + FRAME)
}
