//! Evaluates a few-shot checkpoint on episodes of unseen classes.

#![forbid(unsafe_code)]

mod place;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use evaluator::{
    Comparison, Evaluation, Report, compare, evaluate_bank, extract_features, head_of,
    use_episodes_of, use_published_protocol,
};
use fewshot_data::{Dataset, Split};
use fewshot_experiment::{
    Checkpoint, Config, Error, Model, RawConfig, device, open_split, sampler, start,
};
use place::Place;

/// Evaluates a checkpoint on episodes of classes that its training did not see.
///
/// A checkpoint of trainer carries its configuration, so that nothing else is needed. One of
/// PyTorch, as the published code saves it, tells backbone and classifier by its tensors (softmax
/// by its bias, else neg-cosine is assumed); the dataset has to be named, by --config or
/// dataset.source=… dataset.root=…. Nothing in it is executed.
///
/// Without options a checkpoint is measured by the published protocol, whatever its training's [test] said: 600 episodes,
/// 5-way, 16 queries, 1 and 5 shots, fine-tuning its own kind of classifier with the published
/// settings; mean over episodes ± 1.96 σ/√n. Only test.seed and test.batch_size stay the
/// checkpoint's. Settings count in this order: checkpoint, protocol, --config, options, and
/// key=value behind them, such as dataset.novel.root=/data/CUB_200_2011.tgz.
#[derive(Parser)]
#[command(
    version,
    after_help = "Examples:
  evaluator --checkpoint checkpoints/glyphs/quickstart/best.safetensors
  evaluator --checkpoint best.safetensors --split val --shots 1,5,20 --head prototype
  evaluator --checkpoint negative.safetensors --compare zero.safetensors --episodes 2000
  evaluator --checkpoint best_model.tar --config configs/cub/neg-cosine-5shot.toml
  evaluator --checkpoint best_model.tar --backbone resnet18 --classifier softmax \
            dataset.source=cub dataset.root=CUB_200_2011.tgz
  evaluator --checkpoint hf://OWNER/REPOSITORY/model.safetensors
  evaluator --checkpoint hf://OWNER/REPOSITORY/model.safetensors@v1 --compare best.safetensors
  evaluator --checkpoint best.safetensors dataset.novel.source=cub dataset.novel.root=CUB_200_2011.tgz

A checkpoint hf://OWNER/REPOSITORY/FILE[@REVISION] is of the Hugging Face hub: verified, kept in
the cache that all of the hub's programs share, and taken from there, unasked, ever after. A branch
or tag means what it meant when its file was got; a commit, which results name, is always the same.
Environment: HF_ENDPOINT (another hub), HF_HOME (its folder `hub` is the cache; ~/.cache/huggingface),
HF_TOKEN (for what is not public), HF_HUB_OFFLINE=1 or FEWSHOT_OFFLINE=1 (the cache only),
HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, NO_PROXY, SSL_CERT_FILE.

Exit status: 0 done, 2 anything that was wrong."
)]
struct Arguments {
    /// A checkpoint of trainer (.safetensors) or of PyTorch (.tar, .pth), or hf://… for one of
    /// the Hugging Face hub
    #[arg(long, value_name = "PATH")]
    checkpoint: PathBuf,
    /// A second checkpoint, for the same episodes of the first one's dataset; also prints how
    /// much better the first is. Options and settings apply to both, but --backbone,
    /// --classifier, --image-size and the [method] of --config to the first only
    #[arg(long, value_name = "PATH")]
    compare: Option<PathBuf>,
    /// Settings in a file, over the checkpoint's
    #[arg(long, value_name = "PATH")]
    config: Option<PathBuf>,
    /// conv4, resnet10, resnet12, resnet18 or wrn28-10 [default: the checkpoint's]
    #[arg(long, value_name = "NAME")]
    backbone: Option<String>,
    /// softmax, cosine, neg-softmax or neg-cosine [default: the checkpoint's]
    #[arg(long, value_name = "NAME")]
    classifier: Option<String>,
    /// Side of the images, in pixels [default: the checkpoint's]
    #[arg(long, value_name = "N")]
    image_size: Option<usize>,
    /// Which classes: base, base-val, val or novel
    #[arg(long, default_value = "novel")]
    split: Split,
    /// Classes an episode [default: 5]
    #[arg(long, value_name = "N")]
    way: Option<usize>,
    /// Support images a class, one evaluation each [default: 1,5]
    #[arg(long, value_name = "K,…", value_delimiter = ',')]
    shots: Vec<usize>,
    /// Query images a class [default: 16]
    #[arg(long, value_name = "N")]
    query: Option<usize>,
    /// Episodes for each number of shots [default: 600]
    #[arg(long, value_name = "N")]
    episodes: Option<usize>,
    /// How to adapt to a support set: finetune (published), prototype or nearest
    /// [default: finetune]
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
    /// Reads a checkpoint. Its configuration is its own, but for the published protocol, the
    /// episodes of `first` if there is one, and what the command line says.
    fn candidate(&self, given: &Path, first: Option<&Candidate>) -> Result<Candidate, Error> {
        let Place { file, name } = Place::of(given)?;
        let path = &file;
        let checkpoint = Checkpoint::read(path)?;
        let mut raw = checkpoint.config.clone();
        use_published_protocol(&mut raw);
        match first {
            None => self.overlay_network(&mut raw)?,
            Some(first) => use_episodes_of(&mut raw, &first.raw),
        }
        self.overlay(&mut raw)?;
        if !raw.has("dataset") {
            let reason = "carries no configuration, so that the images have to be named: \
                          --config configs/…, or dataset.source=cub dataset.root=…";
            return Err(Error::checkpoint(path, reason));
        }
        let config = raw.check()?;
        let model = checkpoint.model(path, &config, &device(&config)?)?;
        Ok(Candidate { name, raw, config, epoch: checkpoint.state.epochs, model })
    }

