//! Few-shot episodes: N-way K-shot sampling, adaptation to a support set, accuracy with its
//! 95 % interval.
//!
//! An evaluation extracts the features of all novel images once, into a [`FeatureBank`]. A
//! [`Sampler`] then draws [`Episode`]s, which are nothing but indices into the bank; a
//! [`Head`] is fitted to the support set of each and asked about its queries; [`evaluate`]
//! does so for many episodes on all cores and gives their [`Accuracy`].
//! [`PairedDifference`] compares two such of the same episodes.
//!
//! - [`Head::FineTune`] trains one of the paper's four classifiers on the support set, as the
//!   published `lib/model.py` (`BaselineFinetune`) does; [`finetune::adapt`] is that alone.
//!   With the feature `cuda`, `evaluate_on_gpu` trains those of many episodes at once.
//! - [`Head::Prototype`] takes the class mean that is nearest by cosine.
//! - [`Head::NearestNeighbour`] takes the support image that is nearest by Euclidean distance.
//!
//! Features are plain `f32` slices, and every random draw is a function of `(seed, n)` for
//! episode `n`: results depend neither on the number of threads nor on the tensor library.
//!
//! ```
//! use fewshot_episodes::{EpisodeShape, FeatureBank, FineTune, Head, Sampler, evaluate};
//! use fewshot_losses::ClassifierKind;
//!
//! # fn main() -> Result<(), fewshot_episodes::Error> {
//! // Three classes of ten images; a feature has two numbers.
//! let labels: Vec<u32> = (0..30).map(|image| image / 10).collect();
//! let features = labels
//!     .iter()
//!     .flat_map(|&class| [(2.0 * class as f32).cos(), (2.0 * class as f32).sin()])
//!     .collect();
//! let bank = FeatureBank::new(features, 2, labels)?;
//!
//! let shape = EpisodeShape { way: 3, shot: 5, query: 5 };
//! let sampler = Sampler::new(bank.labels(), shape, 0)?;
//! let head = Head::FineTune(FineTune::published(ClassifierKind::NegCosine));
//! let accuracy = evaluate(&bank, &sampler, &head, 10, 0, &|| ())?;
//! println!("{:.2} % ± {:.2} %", 100.0 * accuracy.mean, 100.0 * accuracy.ci95);
//! assert!(accuracy.mean > 0.9);
//! # Ok(())
//! # }
//! ```

#![forbid(unsafe_code)]

mod accuracy;
mod bank;
mod classifier;
mod error;
mod evaluate;
pub mod finetune;
#[cfg(feature = "cuda")]
mod gpu;
mod head;
mod nearest;
mod sampler;
mod span;
mod support;
mod vector;

pub use accuracy::{Accuracy, PairedDifference};
pub use bank::FeatureBank;
pub use classifier::Classifier;
pub use error::Error;
pub use evaluate::evaluate;
pub use finetune::FineTune;
#[cfg(feature = "cuda")]
pub use gpu::evaluate_on_gpu;
pub use head::{Fitted, Head};
pub use nearest::NearestNeighbour;
pub use sampler::{Episode, EpisodeShape, Sampler};
pub use support::Support;
