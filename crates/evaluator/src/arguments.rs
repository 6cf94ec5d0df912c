//! The command line as it is written.

use std::path::PathBuf;

use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use fewshot_data::Split;
use fewshot_episodes::heads::HeadKind;
use fewshot_losses::ClassifierKind;
use fewshot_models::BackboneKind;

/// Evaluates a checkpoint on episodes of classes that were not part of its training.
///
/// A checkpoint of trainer carries its configuration, so that nothing else is needed. A checkpoint
/// of PyTorch, as the published code or Lightning saves it, or a ResNet-18, -34 or -50 of torchvision or timm,
/// determines backbone and classifier by its tensors (softmax by its bias; otherwise neg-cosine is
/// assumed; a backbone alone will do); the dataset has to be named, by --config or by
/// dataset.source=… dataset.root=…. Nothing in the file is executed.
///
/// Without options a checkpoint is evaluated by the published protocol, whatever the [test] section
/// of its training was: 600 episodes, 5-way, 16 queries, 1 and 5 shots, fine-tuning its own kind of
/// classifier with the published settings; mean over episodes ± 1.96 σ/√n. Only test.seed and
/// test.batch_size are taken from the checkpoint. Later settings override earlier ones, in this
/// order: checkpoint, protocol, --config, options, and key=value arguments such as
/// dataset.novel.root=/data/CUB_200_2011.tgz.
#[derive(Parser)]
#[command(
    version,
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
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
  evaluator analyse --checkpoint zero.safetensors negative.safetensors --out analysis

A checkpoint hf://OWNER/REPOSITORY/FILE[@REVISION] is downloaded from the Hugging Face hub and
verified. It is kept in the cache that the hub's programs share, and read from there from then on,
without asking the hub again: a branch or tag keeps the meaning that it had when its file was
downloaded. Results name the commit, which always means the same file.
Environment: HF_ENDPOINT (another hub), HF_HUB_CACHE (the cache; `hub` in HF_HOME, which is by default
`huggingface` in XDG_CACHE_HOME or ~/.cache), HF_TOKEN (for private files; else the file `token` in
HF_HOME, or HF_TOKEN_PATH), HF_HUB_OFFLINE=1 or FEWSHOT_OFFLINE=1 (the cache only),
HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, NO_PROXY, SSL_CERT_FILE.

Exit status: 0 on success, 2 on any error."
)]
pub struct CommandLine {
    #[command(subcommand)]
    pub command: Option<Command>,
    #[command(flatten)]
    pub evaluation: Option<Arguments>,
    /// Show no progress
    #[arg(long, short, global = true)]
    pub quiet: bool,
    /// Print completions of options for a shell, and exit
    #[arg(long, value_name = "SHELL", exclusive = true)]
    pub completions: Option<Shell>,
}

/// What to do other than evaluate.
#[derive(Subcommand)]
pub enum Command {
    #[cfg(feature = "analysis")]
    Analyse(crate::analyse::AnalyseArguments),
}

/// What to evaluate.
#[derive(Args)]
pub struct Arguments {
    /// Checkpoint of trainer (.safetensors, or its run's folder) or of PyTorch (.tar, .pth, .ckpt), or
    /// hf://… for one of the Hugging Face hub
    #[arg(long, value_name = "PATH")]
    pub checkpoint: PathBuf,
    /// Second checkpoint, evaluated on the same episodes of the first one's dataset; prints their
    /// paired difference as well. Options and settings apply to both, except that --backbone,
    /// --classifier, --image-size and the [method] section of --config apply to the first only
    #[arg(long, value_name = "PATH")]
    pub compare: Option<PathBuf>,
    /// Further checkpoints whose features stand beside those of the first one, each L2-normalized, as if
    /// they were one network; may be given several times
    #[arg(long, value_name = "PATH")]
    pub ensemble: Vec<PathBuf>,
    /// File of settings that override the checkpoint's
    #[arg(long, value_name = "PATH")]
    pub config: Option<PathBuf>,
    #[arg(long, value_name = "NAME", help = checkpoint_default(BackboneKind::names()))]
    pub backbone: Option<String>,
    #[arg(long, value_name = "NAME", help = checkpoint_default(ClassifierKind::names()))]
    pub classifier: Option<String>,
    /// Side of the images, in pixels [default: the checkpoint's]
    #[arg(long, value_name = "N")]
    pub image_size: Option<usize>,
    /// Classes to draw episodes from: base, base-val, val, novel, or all of them: all
    #[arg(long, default_value = "novel")]
    pub split: Split,
    /// Classes per episode [default: 5]
    #[arg(long, value_name = "N")]
    pub way: Option<usize>,
    /// Support images per class; one evaluation for each number [default: 1,5]
    #[arg(long, value_name = "K,…", value_delimiter = ',')]
    pub shots: Vec<usize>,
    /// Query images per class [default: 16]
    #[arg(long, value_name = "N")]
    pub query: Option<usize>,
    /// Episodes for each number of shots [default: 600]
    #[arg(long, value_name = "N")]
    pub episodes: Option<usize>,
    #[arg(long, value_name = "HEAD", help = head_help())]
    pub head: Option<String>,
    /// Seed of the episodes: equal seeds draw equal episodes [default: the checkpoint's test.seed,
    /// usually 0]
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Format of the results
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
    /// Same as --format json
    #[arg(long)]
    pub json: bool,
    /// Settings to override
    #[arg(value_name = "KEY=VALUE")]
    pub settings: Vec<String>,
}

impl CommandLine {
    /// The completions for a shell, if they are asked for.
    pub fn completions(&self) -> Option<String> {
        let mut script = Vec::new();
        clap_complete::generate(self.completions?, &mut Self::command(), "evaluator", &mut script);
        Some(String::from_utf8_lossy(&script).trim_end().to_owned())
    }
}

/// How results are printed.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    Text,
    Markdown,
    Json,
}

fn checkpoint_default(names: String) -> String {
    format!("{names} [default: the checkpoint's]")
}

fn head_help() -> String {
    let names = HeadKind::names();
    format!("How to adapt to a support set: {names} [default: {}]", HeadKind::FineTune.name())
}
