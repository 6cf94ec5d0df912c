//! Evaluates a few-shot checkpoint on episodes of unseen classes.

use clap::{Parser, ValueEnum};
use evaluator::{SplitResults, evaluate_split};
use fewshot_data::Split;
use fewshot_experiment::{Checkpoint, Config, Error, device, open_split, sampler};
use std::path::PathBuf;
use std::process::ExitCode;

/// Evaluates a checkpoint on episodes of classes that its training did not see.
///
/// The checkpoint carries its configuration, so that nothing else is needed; any setting can
/// be overridden by a key=value behind the options, such as
/// dataset.novel.root=/data/CUB_200_2011.tgz.
#[derive(Parser)]
#[command(
    version,
    after_help = "Examples:
  evaluator --checkpoint checkpoints/glyphs/quickstart/best.safetensors
  evaluator --checkpoint best.safetensors --split val --shots 1,5,20 --head prototype
  evaluator --checkpoint best.safetensors dataset.novel.source=cub dataset.novel.root=CUB_200_2011.tgz

Exit status: 0 done, 2 anything that was wrong."
)]
struct Arguments {
    /// A checkpoint that trainer wrote
    #[arg(long, value_name = "PATH")]
    checkpoint: PathBuf,
    /// Which classes: base, base-val, val or novel
    #[arg(long, default_value = "novel")]
    split: Split,
    /// Classes an episode [default: the checkpoint's, usually 5]
    #[arg(long, value_name = "N")]
    way: Option<usize>,
    /// Support images a class, one evaluation each [default: the checkpoint's, usually 1,5]
    #[arg(long, value_name = "K,…", value_delimiter = ',')]
    shots: Vec<usize>,
    /// Query images a class [default: the checkpoint's, usually 16]
    #[arg(long, value_name = "N")]
    query: Option<usize>,
    /// Episodes for each number of shots [default: the checkpoint's, usually 600]
    #[arg(long, value_name = "N")]
    episodes: Option<usize>,
    /// How to adapt to a support set: finetune (published), prototype or nearest
    /// [default: the checkpoint's, usually finetune]
    #[arg(long, value_name = "HEAD")]
    head: Option<String>,
    /// Seed of the episodes: runs of one seed see the same [default: the checkpoint's
    /// test.seed, usually 0]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// How to print the result
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// The same as --format json
    #[arg(long)]
    json: bool,
    /// Settings to override
    #[arg(value_name = "KEY=VALUE")]
    settings: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Markdown,
    Json,
}

impl Arguments {
    /// The checkpoint's configuration with what the command line says.
    fn config(&self, checkpoint: &Checkpoint) -> Result<Config, Error> {
        let mut raw = checkpoint.config.clone();
        let mut set = |key: &str, value: Option<String>| {
            value.map_or(Ok(()), |value| raw.set(&format!("{key}={value}")))
        };
        set("test.way", self.way.map(|n| n.to_string()))?;
        set("test.query", self.query.map(|n| n.to_string()))?;
        set("test.episodes", self.episodes.map(|n| n.to_string()))?;
        set("test.seed", self.seed.map(|n| n.to_string()))?;
        set("test.head", self.head.clone())?;
        let shots = (!self.shots.is_empty()).then(|| format!("{:?}", self.shots));
        set("test.shots", shots)?;
        self.settings.iter().try_for_each(|setting| raw.set(setting))?;
        raw.check()
    }
}

fn main() -> ExitCode {
    fewshot_ops::keep_freed_memory();
    match run(&Arguments::parse()) {
        Ok(report) => {
            println!("{report}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}

fn run(arguments: &Arguments) -> Result<String, Error> {
    let checkpoint = Checkpoint::read(&arguments.checkpoint)?;
    let config = arguments.config(&checkpoint)?;
    let device = device(&config)?;
    let dataset = open_split(&config.split(arguments.split))?;
    for &shot in &config.test.shots {
        sampler(&config, dataset.labels(), shot)?;
    }
    let model = checkpoint.model(&arguments.checkpoint, &config, &device)?;
    let results = evaluate_split(&config, &model, &dataset, &device)?;
    Ok(report(arguments, &checkpoint, &config, dataset.name(), &results))
}

fn report(
    arguments: &Arguments,
    checkpoint: &Checkpoint,
    config: &Config,
    dataset: &str,
    results: &SplitResults,
) -> String {
    let (test, method) = (&config.test, &config.method);
    match if arguments.json { Format::Json } else { arguments.format } {
        Format::Json => serde_json::json!({
            "checkpoint": arguments.checkpoint,
            "epoch": checkpoint.state.epochs,
            "backbone": method.backbone.name(),
            "classifier": method.classifier.name(),
            "margin": method.margin,
            "dataset": dataset,
            "split": arguments.split.to_string(),
            "way": test.way,
            "query": test.query,
            "seed": test.seed,
            "version": env!("CARGO_PKG_VERSION"),
            "results": results,
        })
        .to_string(),
        Format::Markdown => {
            let mut table = format!("| {dataset}, {}-way |", test.way);
            results.keys().for_each(|shot| table += &format!(" {shot}-shot |"));
            table += &format!("\n|---|{}\n| {} |", "---|".repeat(results.len()), test.head);
            results.values().for_each(|result| table += &format!(" {result} |"));
            table
        }
        Format::Text => {
            let epoch = checkpoint.state.epochs;
            let mut text = format!(
                "{} with {} (margin {}), epoch {epoch}, on {dataset}: {}-way, {} queries, {} head",
                method.backbone, method.classifier, method.margin, test.way, test.query, test.head
            );
            for (shot, result) in results {
                text += &format!("\n{shot:>3}-shot  {result} %  ({} episodes)", result.episodes);
            }
            text
        }
    }
}
