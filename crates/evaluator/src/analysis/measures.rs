//! What section 4 of the paper measures of features, and what explains it: discriminability, norms and
//! angles, the base classes that an unseen class is taken for, and confusion among classes.

use fewshot_episodes::FeatureBank;
use serde::{Deserialize, Serialize};

/// Clusters of features, one a class. Of L2-normalised features `x / ‖x‖` unless it says otherwise.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
pub struct Clusters {
    /// D_inter: the mean squared distance between the means of two classes (paper, section 4.1). It
    /// is 2C/(C-1) times the variance of the C class means.
    pub between: f64,
    /// D_intra: the mean over classes of the mean squared distance of a class's features to their
    /// mean, which is their variance.
    pub within: f64,
    /// The discriminability D_inter / D_intra: the higher, the better classes are told apart.
    pub discriminability: f64,
    /// Mean cosine of a feature and the mean of its class.
    pub cosine_to_mean: f64,
    /// Mean cosine of the means of two classes.
    pub cosine_of_means: f64,
    /// Mean length of the features as they are.
    pub norm: f64,
    /// Standard deviation of these lengths over their mean.
    pub norm_spread: f64,
}

/// Means of L2-normalised features of each class, `[C, D]`, with the number of images of each.
struct Means {
    rows: Vec<Vec<f64>>,
    counts: Vec<usize>,
}

/// Returns the feature of image `i`, divided by its length; zeros stay zeros.
fn normalized(bank: &FeatureBank, i: usize) -> Vec<f64> {
    let length = norm(bank, i);
    let scale = if length > 0.0 { 1.0 / length } else { 0.0 };
    bank.feature(i).iter().map(|&value| scale * f64::from(value)).collect()
}

fn norm(bank: &FeatureBank, i: usize) -> f64 {
    bank.feature(i).iter().map(|&value| f64::from(value) * f64::from(value)).sum::<f64>().sqrt()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn cosine(a: &[f64], b: &[f64]) -> f64 {
    let lengths = (dot(a, a) * dot(b, b)).sqrt();
    if lengths > 0.0 { dot(a, b) / lengths } else { 0.0 }
}

fn squared_distance(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum()
}

fn mean(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let count = values.len().max(1) as f64;
    values.sum::<f64>() / count
}

impl Means {
    fn new(bank: &FeatureBank, classes: usize) -> Self {
        let mut rows = vec![vec![0.0; bank.dim()]; classes];
        let mut counts = vec![0; classes];
        for (i, &label) in bank.labels().iter().enumerate() {
            let class = label as usize;
            counts[class] += 1;
            rows[class].iter_mut().zip(normalized(bank, i)).for_each(|(sum, value)| *sum += value);
        }
        for (row, &count) in rows.iter_mut().zip(&counts) {
            row.iter_mut().for_each(|sum| *sum /= count.max(1) as f64);
        }
        Self { rows, counts }
    }
}

/// Measures the clusters that the features of `classes` classes form. Classes without an image
/// (all of its images may have been skipped as broken) are left out. Returns nothing for fewer than
/// two classes.
pub fn clusters(bank: &FeatureBank, classes: usize) -> Option<Clusters> {
    let Means { rows, counts } = Means::new(bank, classes);
    let (mut within, mut cosines) = (vec![0.0; classes], vec![0.0; classes]);
    for (i, &label) in bank.labels().iter().enumerate() {
        let (class, feature) = (label as usize, normalized(bank, i));
        within[class] += squared_distance(&feature, &rows[class]) / counts[class] as f64;
        cosines[class] += cosine(&feature, &rows[class]) / counts[class] as f64;
    }
    let present: Vec<usize> = (0..classes).filter(|&class| counts[class] > 0).collect();
    if present.len() < 2 {
        return None;
    }
    let pairs: Vec<(usize, usize)> = present
        .iter()
        .enumerate()
        .flat_map(|(n, &first)| present[..n].iter().map(move |&second| (first, second)))
        .collect();
    let over_pairs = |measure: fn(&[f64], &[f64]) -> f64| {
        mean(pairs.iter().map(|&(first, second)| measure(&rows[first], &rows[second])))
    };
    let between = over_pairs(squared_distance);
    let within = mean(present.iter().map(|&class| within[class]));
    let lengths: Vec<f64> = (0..bank.len()).map(|i| norm(bank, i)).collect();
    let length = mean(lengths.iter().copied());
    let variance = mean(lengths.iter().map(|l| (l - length) * (l - length)));
    Some(Clusters {
        between,
        within,
        discriminability: between / within,
        cosine_to_mean: mean(present.iter().map(|&class| cosines[class])),
        cosine_of_means: over_pairs(cosine),
        norm: length,
        norm_spread: variance.sqrt() / length,
    })
}

/// Which base classes the trained classifier takes the images of unseen classes for: the peaks of the
/// paper's section 4.2.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Peaks {
    /// P(j, k): the share of the images of class j that the classifier takes for base class k.
    pub probability: Vec<Vec<f64>>,
    /// Mean over classes of the entropy of P(j, ·), in bits: 0 if each class is one base class.
    pub entropy: f64,
    /// Mean over classes of the number of base classes, largest shares first, that hold 90 % of a
    /// class's images.
    pub classes_of_90_percent: f64,
    /// Mean over classes of the largest share.
    pub largest_share: f64,
}

