//! Margin classifiers for few-shot learning on candle: softmax, cosine, neg-softmax and neg-cosine.

mod error;
mod kind;

pub use error::Error;
pub use kind::ClassifierKind;