    /// Puts what the command line says of the first checkpoint over its configuration.
    fn overlay_network(&self, raw: &mut RawConfig) -> Result<(), Error> {
        if let Some(path) = &self.config {
            raw.overlay(&RawConfig::from_file(path)?);
        }
        set(raw, "method.backbone", self.backbone.clone())?;
        set(raw, "method.classifier", self.classifier.clone())?;
        set(raw, "method.image_size", self.image_size.map(|n| n.to_string()))
    }

    /// Puts what the command line says of every checkpoint over a configuration.
    fn overlay(&self, raw: &mut RawConfig) -> Result<(), Error> {
        set(raw, "test.way", self.way.map(|n| n.to_string()))?;
        set(raw, "test.query", self.query.map(|n| n.to_string()))?;
        set(raw, "test.episodes", self.episodes.map(|n| n.to_string()))?;
        set(raw, "test.seed", self.seed.map(|n| n.to_string()))?;
        set(raw, "test.head", self.head.clone())?;
        let shots = (!self.shots.is_empty()).then(|| format!("{:?}", self.shots));
        set(raw, "test.shots", shots)?;
        self.settings.iter().try_for_each(|setting| raw.set(setting))
    }
}

/// Sets what was given.
fn set(raw: &mut RawConfig, key: &str, value: Option<String>) -> Result<(), Error> {
    value.map_or(Ok(()), |value| raw.set(&format!("{key}={value}")))
}

/// A checkpoint that is ready to be evaluated.
struct Candidate {
    /// What results call it.
    name: PathBuf,
    raw: RawConfig,
    config: Config,
    epoch: usize,
    model: Model,
}

impl Candidate {
    /// What it reaches, and the labels of the images that its episodes were drawn from.
    fn evaluate(&self, dataset: &Dataset) -> Result<(Evaluation, Vec<u32>), Error> {
        let config = &self.config;
        let device = device(config)?;
        let bank = extract_features(config, &self.model, dataset, &device)?;
        let results = evaluate_bank(config, &bank, &head_of(config), &config.test.head, &device)?;
        let mut evaluation = Evaluation::new(&self.name, self.epoch, config, results);
        // PyTorch checkpoints do not tell their margin.
        evaluation.margin = evaluation.margin.filter(|_| self.raw.has("method.margin"));
        Ok((evaluation, bank.labels().to_vec()))
    }
}

fn main() -> ExitCode {
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
    start()?;
    let first = arguments.candidate(&arguments.checkpoint, None)?;
    let second = arguments.compare.as_deref();
    let second = second.map(|path| arguments.candidate(path, Some(&first))).transpose()?;
    let dataset = open_split(&first.config.split(arguments.split))?;
    let test = &first.config.test;
    for &shot in &test.shots {
        sampler(&first.config, dataset.labels(), shot)?;
    }

    let (evaluation, labels) = first.evaluate(&dataset)?;
    let mut report = Report {
        dataset: dataset.name().to_owned(),
        split: arguments.split.to_string(),
        way: test.way,
        query: test.query,
        head: test.head.clone(),
        test_seed: test.seed,
        first: evaluation,
        comparison: None,
    };
    if let Some(candidate) = second {
        let (second, others) = candidate.evaluate(&dataset)?;
        if others != labels {
            let reason = "cannot be compared, because other images were skipped as broken this \
                          time: loader.on_broken=error names them";
            return Err(Error::checkpoint(&candidate.name, reason));
        }
        let difference = compare(&report.first.results, &second.results)?;
        report.comparison = Some(Comparison { second, difference });
    }
    match if arguments.json { Format::Json } else { arguments.format } {
        Format::Text => Ok(report.to_text()),
        Format::Markdown => Ok(report.to_markdown()),
        Format::Json => serde_json::to_string(&report).map_err(Error::json("results")),
    }
}
