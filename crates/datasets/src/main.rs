//! Downloads, prepares, verifies and packs datasets: `cargo xtask COMMAND`.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::{Parser, Subcommand};
#[cfg(feature = "emnist")]
use fewshot_datasets::PrepareEmnist;
use fewshot_datasets::{Download, List, Pack, Prepare, Verify};
use fewshot_progress::{conclude, say};

/// Datasets: download, prepare, verify, pack.
#[derive(Parser)]
#[command(version, name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    command: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Downloads Caltech-UCSD Birds-200-2011 (1.15 GB), verified and unpacked
    DownloadCub(Download),
    /// Downloads Omniglot (16 MB), verified and unpacked
    DownloadOmniglot(Download),
    /// Downloads CIFAR-100 (169 MB), verified, and makes CIFAR-FS of it
    DownloadCifarFs(Download),
    /// Downloads mini-ImageNet (7.4 GB) from the Hugging Face hub, verified, and sorts it by class
    DownloadMiniImagenet(Download),
    /// Makes mini-ImageNet's folder from a copy that is there: the ILSVRC training set, images,
    /// archives, or pickled caches
    PrepareMiniImagenet(Prepare),
    /// Makes EMNIST's folder from its idx files
    #[cfg(feature = "emnist")]
    PrepareEmnist(PrepareEmnist),
    /// Lists the datasets that can be downloaded: what they are, from where, on which terms, and
    /// whether they are there
    Datasets(List),
    /// Checks that a copy of CUB, mini-ImageNet, Omniglot or CIFAR-FS is whole: counts, and every
    /// image decoded
    Verify(Verify),
    /// Makes one file per split of a dataset, which a training maps into memory in place of
    /// folders and archives
    Pack(Pack),
}

fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Task::DownloadCub(arguments) => arguments.run("cub"),
        Task::DownloadOmniglot(arguments) => arguments.run("omniglot"),
        Task::DownloadCifarFs(arguments) => arguments.run("cifar-fs"),
        Task::DownloadMiniImagenet(arguments) => arguments.run("mini-imagenet"),
        Task::PrepareMiniImagenet(arguments) => arguments.run(),
        #[cfg(feature = "emnist")]
        Task::PrepareEmnist(arguments) => arguments.run(),
        Task::Datasets(arguments) => arguments.run(),
        Task::Verify(arguments) => match arguments.run() {
            Ok((report, false)) => {
                say(report);
                return ExitCode::from(1);
            }
            other => other.map(|(report, _)| report),
        },
        Task::Pack(arguments) => arguments.run(),
    };
    conclude(done)
}
