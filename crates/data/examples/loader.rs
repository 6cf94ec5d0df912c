//! Measures how many images a second the loader makes:
//!
//! ```text
//! cargo run --release -p fewshot-data --example loader -- mini-imagenet ROOT 42 train 2
//! ```
//!
//! The arguments are kind and root of the source, image size, `train` or `eval`, and threads.

use std::time::Instant;

use fewshot_data::{Error, Loader, LoaderOptions, SourceSpec, Split, TrainTransform, Transform};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let [kind, root, size, transform, threads] = &arguments[..] else {
        return Err("arguments: KIND ROOT SIZE train|eval THREADS".into());
    };
    let mut spec = SourceSpec::new(kind.parse()?, root);
    spec.allow_partial = true;
    let start = Instant::now();
    let dataset = spec.open(Split::Base)?;
    println!("opened {} images in {:.2?}", dataset.len(), start.elapsed());
    let transform = match transform.as_str() {
        "train" => Transform::train(TrainTransform::new(size.parse()?)),
        _ => Transform::eval(size.parse()?),
    };
    let options = LoaderOptions {
        shuffle: true,
        threads: Some(threads.parse()?),
        ..LoaderOptions::default()
    };
    let loader = Loader::new(dataset, transform, options)?;
    for epoch in 0..3 {
        let start = Instant::now();
        let images: usize =
            loader.epoch(epoch).map(|batch| Ok(batch?.labels.len())).sum::<Result<_, Error>>()?;
        let seconds = start.elapsed().as_secs_f64();
        println!("epoch {epoch}: {:.0} images/s", images as f64 / seconds);
    }
    Ok(())
}
