//! The interface of adaptation heads.

use std::any::Any;
use std::fmt::Debug;

use rand::RngCore;

#[cfg(feature = "cuda")]
use crate::{Accuracy, FeatureBank, Sampler};
use crate::{Error, Support};

/// A method that learns a classifier from the support set of an episode.
///
/// Built-in heads are in [`heads`](crate::heads). `examples/own_head.rs` implements another one and
/// says what makes it a built-in.
pub trait Head: Any + Debug + Send + Sync {
    /// Returns the name that configurations, results and tables use.
    fn name(&self) -> &str;

    /// Learns a classifier from `support`. All randomness is drawn from `rng`, so that results
    /// repeat.
    ///
    /// # Errors
    ///
    /// If a setting is out of range, or what was learned is not finite.
    fn fit(&self, support: &Support, rng: &mut dyn RngCore) -> Result<Box<dyn Classifier>, Error>;

    /// Evaluates many episodes at once on the GPU `device`, or returns `None` if the head has no GPU
    /// implementation, which is the default. The parameters are those of
    /// [`evaluate_on_gpu`](crate::evaluate_on_gpu), which has checked `bank` and `episodes`.
    #[cfg(feature = "cuda")]
    fn evaluate_on_gpu(
        &self,
        device: &candle_core::Device,
        bank: &FeatureBank,
        sampler: &Sampler,
        episodes: usize,
        seed: u64,
        on_episodes: &(dyn Fn(usize) + Sync),
    ) -> Option<Result<Accuracy, Error>> {
        let _ = (device, bank, sampler, episodes, seed, on_episodes);
        None
    }
}

/// What a [`Head`] has learned from a support set.
pub trait Classifier {
    /// Returns the scores `[way]` of one feature `[D]`: the higher, the likelier.
    ///
    /// # Errors
    ///
    /// If the feature has another length than those of the support set, or holds a value that is not
    /// finite.
    fn scores(&self, query: &[f32]) -> Result<Vec<f64>, Error>;

    /// Returns the class of `0..way` with the highest score; the first one of several.
    ///
    /// # Errors
    ///
    /// Those of [`scores`](Self::scores).
    fn predict(&self, query: &[f32]) -> Result<usize, Error> {
        Ok(argmax(&self.scores(query)?))
    }
}

/// Returns the index of the largest score; the first one of several.
pub(crate) fn argmax(scores: &[f64]) -> usize {
    let better = |best, class| if scores[class] > scores[best] { class } else { best };
    (0..scores.len()).fold(0, better)
}
