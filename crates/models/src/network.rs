//! The trait of all backbones.

use candle_core::{Result, Tensor};
use fewshot_ops::{Tape, TapeContext, TapeTensor};

use crate::Pass;

/// A network from images to features, on a [`Tape`].
///
/// Every built-in backbone is one. So is a network of your own: build it of
/// [`layers`](crate::layers), or of a tape's operations.
pub trait Network: Send + Sync {
    /// Passes images `[B, S, S, 3]` through the network, channels last as a tape has them.
    /// Returns features `[B, D]`, or maps `[B, H, W, C]` that [`features`](Self::features)
    /// flattens to D = C·H·W.
    ///
    /// Between its stages a network calls [`Tape::mixing_place`], so that manifold mixup can mix images
    /// there, not only before the first layer.
    ///
    /// # Errors
    /// Images of another shape or too small for the network, or in training a batch that leaves
    /// a batch norm fewer than two values a channel.
    fn forward(&self, tape: &mut Tape, images: &TapeTensor, pass: Pass) -> Result<TapeTensor>;

    /// Computes features `[B, D]` of images `[B, 3, S, S]`, on a tape of its own with the settings
    /// of `context`.
    ///
    /// # Errors
    /// Those of [`forward`](Self::forward).
    fn features(&self, images: &Tensor, pass: Pass, context: &TapeContext) -> Result<Tensor> {
        let mut tape = Tape::with_context(context);
        let images = tape.input(images)?;
        let images = tape.mixing_place(images)?;
        let features = self.forward(&mut tape, &images, pass)?;
        tape.finish(features)?.flatten_from(1)
    }
}