/// Measures how the images of `classes` classes spread over `base_classes` base classes, where image
/// `i` of class `labels[i]` is taken for base class `predictions[i]`. Classes without an image are
/// left out of the means.
pub fn peaks(labels: &[u32], predictions: &[u32], classes: usize, base_classes: usize) -> Peaks {
    let probability = shares(labels, predictions, classes, base_classes);
    let present: Vec<&Vec<f64>> =
        probability.iter().filter(|row| row.iter().sum::<f64>() > 0.0).collect();
    let over_classes = |measure: fn(&[f64]) -> f64| mean(present.iter().map(|row| measure(row)));
    let entropy = over_classes(|row| {
        -row.iter().filter(|&&share| share > 0.0).map(|share| share * share.log2()).sum::<f64>()
    });
    let classes_of_90_percent = over_classes(|row| {
        let mut sorted = row.to_vec();
        sorted.sort_by(|a, b| b.total_cmp(a));
        let mut sum = 0.0;
        // Rounding must not ask for one class more.
        let enough = |share: &f64| {
            sum += share;
            sum >= 0.9 - 1e-9
        };
        sorted.iter().position(enough).map_or(0.0, |position| position as f64 + 1.0)
    });
    let largest_share = over_classes(|row| row.iter().copied().fold(0.0, f64::max));
    Peaks { entropy, classes_of_90_percent, largest_share, probability }
}

/// Returns the share of each class's images that have each prediction, `[classes, predicted]`.
fn shares(labels: &[u32], predictions: &[u32], classes: usize, predicted: usize) -> Vec<Vec<f64>> {
    let mut counts = vec![vec![0.0; predicted]; classes];
    for (&label, &prediction) in labels.iter().zip(predictions) {
        counts[label as usize][prediction as usize] += 1.0;
    }
    for row in &mut counts {
        let sum: f64 = row.iter().sum();
        row.iter_mut().for_each(|count| *count /= sum.max(1.0));
    }
    counts
}

/// Returns the share of the images of each class whose nearest class mean, by cosine, is that of each
/// class, `[C, C]`. The mean of an image's own class is taken without the image. Images that are alone
/// in their class are left out.
pub fn confusion(bank: &FeatureBank, classes: usize) -> Vec<Vec<f64>> {
    let Means { rows, counts } = Means::new(bank, classes);
    let (mut labels, mut predictions) = (Vec::new(), Vec::new());
    for (i, &label) in bank.labels().iter().enumerate() {
        let own = label as usize;
        if counts[own] < 2 {
            continue;
        }
        let feature = normalized(bank, i);
        let count = counts[own] as f64;
        let others: Vec<f64> =
            rows[own].iter().zip(&feature).map(|(mean, value)| mean * count - value).collect();
        let score = |class: usize| match class {
            class if class == own => cosine(&feature, &others),
            class if counts[class] == 0 => f64::NEG_INFINITY,
            class => cosine(&feature, &rows[class]),
        };
        let scores: Vec<f64> = (0..classes).map(score).collect();
        let nearest = (0..classes)
            .fold(0, |best, class| if scores[class] > scores[best] { class } else { best });
        labels.push(label);
        predictions.push(nearest as u32);
    }
    shares(&labels, &predictions, classes, classes)
}

