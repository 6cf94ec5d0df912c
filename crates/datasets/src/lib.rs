//! Published datasets, from their publishers to where a training looks for them.
//!
//! | command | arguments | what it does |
//! |---|---|---|
//! | `download-NAME` | [`Download`] | gets a dataset, verified and unpacked |
//! | `datasets` | [`List`] | lists what can be downloaded, and what is there |
//! | `prepare-mini-imagenet` | [`Prepare`] | makes mini-ImageNet's folder of a copy in any form |
//! | `prepare-emnist` | `PrepareEmnist` | makes EMNIST's folder of its idx files; feature `emnist` |
//! | `verify` | [`Verify`] | compares a copy with the published figures, decodes every image |
//! | `pack` | [`Pack`] | makes one file per split, which a training maps into memory |
//!
//! Each is a clap argument group with a `run` that returns the text to print. [`figures`] says
//! what the splits of a published dataset hold; [`shards`] reads labelled images of parquet
//! files.

#![forbid(unsafe_code)]

mod data_folder;
mod download;
mod pack;
mod prepare;
mod progress;
mod published;
pub mod shards;
mod verify;

pub use data_folder::data_folder;
pub use download::{Download, List};
pub use pack::Pack;
pub use prepare::Prepare;
#[cfg(feature = "emnist")]
pub use prepare::emnist::PrepareEmnist;
pub use published::{Expected, NAMES, Published, figures};
pub use verify::Verify;
