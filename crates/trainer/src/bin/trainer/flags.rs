//! The command line as it was typed.

use std::path::PathBuf;

use clap::{CommandFactory, Parser};
use clap_complete::Shell;

/// Trains a backbone on base classes with a margin classifier, then classifies novel classes
/// from a few images each.
///
/// Without --config it trains the quickstart: a Conv4 on procedurally drawn glyphs, in under
/// three minutes on two cores.
#[derive(Parser)]
#[command(
    version,
    after_help = "Any setting of the configuration can be given as key=value:
  trainer --config configs/cpu/mini-imagenet-conv4.toml method.margin=0 seed=1
  trainer --config configs/cub/neg-cosine-5shot.toml dataset.root=/data/CUB_200_2011.tgz
  trainer --resume last            continue an interrupted quickstart
  trainer --resume checkpoints/glyphs/quickstart/last.safetensors train.epochs=12
  trainer --print-config           print all settings with their values (docs/settings.md explains them)
  trainer --resume last --no-optimizer     trim a finished run
  trainer --completions bash > ~/.local/share/bash-completion/completions/trainer

Without --config, the quickstart's settings apply, or, if dataset.source or dataset.root names other
images, the defaults of all settings. A run that goes on keeps its own settings: of what is given, only
train.epochs, train.print_freq, train.save_freq, loader.threads, loader.prefetch_mib and all of [val] and [test] may
differ, the rest with --change.

The run folder holds config.toml, last and best.safetensors, metrics.jsonl (a line an epoch),
TensorBoard events, results.json and report.md. Relative dataset roots are also looked up under
the folder that FEWSHOT_DATA names. FEWSHOT_INSTRUCTION_SET (portable, avx2, avx512) selects a
smaller instruction set than the machine's, to repeat bit for bit what another machine computed.

Built with --features cuda it computes on an NVIDIA GPU: device=cuda:0 precision=bf16 (or tf32,
f32). Built with --features nccl, several processes train one model, each on a GPU of its own:
  torchrun --no-python --nproc-per-node 4 trainer --config FILE device=cuda:0
  srun --ntasks 4 --gpus-per-task 1 trainer --config FILE device=cuda:0
train.batch_size is the batch size of all processes together; rank 0 prints, logs and saves, and
reports loss and accuracy of its own images.

Ctrl-C (or SIGTERM, SIGHUP) saves and stops after the step, a second Ctrl-C at once. Signals that were
ignored at the start stay ignored, as SIGHUP under nohup.

Exit status: 0 finished, 2 error, 130 interrupted (after saving)."
)]
pub struct Flags {
    /// A configuration (TOML) [default: the built-in quickstart]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Appended to the configuration's name to name the run folder
    #[arg(long, value_name = "SUPPLEMENT")]
    pub name: Option<String>,
    /// The run folder [default: checkpoints/DATASET/CONFIG[_SUPPLEMENT]]
    #[arg(long, value_name = "DIR")]
    pub run_dir: Option<PathBuf>,
    /// Continue from this run's last or best checkpoint, or from a checkpoint at any path, whose run
    /// goes on unless another run folder is named
    #[arg(long, value_name = "last|best|PATH")]
    pub resume: Option<String>,
    /// Continue under the settings that are given, even if the run began under others
    #[arg(long, requires = "resume")]
    pub change: bool,
    /// Once the run is finished, remove the optimizer's state, half of its bytes or more: what is
    /// left can be evaluated and published, but not trained on
    #[arg(long)]
    pub no_optimizer: bool,
    /// Print nothing but the report, warnings and errors
    #[arg(long, short)]
    pub quiet: bool,
    /// Print completions of options for a shell, and exit
    #[arg(long, value_name = "SHELL")]
    pub completions: Option<Shell>,
    /// Print every setting with its effective value, as TOML, and exit
    #[arg(long)]
    pub print_config: bool,
    /// Settings that override the configuration's
    #[arg(value_name = "KEY=VALUE")]
    pub settings: Vec<String>,
}

impl Flags {
    /// The completions for a shell, if they are asked for.
    pub fn completions(&self) -> Option<String> {
        let mut script = Vec::new();
        clap_complete::generate(self.completions?, &mut Self::command(), "trainer", &mut script);
        Some(String::from_utf8_lossy(&script).into_owned())
    }
}