/// Returns the images of `class` in the order of their cosine to its mean, closest first.
pub fn by_closeness(bank: &FeatureBank, class: u32) -> Vec<(usize, f64)> {
    let own: Vec<usize> = (0..bank.len()).filter(|&i| bank.labels()[i] == class).collect();
    let mut mean = vec![0.0; bank.dim()];
    for &i in &own {
        mean.iter_mut().zip(normalized(bank, i)).for_each(|(sum, value)| *sum += value);
    }
    let mut images: Vec<(usize, f64)> =
        own.iter().map(|&i| (i, cosine(&normalized(bank, i), &mean))).collect();
    images.sort_by(|a, b| b.1.total_cmp(&a.1));
    images
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bank(features: &[[f32; 2]], labels: &[u32]) -> FeatureBank {
        FeatureBank::new(features.concat(), 2, labels.to_vec()).unwrap()
    }

    /// Two classes on the unit circle, 30° on either side of their directions, which are 90° apart.
    fn two_classes() -> FeatureBank {
        let at = |degrees: f32, length: f32| {
            [length * degrees.to_radians().cos(), length * degrees.to_radians().sin()]
        };
        bank(&[at(-30.0, 1.0), at(30.0, 3.0), at(60.0, 2.0), at(120.0, 2.0)], &[0, 0, 1, 1])
    }

    #[test]
    fn clusters_are_those_of_the_formulas() {
        let measured = clusters(&two_classes(), 2).unwrap();
        // Means have length cos 30° = √3/2, at 0° and 90°: their distance is √(2·3/4).
        // Each feature lies sin 30° from its mean.
        let expected = [
            (measured.between, 1.5),
            (measured.within, 0.25),
            (measured.discriminability, 6.0),
            (measured.cosine_to_mean, 0.75f64.sqrt()),
            (measured.cosine_of_means, 0.0),
            (measured.norm, 2.0),
            (measured.norm_spread, 0.5f64.sqrt() / 2.0),
        ];
        for (got, expected) in expected {
            assert!((got - expected).abs() < 1e-6, "{got} instead of {expected}");
        }
        assert_eq!(clusters(&bank(&[[1.0, 0.0]], &[0]), 1), None);
    }

    /// The mean squared distance between means is 2C/(C-1) times their variance, as the documentation
    /// says; classes without an image change nothing.
    #[test]
    fn distance_between_means_is_their_variance_but_for_a_factor() {
        let features = [[3.0, 0.5], [1.0, -2.0], [0.2, 0.1], [-1.0, 0.3]];
        let measured = clusters(&bank(&features, &[0, 1, 2, 3]), 6).unwrap();
        let units: Vec<[f64; 2]> = features
            .iter()
            .map(|&[x, y]| [f64::from(x), f64::from(y)])
            .map(|[x, y]| [x / x.hypot(y), y / x.hypot(y)])
            .collect();
        let center = [0, 1].map(|axis| units.iter().map(|unit| unit[axis]).sum::<f64>() / 4.0);
        let variance = units.iter().map(|u| squared_distance(u, &center)).sum::<f64>() / 4.0;
        assert!((measured.between - 2.0 * 4.0 / 3.0 * variance).abs() < 1e-12);
        assert!(measured.within < 1e-30);
    }

    #[test]
    fn peaks_of_a_class_that_is_split_and_of_one_that_is_not() {
        let labels = [vec![0; 10], vec![2; 4]].concat();
        let predictions = [vec![3; 8], vec![0, 1], vec![2; 4]].concat();
        let measured = peaks(&labels, &predictions, 3, 4);
        assert_eq!(measured.probability[0], [0.1, 0.1, 0.0, 0.8]);
        assert_eq!(measured.probability[1], [0.0; 4]);
        assert_eq!(measured.probability[2], [0.0, 0.0, 1.0, 0.0]);
        // 0.8 + 0.1 is 90 %: two base classes, not three. Class 1 has no image and does not count.
        assert_eq!(measured.classes_of_90_percent, f64::midpoint(2.0, 1.0));
        assert_eq!(measured.largest_share, f64::midpoint(0.8, 1.0));
        let entropy = -(0.8 * 0.8f64.log2() + 0.2 * 0.1f64.log2()) / 2.0;
        assert!((measured.entropy - entropy).abs() < 1e-12);
    }

    /// An image of its own is no reason to find its class: without it, the mean of class 1 lies
    /// elsewhere.
    #[test]
    fn an_image_does_not_count_for_its_own_class() {
        let features = [[1.0, 0.0], [1.0, 0.1], [0.9, 0.0], [0.0, 1.0], [5.0, 5.0]];
        let found = confusion(&bank(&features, &[0, 0, 1, 1, 2]), 3);
        assert_eq!(found[0], [1.0, 0.0, 0.0]);
        // The image at (0.9, 0) is compared with (0, 1) alone, the one at (0, 1) with (0.9, 0): both
        // are nearer to class 0 or 2.
        assert_eq!(found[1], [0.5, 0.0, 0.5]);
        assert_eq!(found[2], [0.0; 3], "an image alone in its class");
    }

    #[test]
    fn the_closest_image_is_nearest_to_the_mean_of_its_class() {
        let features = [[1.0, 0.0], [1.0, 1.0], [0.0, 1.0], [1.0, 0.9], [-1.0, 0.0]];
        let order: Vec<usize> = by_closeness(&bank(&features, &[0, 0, 0, 0, 1]), 0)
            .iter()
            .map(|image| image.0)
            .collect();
        // The mean points to 44.1°; the images to 0°, 45°, 90° and 42°.
        assert_eq!(order, [1, 3, 0, 2]);
    }
}
