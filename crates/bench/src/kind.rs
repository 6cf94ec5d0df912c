//! Kinds of benchmarks.

use super::case::{Case, Setup};
use super::{Error, episodes, gpu, kernels, loader, memory, networks, run, start};

/// What can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    /// Training steps of each backbone, images/s: forward, neg-cosine head over 64 classes, cross
    /// entropy, backward, Adam
    Train,
    /// Feature extraction by ResNet-18, without gradients, images/s
    Features,
    /// 5-way 5-shot episodes with the published fine-tuning, and by logistic regression beside
    /// scikit-learn's, episodes/s
    Episodes,
    /// Decoding and the training transform on one thread, images/s
    Loader,
    /// Peak resident set of a process that takes five training steps, MB
    Memory,
    /// Time from the start of the trainer to the end of its first step, s
    Start,
    /// Training steps of ResNet-18 with other batch and image sizes, images/s
    Scaling,
    /// Single convolutions of ResNet-18 and the machine's peak, GFLOP/s
    Kernels,
    /// Training steps on an NVIDIA GPU, images/s, beside PyTorch in the same precision, eager and
    /// compiled; time of each phase, ms. Takes a build with --features cuda
    Gpu,
    /// Epochs of configs/cpu/mini-imagenet-conv4.toml, s each; needs FEWSHOT_DATA
    Run,
}

impl Kind {
    /// Kinds that are measured if none is named: what users notice and what needs no data.
    pub const DEFAULT: [Self; 6] =
        [Self::Train, Self::Features, Self::Episodes, Self::Loader, Self::Memory, Self::Start];

    /// Returns the rows of this kind, yet to be measured.
    ///
    /// # Errors
    /// Images that cannot be read or written; a trainer that cannot be found or built.
    pub fn cases(self, setup: &Setup) -> Result<Vec<Case>, Error> {
        match self {
            Self::Train => Ok(networks::training(setup)),
            Self::Features => Ok(networks::features(setup)),
            Self::Episodes => Ok(episodes::cases(setup)),
            Self::Loader => loader::cases(setup),
            Self::Memory => Ok(memory::cases(setup)),
            Self::Start => start::cases(setup),
            Self::Scaling => Ok(networks::scaling(setup)),
            Self::Kernels => kernels::cases(setup),
            Self::Gpu => gpu::cases(setup),
            Self::Run => run::cases(setup),
        }
    }
}
