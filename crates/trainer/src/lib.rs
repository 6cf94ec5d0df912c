//! Training of an experiment. A [`Session`] starts, resumes, trains and reports; it consists of
//! [optimizers](Optimizer), [learning-rate schedules](LearningRate) and [TensorBoard
//! events](EventWriter) that are useful alone. `examples/train.rs` trains through the library.
//!
//! The binary trains the experiment of a configuration, by default `configs/quickstart.toml`:
//!
//! ```text
//! trainer --config configs/cpu/mini-imagenet-conv4.toml method.margin=-0.02
//! ```
//!
//! The optimizers and schedules serve any candle training loop:
//!
//! ```
//! use candle_core::{Device, Tensor, Var};
//! use fewshot_experiment::{OptimizerKind, Schedule};
//! use std::collections::BTreeMap;
//! use trainer::{LearningRate, Optimizer};
//!
//! # fn main() -> candle_core::Result<()> {
//! let weight = Var::new(&[3f32, -2.0], &Device::Cpu)?;
//! let parameters = BTreeMap::from([("weight".to_owned(), weight.clone())]);
//! let mut optimizer = Optimizer::new(OptimizerKind::Adam, 0.0, parameters)?;
//! // Two epochs of warm-up out of ten, 20 steps each.
//! let schedule = Schedule::WarmupCosine { warmup_epochs: 2 };
//! let rate = LearningRate::from_schedule(0.1, &schedule, 10, 20);
//! for step in 0..200 {
//!     let loss = weight.sqr()?.sum_all()?;
//!     optimizer.step(&loss.backward()?, rate.at(step))?;
//! }
//! assert!(weight.sqr()?.sum_all()?.to_scalar::<f32>()? < 1e-3);
//! # Ok(())
//! # }
//! ```

#![forbid(unsafe_code)]

mod average;
mod batches;
mod objective;
mod optimizer;
mod parallel;
mod process_group;
#[cfg(any(test, feature = "nccl"))]
mod rendezvous;
mod report;
mod schedule;
mod session;
mod tensorboard;

pub use optimizer::Optimizer;
pub use parallel::Parallel;
pub use process_group::ProcessGroup;
pub use report::{FinalReport, ModelReport, Part};
pub use schedule::LearningRate;
pub use session::{Datasets, Outcome, Session};
pub use tensorboard::EventWriter;
