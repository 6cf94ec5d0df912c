//! A checked scale and margin.

use crate::{ClassifierKind, Error};

/// A classifier's scale and margin, checked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Margin {
    scale: f64,
    margin: f64,
}

impl Margin {
    /// `scale` (the inverse temperature s of the paper's equation 1) must be positive and
    /// finite; `margin` (its m) finite and of any sign: negative is the paper's proposal.
    ///
    /// # Errors
    /// [`Error::Parameter`] naming the value.
    pub fn new(scale: f64, margin: f64) -> Result<Self, Error> {
        if !(scale.is_finite() && scale > 0.0) {
            let expected = "a positive finite number";
            return Err(Error::Parameter { what: "scale", got: scale, expected });
        }
        if !margin.is_finite() {
            let expected = "a finite number of any sign";
            return Err(Error::Parameter { what: "margin", got: margin, expected });
        }
        Ok(Self { scale, margin })
    }

    /// The factor on the scores of `kind` ([`ClassifierKind::effective_scale`]).
    pub fn scale(self, kind: ClassifierKind) -> f64 {
        kind.effective_scale(self.scale)
    }

    /// What `kind` subtracts at the label ([`ClassifierKind::effective_margin`]).
    pub fn margin(self, kind: ClassifierKind) -> f64 {
        kind.effective_margin(self.margin)
    }
}
