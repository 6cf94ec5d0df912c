//! The classifiers by name, and what tells one from another.
//!
//! This module needs no tensors: it is there without the feature `candle`, too.

use strum::VariantArray as _;

use crate::Error;

/// Which classifier turns a feature into scores.
///
/// Parsed from and displayed as its name in configurations (`neg-cosine`).
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Hash,
    strum::Display,
    strum::EnumString,
    strum::IntoStaticStr,
    strum::VariantArray,
)]
#[strum(
    serialize_all = "kebab-case",
    parse_err_ty = Error,
    parse_err_fn = unknown
)]
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

/// The registry entry of a classifier.
struct Definition {
    /// Its name in the published code (`lib/metric.py`), whatever the sign of the margin.
    published_name: &'static str,
    has_bias: bool,
    has_scale: bool,
    has_margin: bool,
    is_cosine: bool,
    subtract_min: bool,
}

impl ClassifierKind {
    /// All of them, in the order of the paper's table.
    pub const ALL: [Self; Self::VARIANTS.len()] = *Self::VARIANTS.first_chunk().unwrap();

    /// Everything that is said about a classifier: nothing else in the workspace lists them.
    fn definition(self) -> Definition {
        let plain = Definition {
            published_name: self.name(),
            has_bias: false,
            has_scale: true,
            has_margin: false,
            is_cosine: false,
            subtract_min: false,
        };
        match self {
            Self::Softmax => Definition { has_bias: true, has_scale: false, ..plain },
            Self::Cosine => Definition { is_cosine: true, ..plain },
            Self::NegSoftmax => Definition { has_margin: true, subtract_min: true, ..plain },
            Self::NegCosine => Definition {
                published_name: "cosineface",
                has_margin: true,
                is_cosine: true,
                ..plain
            },
        }
    }

    /// The name in configurations, tables, and the paper.
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// Returns all names as a list in words: `a, b or c`.
    pub fn names() -> String {
        let names = Self::ALL.map(Self::name);
        let (last, others) = names.split_last().unwrap_or((&"", &[]));
        format!("{} or {last}", others.join(", "))
    }

    /// The name in the published code (`lib/metric.py`).
    pub fn published_name(self) -> &'static str {
        self.definition().published_name
    }

    /// Whether a margin is part of the classifier's definition.
    pub fn has_margin(self) -> bool {
        self.definition().has_margin
    }

    /// Whether a scale is part of the classifier's definition.
    pub fn has_scale(self) -> bool {
        self.definition().has_scale
    }

    /// Whether the classifier has a bias.
    pub fn has_bias(self) -> bool {
        self.definition().has_bias
    }

    /// Whether scores are cosines, so that the length of weights and features does not count.
    pub fn is_cosine(self) -> bool {
        self.definition().is_cosine
    }

    /// Whether the smallest score of a feature is subtracted from all of its scores.
    pub fn subtract_min(self) -> bool {
        self.definition().subtract_min
    }

    /// The factor on scores: `scale`, or 1 for a classifier that has none.
    pub fn effective_scale(self, scale: f64) -> f64 {
        if self.has_scale() { scale } else { 1.0 }
    }

    /// What is subtracted at the label: `margin`, or 0 for a classifier that has none.
    pub fn effective_margin(self, margin: f64) -> f64 {
        if self.has_margin() { margin } else { 0.0 }
    }
}

fn unknown(name: &str) -> Error {
    Error::UnknownKind { got: name.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_parse_back_and_errors_list_them() {
        for kind in ClassifierKind::ALL {
            assert_eq!(kind.name().parse::<ClassifierKind>().unwrap(), kind);
            assert_eq!(kind.to_string(), kind.name());
        }
        assert_eq!(
            "arcface".parse::<ClassifierKind>().unwrap_err().to_string(),
            "unknown classifier `arcface`: expected softmax, cosine, neg-softmax or neg-cosine"
        );
    }

    #[test]
    fn scale_and_margin_count_where_they_are_defined() {
        let effective =
            |kind: ClassifierKind| (kind.effective_scale(30.0), kind.effective_margin(-0.02));
        let expected = [(1.0, 0.0), (30.0, 0.0), (30.0, -0.02), (30.0, -0.02)];
        assert_eq!(ClassifierKind::ALL.map(effective), expected);
    }
}
