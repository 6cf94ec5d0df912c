//! Checkpoints for others to use.
//!
//! [`convert`](fn@convert) writes the model of a PyTorch checkpoint as safetensors;
//! [`publish`](fn@publish) makes a folder for the Hugging Face hub: weights, configuration, and a
//! model card with the measured figures. Neither executes anything in a checkpoint or sends
//! anything to anybody.

#![forbid(unsafe_code)]

mod card;
mod convert;
mod half;
mod measured;
mod publish;

pub use convert::{Convert, convert};
pub use publish::{Publish, publish};
