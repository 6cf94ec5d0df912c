//! The support set of an episode.

use crate::{Error, bank::check_rows};

/// The labelled features that a head learns from.
#[derive(Clone, Copy, Debug)]
pub struct Support<'a> {
    features: &'a [f32],
    dim: usize,
    labels: &'a [usize],
    way: usize,
}

impl<'a> Support<'a> {
    /// Takes `features` `[S, dim]`, row-major, where row `i` is of class `labels[i]` in `0..way`.
    ///
    /// # Errors
    ///
    /// If `dim` or `way` is 0, if there are not `dim` values for each label, if a label is not
    /// less than `way` or a class of `0..way` has no row, or if a value is NaN or infinite.
    pub fn new(
        features: &'a [f32],
        dim: usize,
        labels: &'a [usize],
        way: usize,
    ) -> Result<Self, Error> {
        check_rows("support features", features, dim, labels.len())?;
        if way == 0 {
            return Err(Error::Parameter { what: "way", got: 0.0, expected: "at least 1" });
        }
        if let Some(&got) = labels.iter().find(|&&label| label >= way) {
            return Err(Error::OutOfRange { what: "support label", got, limit: way });
        }
        match (0..way).find(|class| !labels.contains(class)) {
            Some(class) => Err(Error::EmptyClass { class }),
            None => Ok(Self { features, dim, labels, way }),
        }
    }

    /// Returns the number of classes.
    pub fn way(&self) -> usize {
        self.way
    }

    /// Returns the length of a feature, D.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// Returns the class of each row, `[S]`.
    pub fn labels(&self) -> &'a [usize] {
        self.labels
    }

    /// Returns the features, row after row, each `[D]`.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = &'a [f32]> {
        self.features.chunks_exact(self.dim)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_refused() {
        let features = [0.0, 1.0, 2.0, 3.0];
        let new = |dim, labels: &[usize], way| {
            Support::new(&features, dim, labels, way).map(|_| ()).map_err(|e| e.to_string())
        };
        assert_eq!(new(2, &[1, 0], 2), Ok(()));
        for (dim, labels, way, message) in [
            (0, &[1, 0][..], 2, "feature dimension is 0"),
            (3, &[1, 0], 2, "support features: expected 6 values, got 4"),
            (2, &[], 2, "support features: expected 0 values, got 4"),
            (2, &[0, 0], 0, "way is 0"),
            (2, &[2, 0], 2, "support label 2 is out of range: expected less than 2"),
            (2, &[2, 0], usize::MAX, "class 1 has no support row"),
        ] {
            let error = new(dim, labels, way).unwrap_err();
            assert!(error.contains(message), "{error}");
        }
        assert!(Support::new(&[], 2, &[], 1).is_err());
    }
}
