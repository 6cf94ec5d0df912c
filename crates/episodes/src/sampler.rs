//! Random episodes.

use std::collections::BTreeMap;

use fewshot_seed::stream;
use rand::seq::index;

use crate::Error;

/// The size of an episode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpisodeShape {
    /// Number of classes.
    pub way: usize,
    /// Support images per class.
    pub shot: usize,
    /// Query images per class.
    pub query: usize,
}

/// One few-shot task: a choice of classes and of images of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Episode {
    /// The classes, `[way]`; the label of an image in the episode is the position of its class.
    pub classes: Vec<u32>,
    /// Indices of the support images, `[way · shot]`, class after class.
    pub support: Vec<usize>,
    /// Indices of the query images, `[way · query]`, class after class; none is in `support`.
    pub query: Vec<usize>,
}

/// Draws episodes from labels alone: it needs neither images nor features.
#[derive(Clone, Debug)]
pub struct Sampler {
    shape: EpisodeShape,
    seed: u64,
    images: usize,
    /// Each class with the indices of its images, in the order of the classes' labels.
    classes: Vec<(u32, Vec<usize>)>,
}

impl Sampler {
    /// Prepares to draw episodes from images, where image `i` is of class `labels[i]`.
    ///
    /// # Errors
    ///
    /// If way, shot or query is 0, if there are fewer classes than `way`, or if any class
    /// has fewer images than `shot + query`.
    pub fn new(labels: &[u32], shape: EpisodeShape, seed: u64) -> Result<Self, Error> {
        for (what, size) in [("way", shape.way), ("shot", shape.shot), ("query", shape.query)] {
            if size == 0 {
                return Err(Error::Parameter { what, got: 0.0, expected: "at least 1" });
            }
        }
        let mut classes = BTreeMap::<u32, Vec<usize>>::new();
        for (image, &class) in labels.iter().enumerate() {
            classes.entry(class).or_default().push(image);
        }
        if classes.len() < shape.way {
            return Err(Error::TooFewClasses { way: shape.way, classes: classes.len() });
        }
        let smallest = classes.iter().min_by_key(|(_, images)| images.len());
        if let Some((&class, images)) = smallest
            && images.len() < shape.shot.saturating_add(shape.query)
        {
            return Err(Error::TooFewImages {
                class,
                images: images.len(),
                shot: shape.shot,
                query: shape.query,
            });
        }
        Ok(Self { shape, seed, images: labels.len(), classes: classes.into_iter().collect() })
    }

    /// Returns the size of the episodes.
    pub fn shape(&self) -> EpisodeShape {
        self.shape
    }

    /// Draws episode `n`: classes, and images of each class, uniformly without replacement.
    ///
    /// It is a function of the seed and `n` alone, drawn from `stream(seed, "episode", &[n])`.
    pub fn episode(&self, n: u64) -> Episode {
        let EpisodeShape { way, shot, query } = self.shape;
        let mut rng = stream(self.seed, "episode", &[n]);
        let mut episode = Episode {
            classes: Vec::with_capacity(way),
            support: Vec::with_capacity(way * shot),
            query: Vec::with_capacity(way * query),
        };
        for class in index::sample(&mut rng, self.classes.len(), way) {
            let (label, images) = &self.classes[class];
            let mut drawn =
                index::sample(&mut rng, images.len(), shot + query).into_iter().map(|i| images[i]);
            episode.classes.push(*label);
            episode.support.extend(drawn.by_ref().take(shot));
            episode.query.extend(drawn);
        }
        episode
    }

    /// Returns whether these are the labels that the sampler was made for.
    pub(crate) fn is_of(&self, labels: &[u32]) -> bool {
        let agree = |(class, images): &(u32, Vec<usize>)| {
            images.iter().all(|&image| labels[image] == *class)
        };
        labels.len() == self.images && self.classes.iter().all(agree)
    }
}
