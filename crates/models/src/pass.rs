//! The two kinds of forward pass.

/// How a forward pass treats batch statistics and dropping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pass {
    /// Running statistics; nothing is dropped.
    Eval,
    /// Batch statistics, which also update the running ones; units are dropped.
    Train {
        /// The experiment's seed.
        seed: u64,
        /// Number of training forward passes before this one: the position in the random
        /// stream, and in the schedule of DropBlock's rate.
        forward: u64,
    },
}
