//! What an album says of a photo.

use serde::Serialize;

/// The classes of a photo by probability, and how similar it is to the photos that were learned.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Answer {
    /// Indices of classes with their probabilities, the most probable first.
    pub classes: Vec<(usize, f64)>,
    /// Cosine with the nearest class mean, in [-1, 1].
    pub similarity: f64,
    /// Whether it is too far from every class to be of one.
    pub is_unknown: bool,
    /// The most similar photo of those that were learned, by its index, and its cosine.
    pub nearest: (usize, f64),
}

impl Answer {
    /// The most probable class.
    pub fn class(&self) -> usize {
        self.classes.first().map_or(0, |(class, _)| *class)
    }

    /// Its probability.
    pub fn probability(&self) -> f64 {
        self.classes.first().map_or(0.0, |(_, probability)| *probability)
    }
}
