//! A t-SNE map of features (van der Maaten and Hinton, "Visualizing Data using t-SNE", 2008).

use fewshot_episodes::FeatureBank;
use fewshot_seed::stream;
use rand::Rng;

/// Effective number of neighbours of a point, the usual value.
const PERPLEXITY: f64 = 30.0;

/// Places the images `(bank, index)` in a plane such that those with similar features, by the
/// distance of L2-normalised features, lie together. Equal images and seeds give equal places.
/// Returns nothing for fewer than ten
/// images.
pub fn t_sne(images: &[(&FeatureBank, usize)], seed: u64) -> Option<Vec<(f64, f64)>> {
    if images.len() < 10 {
        return None;
    }
    let features: Vec<Vec<f64>> = images
        .iter()
        .map(|&(bank, index)| {
            let feature = bank.feature(index).iter().map(|&value| f64::from(value));
            let length = feature.clone().map(|value| value * value).sum::<f64>().sqrt();
            feature.map(|value| value / length.max(f64::MIN_POSITIVE)).collect()
        })
        .collect();
    let mut rng = stream(seed, "t-sne", &[]);
    let start: Vec<f64> =
        (0..2 * images.len()).map(|_| 1e-4 * rng.random_range(-1.0..1.0)).collect();
    let embed = || {
        bhtsne::tSNE::<f64, Vec<f64>, 2>::new(&features)
            // The usual bound: three times as many points as the perplexity says.
            .perplexity(PERPLEXITY.min((images.len() - 1) as f64 / 3.0))
            .initial_embedding(start)
            .exact(|a, b| a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum::<f64>().sqrt())
            .embedding()
    };
    // The library's sums depend on the number of threads.
    let embedding = rayon::ThreadPoolBuilder::new().num_threads(1).build().ok()?.install(embed);
    Some(embedding.chunks_exact(2).map(|at| (at[0], at[1])).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three groups in eight dimensions stay together in the plane, whatever the number of threads.
    #[test]
    fn groups_stay_together_and_places_repeat() {
        let mut rng = stream(1, "features", &[]);
        let labels: Vec<u32> = (0..90).map(|image| image / 30).collect();
        let features: Vec<f32> = labels
            .iter()
            .flat_map(|&label| (0..8).map(move |axis| if axis == label { 1.0 } else { 0.0 }))
            .map(|center: f32| center + rng.random_range(-0.2..0.2))
            .collect();
        let bank = FeatureBank::new(features, 8, labels.clone()).unwrap();
        let images: Vec<_> = (0..90).map(|index| (&bank, index)).collect();
        let on_threads = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| t_sne(&images, 0).unwrap())
        };
        let places = on_threads(1);
        assert_eq!(places, on_threads(3));
        let distance =
            |a: usize, b: usize| (places[a].0 - places[b].0).hypot(places[a].1 - places[b].1);
        for image in 0..90 {
            let nearest = (0..90)
                .filter(|&other| other != image)
                .min_by(|&a, &b| distance(image, a).total_cmp(&distance(image, b)));
            assert_eq!(labels[nearest.unwrap()], labels[image], "image {image}");
        }
        assert_eq!(t_sne(&images[..9], 0), None);
    }
}
