//! Checked configurations, run folders and checkpoints of a few-shot experiment.
//!
//! * [`Config`] is the one checked form of an experiment's settings; [`RawConfig`] gathers
//!   them from TOML and from `key=value` arguments and turns into it, or into an error that
//!   names the key, what it got and what it takes.
//! * [`Model`] is the backbone and the margin head that a configuration describes, with their
//!   parameters; [`open_split`] its data.
//! * [`Checkpoint`] holds a model, the progress of its training, and its configuration, so that
//!   an evaluation needs nothing else.
//! * [`RunFolder`] has a run's files; each is written to a temporary file and renamed, so that a
//!   run that is killed at any moment can be resumed.
//! * [`BatchUploader`] moves the loader's batches to the device as tensors.
//! * [`Provenance`] is part of every result: the build, the machine's arithmetic, the
//!   configuration and the seed that it came from.
//!
//! ```
//! use fewshot_experiment::RawConfig;
//!
//! let mut raw = RawConfig::from_toml("[method]\nbackbone = \"conv4\"\nimage_size = 32").unwrap();
//! raw.set("method.margin=-0.02").unwrap();
//! let config = raw.check().unwrap();
//! assert_eq!(config.method.margin, -0.02);
//!
//! raw.set("method.marign=-0.02").unwrap();
//! let error = raw.check().unwrap_err().to_string();
//! assert!(error.contains("did you mean `method.margin`"), "{error}");
//! ```

#![forbid(unsafe_code)]

mod batch;
mod checkpoint;
mod config;
mod error;
mod factory;
mod model;
mod provenance;
mod run;
mod start;

pub use batch::{BatchUploader, DeviceBatch};
pub use checkpoint::{Checkpoint, FeatureMean, TrainingState};
pub use config::{
    Augment, Change, Config, Crops, DatasetConfig, DeviceKind, Distill, LoaderConfig, Method,
    OptimizerKind, Precision, RawConfig, Schedule, SplitConfig, Test, Train, Validation,
    settings_reference,
};
pub use error::Error;
pub use factory::{
    check_episodes, device, image_dtype, note, open_crop_loader, open_loader, open_optional,
    open_replica_loader, open_split, sampler,
};
pub use model::Model;
pub use provenance::Provenance;
pub use run::{RunClaim, RunFolder, write_atomically};
pub use start::start;

pub use fewshot_progress::Progress;
