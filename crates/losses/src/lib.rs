//! Margin classifiers for few-shot learning on candle.
//!
//! A [`MarginHead`] turns a backbone's features into scores over classes. Four kinds share
//! one interface ([`ClassifierKind`]); the two with a margin subtract it from the label's
//! score while training, which a *negative* margin turns into a bonus: base classes are
//! separated less sharply, and novel classes more easily ("Negative Margin Matters", ECCV
//! 2020).
//!
//! | kind | training score of class c |
//! |---|---|
//! | `softmax` | `w_c·f + b_c` |
//! | `cosine` | `scale · cos(w_c, f)` |
//! | `neg-softmax` | `scale · (z_c - min z - margin·[c = label])`, `z = W f` |
//! | `neg-cosine` | `scale · (cos(w_c, f) - margin·[c = label])` |
//!
//! In a training loop of your own:
//!
//! ```
//! use candle_core::{DType, Device, Tensor};
//! use candle_nn::{Optimizer, SGD, VarBuilder, VarMap};
//! use fewshot_losses::{ClassifierKind, Margin, MarginHead, cross_entropy};
//!
//! # fn main() -> Result<(), fewshot_losses::Error> {
//! let variables = VarMap::new();
//! # // The same start every time: candle draws another one in each process.
//! # let start = candle_core::Var::new(&[[0.3f32, 0.4], [0.4, 0.3]], &Device::Cpu)?;
//! # variables.data().lock().unwrap().insert("weight".to_owned(), start);
//! let parameters = VarBuilder::from_varmap(&variables, DType::F32, &Device::Cpu);
//! let features = Tensor::new(&[[1f32, 0.1], [0.2, 1.0], [0.9, 0.0]], &Device::Cpu)?;
//! let labels = Tensor::new(&[0u32, 1, 0], &Device::Cpu)?;
//!
//! let head = MarginHead::new(ClassifierKind::NegCosine, 2, 2, Margin::new(30.0, -0.02)?, parameters)?;
//! let mut optimizer = SGD::new(variables.all_vars(), 0.1)?;
//! for _ in 0..20 {
//!     let loss = cross_entropy(&head.training_scores(&features, &labels)?, &labels)?;
//!     optimizer.backward_step(&loss)?;
//! }
//! let predicted = head.scores(&features)?.argmax(1)?.to_vec1::<u32>()?;
//! assert_eq!(predicted, [0, 1, 0]);
//! # Ok(())
//! # }
//! ```
//!
//! Without the feature `candle`, which is on by default, [`ClassifierKind`] and [`Margin`] are left:
//! the definitions, for those who compute scores themselves.

#![forbid(unsafe_code)]

mod error;
mod kind;
mod margin;
#[cfg(feature = "candle")]
mod margin_head;
#[cfg(feature = "candle")]
mod rotation;
#[cfg(feature = "candle")]
mod targets;

pub use error::Error;
#[cfg(feature = "candle")]
pub use fewshot_ops::{count_correct, cross_entropy};
pub use kind::ClassifierKind;
pub use margin::Margin;
#[cfg(feature = "candle")]
pub use margin_head::MarginHead;
#[cfg(feature = "candle")]
pub use rotation::{RotationHead, quarter_turns};
#[cfg(feature = "candle")]
pub use targets::{log_softmax, smoothed_cross_entropy, soft_cross_entropy};
