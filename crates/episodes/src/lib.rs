//! Few-shot episodes: N-way K-shot sampling, adaptation to a support set, accuracy with its
//! 95 % interval.
//!
//! An evaluation extracts the features of all novel images once, into a [`FeatureBank`]. A
//! [`Sampler`] then draws [`Episode`]s, which are indices into the bank. A [`Head`] learns a
//! [`Classifier`] from the support set of each episode, and [`evaluate`] measures the [`Accuracy`]
//! on the queries of many episodes, on all cores. [`PairedDifference`] compares two such
//! evaluations of the same episodes.
//!
//! - [`FineTune`](heads::FineTune) trains one of the paper's four classifiers on the support set, as
//!   the published `lib/model.py` (`BaselineFinetune`) does; [`heads::finetune::adapt`] is its
//!   training loop alone. With the feature `cuda`, `evaluate_on_gpu` trains the classifiers of many
//!   episodes at once.
//! - [`Prototype`](heads::Prototype) chooses the class mean that is nearest by cosine.
//! - [`Logistic`](heads::Logistic) is logistic regression, and [`Ridge`](heads::Ridge) ridge
//!   regression, both on normalized features and with scikit-learn's objectives.
//! - [`NearestNeighbor`](heads::NearestNeighbor) chooses the support image that is nearest by
//!   Euclidean distance.
//! - A head of your own is a type that implements [`Head`]: see `examples/own_head.rs`.
//!
//! Features are plain `f32` slices, and every random draw is a function of `(seed, n)` for
//! episode `n`: results depend neither on the number of threads nor on the tensor library.
//!
//! ```
//! use fewshot_episodes::heads::FineTune;
//! use fewshot_episodes::{EpisodeShape, FeatureBank, Sampler, evaluate};
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
//! let head = FineTune::published(ClassifierKind::NegCosine);
//! let accuracy = evaluate(&bank, &sampler, &head, 10, 0, &|| ())?;
//! println!("{:.2} % ± {:.2} %", 100.0 * accuracy.mean, 100.0 * accuracy.ci95);
//! assert!(accuracy.mean > 0.9);
//! # Ok(())
//! # }
//! ```

#![forbid(unsafe_code)]

mod accuracy;
mod bank;
mod error;
mod evaluate;
mod head;
pub mod heads;
mod linear;
mod sampler;
mod solve;
mod subspace;
mod support;
mod vector;

pub use accuracy::{Accuracy, PairedDifference};
pub use bank::FeatureBank;
pub use error::Error;
pub use evaluate::evaluate;
#[cfg(feature = "cuda")]
pub use evaluate::evaluate_on_gpu;
pub use head::{Classifier, Head};
pub use linear::LinearClassifier;
pub use sampler::{Episode, EpisodeShape, Sampler};
pub use support::Support;
