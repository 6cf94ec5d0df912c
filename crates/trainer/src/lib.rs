//! The training loop and what it needs: [optimisers](Optimiser), [learning-rate
//! schedules](LearningRate), [TensorBoard events](EventWriter) and the [`Session`] that puts
//! them together with a configuration.
//!
//! The binary trains an experiment, from `configs/quickstart.toml` if none is named:
//!
//! ```text
//! trainer --config configs/cpu/mini-imagenet-conv4.toml method.margin=-0.02
//! ```

mod optimizer;
mod report;
mod schedule;
mod session;
mod tensorboard;

pub use optimizer::Optimiser;
pub use report::{FinalReport, ModelReport};
pub use schedule::LearningRate;
pub use session::{Datasets, Outcome, Session};
pub use tensorboard::EventWriter;
