//! Features of all images, by index.

use crate::Error;

/// Features and labels of all images that episodes are drawn from.
#[derive(Clone, Debug)]
pub struct FeatureBank {
    features: Vec<f32>,
    dim: usize,
    labels: Vec<u32>,
}

impl FeatureBank {
    /// Takes `features` `[N, dim]`, row-major, where row `i` is of class `labels[i]`.
    ///
    /// # Errors
    ///
    /// If `dim` is 0, if there are not `dim` values for each label, or if a value is NaN or
    /// infinite.
    pub fn new(features: Vec<f32>, dim: usize, labels: Vec<u32>) -> Result<Self, Error> {
        check_rows("features", &features, dim, labels.len())?;
        Ok(Self { features, dim, labels })
    }

    /// Returns the number of images, N.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Returns whether there are no images.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Returns the length of a feature, D.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// Returns the class of each image, `[N]`.
    pub fn labels(&self) -> &[u32] {
        &self.labels
    }

    /// Returns the feature `[D]` of image `i`.
    ///
    /// # Panics
    ///
    /// If `i` is not less than [`len`](Self::len).
    pub fn feature(&self, i: usize) -> &[f32] {
        &self.features[i * self.dim..][..self.dim]
    }
}

/// Checks that `values` are finite and form `rows` rows of `dim`.
pub(crate) fn check_rows(
    what: &'static str,
    values: &[f32],
    dim: usize,
    rows: usize,
) -> Result<(), Error> {
    if dim == 0 {
        return Err(Error::Parameter {
            what: "feature dimension",
            got: 0.0,
            expected: "at least 1",
        });
    }
    let expected = rows.saturating_mul(dim);
    if values.len() != expected {
        return Err(Error::Length { what, expected, got: values.len() });
    }
    match values.iter().position(|value| !value.is_finite()) {
        Some(i) => Err(Error::NotFinite { row: i / dim }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_returned_by_index() {
        let bank = FeatureBank::new(vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0], 2, vec![7, 8, 7]).unwrap();
        assert_eq!((bank.len(), bank.dim(), bank.is_empty()), (3, 2, false));
        assert_eq!(bank.feature(2), [5.0, 6.0]);
        assert_eq!(bank.labels(), [7, 8, 7]);
        assert!(FeatureBank::new(vec![], 2, vec![]).unwrap().is_empty());
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let refused = |features, dim, labels| FeatureBank::new(features, dim, labels).unwrap_err();
        assert!(refused(vec![], 0, vec![]).to_string().contains("feature dimension is 0"));
        assert_eq!(
            refused(vec![1.0; 5], 2, vec![0; 3]).to_string(),
            "features: expected 6 values, got 5"
        );
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let features = vec![0.0, 0.0, 0.0, bad, 0.0, bad];
            assert_eq!(refused(features, 2, vec![0; 3]), Error::NotFinite { row: 1 });
        }
        assert!(matches!(refused(vec![], usize::MAX, vec![0; 3]), Error::Length { .. }));
    }
}
