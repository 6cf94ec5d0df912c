//! Features of all images, by index.

use crate::Error;
use crate::vector::{normalize, widen};

/// Features and labels of all images that episodes are drawn from.
#[derive(Clone, Debug)]
pub struct FeatureBank {
    features: Vec<f32>,
    dim: usize,
    labels: Vec<u32>,
    /// Features of the images as support images, where those are others.
    support: Option<Vec<f32>>,
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
        Ok(Self { features, dim, labels, support: None })
    }

    /// Takes features `[N, dim]` that images have in support sets: those above are of queries then.
    ///
    /// # Errors
    ///
    /// Those of [`new`](Self::new).
    pub fn with_support_features(self, features: Vec<f32>) -> Result<Self, Error> {
        check_rows("support features", &features, self.dim, self.labels.len())?;
        Ok(Self { support: Some(features), ..self })
    }

    /// Puts the features of several networks side by side, each L2-normalized, so that none outweighs the
    /// others.
    ///
    /// # Errors
    ///
    /// If there is no bank, or they are of other images.
    pub fn side_by_side(banks: &[Self]) -> Result<Self, Error> {
        let first = banks.first().ok_or(Error::OtherLabels)?;
        if banks.iter().any(|bank| bank.labels != first.labels) {
            return Err(Error::OtherLabels);
        }
        let joined = |feature: for<'b> fn(&'b Self, usize) -> &'b [f32]| -> Vec<f32> {
            let of_image = |i| banks.iter().flat_map(move |bank| direction(feature(bank, i)));
            (0..first.len()).flat_map(of_image).collect()
        };
        let dim = banks.iter().map(Self::dim).sum();
        let bank = Self::new(joined(Self::feature), dim, first.labels.clone())?;
        match banks.iter().any(Self::has_support_features) {
            true => bank.with_support_features(joined(Self::support_feature)),
            false => Ok(bank),
        }
    }

    /// Whether images have other features in support sets.
    pub fn has_support_features(&self) -> bool {
        self.support.is_some()
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

    /// Returns the feature `[D]` of image `i` in a support set.
    ///
    /// # Panics
    ///
    /// If `i` is not less than [`len`](Self::len).
    pub fn support_feature(&self, i: usize) -> &[f32] {
        &self.support.as_ref().unwrap_or(&self.features)[i * self.dim..][..self.dim]
    }
}

/// Returns a feature, L2-normalized.
fn direction(feature: &[f32]) -> impl Iterator<Item = f32> {
    let mut direction = widen(feature);
    normalize(&mut direction);
    direction.into_iter().map(|value| value as f32)
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
    fn networks_stand_side_by_side() {
        let bank = |features: &[f32]| FeatureBank::new(features.to_vec(), 2, vec![0, 1]).unwrap();
        let (a, b) = (bank(&[3.0, 4.0, 0.0, 2.0]), bank(&[0.0, 0.0, -5.0, 0.0]));
        let both = FeatureBank::side_by_side(&[a.clone(), b.clone()]).unwrap();
        assert_eq!((both.dim(), both.len()), (4, 2));
        assert_eq!(both.feature(0), [0.6, 0.8, 0.0, 0.0]);
        assert_eq!(both.feature(1), [0.0, 1.0, -1.0, 0.0]);
        assert_eq!(both.support_feature(1), both.feature(1));
        let b = b.with_support_features(vec![0.0, 1.0, 0.0, 3.0]).unwrap();
        let both = FeatureBank::side_by_side(&[a, b]).unwrap();
        assert_eq!(both.support_feature(1), [0.0, 1.0, 0.0, 1.0]);
        assert_eq!(both.feature(1), [0.0, 1.0, -1.0, 0.0]);
        let other = FeatureBank::new(vec![1.0; 2], 1, vec![1, 0]).unwrap();
        assert_eq!(FeatureBank::side_by_side(&[other, both]).unwrap_err(), Error::OtherLabels);
        assert!(FeatureBank::side_by_side(&[]).is_err());
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
