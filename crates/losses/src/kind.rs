//! The four classifiers by name.

use std::{fmt, str::FromStr};

/// Which classifier turns a feature into scores.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ClassifierKind {
    /// A linear layer with bias: `z = W f + b`.
    Softmax,
    /// `scale · cos(w_c, f)`.
    Cosine,
    /// `scale · (z - min_c z)` with `z = W f`, the margin subtracted at the label.
    NegSoftmax,
    /// `scale · (cos(w_c, f) - margin·[c = label])`.
    NegCosine,
}

impl ClassifierKind {
    /// All four, in the order of the paper's table.
    pub const ALL: [Self; 4] = [Self::Softmax, Self::Cosine, Self::NegSoftmax, Self::NegCosine];

    /// The name in configurations and tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Softmax => "softmax",
            Self::Cosine => "cosine",
            Self::NegSoftmax => "neg-softmax",
            Self::NegCosine => "neg-cosine",
        }
    }

    /// Whether a margin is part of the classifier's definition.
    pub fn has_margin(self) -> bool {
        matches!(self, Self::NegSoftmax | Self::NegCosine)
    }

    /// Whether a scale is part of the classifier's definition.
    pub fn has_scale(self) -> bool {
        self != Self::Softmax
    }

    /// Whether the classifier has a bias.
    pub fn has_bias(self) -> bool {
        self == Self::Softmax
    }
}

impl fmt::Display for ClassifierKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for ClassifierKind {
    type Err = crate::Error;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.name() == name)
            .ok_or_else(|| crate::Error::UnknownKind { got: name.to_owned() })
    }
}
