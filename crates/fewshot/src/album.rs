//! Classes that were learned from photos.

use std::collections::HashMap;
use std::path::Path;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::calibration::{calibration_error, probabilities, quantile, temperature};
use crate::classifier::{Classifier, directions, dot, sums};
use crate::{
    Answer, Checked, Error, Extracted, HeadKind, HeldOut, Network, Photo, Photos, Wanted, extract,
};

/// Most photos of a class of which each is left out alone, with one of each other class; of more, a
/// tenth at a time.
const LEAVE_ONE_OUT: usize = 10;
/// Cosine from which photos of two classes are called near-duplicates.
const NEAR_DUPLICATE: f64 = 0.995;

/// How an album is made.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FitOptions {
    /// How its classifier is learned.
    pub head: HeadKind,
    /// Share of photos of known classes that may be called unknown.
    pub false_alarms: f64,
    /// Seed of fine-tuning and of the parts that are left out.
    pub seed: u64,
}

impl Default for FitOptions {
    fn default() -> Self {
        Self { head: HeadKind::default(), false_alarms: 0.05, seed: 0 }
    }
}

/// A photo that was learned.
#[derive(Clone, Debug, PartialEq)]
pub struct Support {
    /// Its path below the folder of photos.
    pub name: String,
    /// Its class.
    pub label: usize,
    /// Its content.
    pub extracted: Extracted,
}

/// What makes answers of scores.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct Calibration {
    // Single precision, which JSON gives back to the last bit.
    pub temperature: f32,
    /// Similarity to the nearest class mean below which a photo is unknown; none if it cannot be told.
    pub threshold: Option<f32>,
}

/// The network that features are of.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct Backbone {
    /// Path or address.
    pub reference: String,
    pub name: String,
    pub sha256: String,
    pub dim: usize,
    pub image_size: usize,
}

/// Photos that an album had not seen, with what it said of each.
#[derive(Clone, Debug)]
pub struct Tested {
    /// Accuracy.
    pub checked: Checked,
    /// The photos of classes that the album has, with their answers.
    pub photos: Vec<(Support, Answer)>,
}

/// A photo with its answer, or with why it could not be read.
pub type Answered<'p> = (&'p Photo, Result<Answer, Error>);

/// Classes that were learned from photos of each, with a calibrated classifier.
#[derive(Clone, Debug, PartialEq)]
pub struct Album {
    pub(crate) backbone: Backbone,
    pub(crate) head: HeadKind,
    pub(crate) false_alarms: f64,
    pub(crate) seed: u64,
    /// Names of the classes.
    pub classes: Vec<String>,
    /// The photos, by class.
    pub supports: Vec<Support>,
    pub(crate) classifier: Classifier,
    /// Means of each class, `[K, D]`, L2-normalised.
    pub(crate) means: Vec<f32>,
    pub(crate) calibration: Calibration,
    /// What it found out about itself.
    pub held_out: HeldOut,
    /// Photos that could not be read when it was made, with the reason; not part of its file.
    pub broken: Vec<String>,
}

impl Album {
    /// Learns the classes of labelled photos.
    ///
    /// # Errors
    /// [`Error::Photos`] for fewer than two classes of which a photo can be read; a network that fails.
    pub fn fit(network: &Network, photos: &Photos, options: &FitOptions) -> Result<Self, Error> {
        Self::fit_knowing(network, photos, options, &HashMap::new())
    }

    /// As [`fit`](Self::fit), with photos whose features are known already, by their files' SHA-256.
    ///
    /// # Errors
    /// Those of [`fit`](Self::fit).
    pub fn fit_knowing(
        network: &Network,
        photos: &Photos,
        options: &FitOptions,
        known: &HashMap<String, Extracted>,
    ) -> Result<Self, Error> {
        let (supports, broken) = supports(network, photos, known)?;
        let mut album = Self {
            backbone: Backbone {
                reference: network.reference().to_owned(),
                name: network.backbone().to_owned(),
                sha256: network.sha256().to_owned(),
                dim: network.dim(),
                image_size: network.image_size(),
            },
            head: options.head,
            false_alarms: options.false_alarms,
            seed: options.seed,
            classes: photos.classes.clone(),
            supports,
            classifier: Classifier { weight: Vec::new(), bias: Vec::new() },
            means: Vec::new(),
            calibration: Calibration { temperature: 1.0, threshold: None },
            held_out: HeldOut::default(),
            broken,
        };
        album.learn()?;
        Ok(album)
    }

    /// Adds photos, of known classes or of new ones, and learns all anew from the features that are
    /// there. A photo that is there already, by its content, is left out. Returns how many are new.
    ///
    /// # Errors
    /// Those of [`fit`](Self::fit); a network that the album is not of.
    pub fn add(&mut self, network: &Network, photos: &Photos) -> Result<usize, Error> {
        self.check_network(network)?;
        let (added, broken) = supports(network, photos, &HashMap::new())?;
        let named = |support: Support| (photos.classes[support.label].clone(), support);
        let count = self.insert(added.into_iter().map(named).collect())?;
        self.broken = broken;
        Ok(count)
    }

    /// Adds a photo whose feature is there to a class, which may be a new one. Returns whether it is new.
    ///
    /// # Errors
    /// The same photo in another class.
    pub fn add_one(
        &mut self,
        class: &str,
        name: &str,
        extracted: Extracted,
    ) -> Result<bool, Error> {
        let support = Support { name: name.to_owned(), label: 0, extracted };
        Ok(self.insert(vec![(class.to_owned(), support)])? == 1)
    }

    /// Takes a photo out, by the SHA-256 of its file, and with the last photo of a class the class.
    ///
    /// # Errors
    /// No such photo; the last but one class.
    pub fn remove(&mut self, sha256: &str) -> Result<(), Error> {
        let is_it = |support: &Support| support.extracted.sha256 == sha256;
        let missing =
            || Error::Broken { name: sha256.to_owned(), reason: "no such photo".to_owned() };
        let index = self.supports.iter().position(is_it).ok_or_else(missing)?;
        let label = self.supports[index].label;
        let is_last = self.supports.iter().filter(|support| support.label == label).count() == 1;
        if is_last && self.classes.len() == 2 {
            let (name, class) = (self.supports[index].name.clone(), &self.classes[label]);
            let reason =
                format!("is the last photo of `{class}`, and an album has two classes at least");
            return Err(Error::Broken { name, reason });
        }
        let before = self.clone();
        self.supports.remove(index);
        if is_last {
            self.classes.remove(label);
            for support in self.supports.iter_mut().filter(|support| support.label > label) {
                support.label -= 1;
            }
        }
        self.learn().inspect_err(|_| *self = before)
    }

    /// Adds photos to classes of these names, and learns all anew; all of them or none.
    fn insert(&mut self, added: Vec<(String, Support)>) -> Result<usize, Error> {
        let before = self.clone();
        let mut count = 0;
        for (class, mut support) in added {
            let is_there = |known: &&Support| known.extracted.sha256 == support.extracted.sha256;
            if let Some(known) = self.supports.iter().find(is_there) {
                if self.classes[known.label] != class {
                    let reason = format!(
                        "is of `{class}`, but the same photo is there as `{}`, of `{}`",
                        known.name, self.classes[known.label]
                    );
                    *self = before;
                    return Err(Error::Broken { name: support.name, reason });
                }
                continue;
            }
            let known = self.classes.iter().position(|name| *name == class);
            support.label = known.unwrap_or(self.classes.len());
            if known.is_none() {
                self.classes.push(class);
            }
            self.supports.push(support);
            count += 1;
        }
        self.supports.sort_by_key(|support| support.label);
        self.learn().inspect_err(|_| *self = before)?;
        Ok(count)
    }

    /// Labels photos, in their order; the error of each that is broken stands in its place.
    ///
    /// # Errors
    /// A network that the album is not of, or that fails.
    pub fn classify<'p>(
        &self,
        network: &Network,
        photos: &'p Photos,
    ) -> Result<Vec<Answered<'p>>, Error> {
        self.check_network(network)?;
        let extracted = extract(network, &photos.photos, &self.known(), Wanted::Features)?;
        let answers: Vec<_> = extracted
            .into_par_iter()
            .map(|extracted| extracted.map(|extracted| self.answer(&extracted.feature)))
            .collect();
        Ok(photos.photos.iter().zip(answers).collect())
    }

    /// Labels an L2-normalised feature.
    pub fn answer(&self, feature: &[f32]) -> Answer {
        let probabilities =
            probabilities(&self.classifier.scores(feature), self.calibration.temperature.into());
        let mut classes: Vec<(usize, f64)> = probabilities.into_iter().enumerate().collect();
        classes.sort_by(|a, b| b.1.total_cmp(&a.1));
        let similarity = similarity(&self.means, feature);
        let cosine = |support: &Support| dot(&support.extracted.feature, feature);
        let nearest = self.supports.iter().map(cosine).enumerate();
        Answer {
            classes,
            similarity,
            is_unknown: self
                .calibration
                .threshold
                .is_some_and(|least| similarity < f64::from(least)),
            nearest: nearest.max_by(|a, b| a.1.total_cmp(&b.1)).unwrap_or_default(),
        }
    }

    /// Says in words what a photo is.
    pub fn describe(&self, answer: &Answer) -> String {
        let name = &self.classes[answer.class()];
        let percent = 100.0 * answer.probability();
        match answer.is_unknown {
            true => format!("unknown (nearest: {name})"),
            false => format!("{name}, {percent:.0} %"),
        }
    }

    /// Measures accuracy on labelled photos. Those of classes that the album does not have should be called
    /// unknown. Returns the errors of broken photos as well.
    ///
    /// # Errors
    /// A network that the album is not of; photos of which none can be read.
    pub fn check(
        &self,
        network: &Network,
        photos: &Photos,
    ) -> Result<(Checked, Vec<Error>), Error> {
        let (tested, broken) = self.test(network, photos)?;
        Ok((tested.checked, broken))
    }

    /// As [`check`](Self::check), with the answer about each photo.
    ///
    /// # Errors
    /// Those of [`check`](Self::check).
    pub fn test(&self, network: &Network, photos: &Photos) -> Result<(Tested, Vec<Error>), Error> {
        self.check_network(network)?;
        let of_class =
            |label: usize| self.classes.iter().position(|name| *name == photos.classes[label]);
        let (mut tested, mut broken, mut strangers) = (Vec::new(), Vec::new(), Vec::new());
        let extracted = extract(network, &photos.photos, &self.known(), Wanted::Thumbnails)?;
        for (photo, extracted) in photos.photos.iter().zip(extracted) {
            let extracted = match extracted {
                Ok(extracted) => extracted,
                Err(error) => {
                    broken.push(error);
                    continue;
                }
            };
            let answer = self.answer(&extracted.feature);
            match photo.label.and_then(of_class) {
                Some(label) => {
                    let support = Support { name: photo.name.clone(), label, extracted };
                    tested.push((support, answer));
                }
                None => strangers.push(answer.is_unknown),
            }
        }
        if tested.is_empty() && strangers.is_empty() {
            return Err(broken.into_iter().next().unwrap_or_else(|| {
                Error::photos(Path::new(""), "there is no photo to check with")
            }));
        }
        let answers: Vec<_> = tested
            .iter()
            .map(|(photo, a)| (photo.label, a.class(), a.probability(), a.is_unknown))
            .collect();
        let mut checked = Checked::new(&self.classes, &answers);
        if !strangers.is_empty() {
            let unknown = strangers.iter().filter(|is_unknown| **is_unknown).count();
            checked.strangers = Some((strangers.len(), unknown as f64 / strangers.len() as f64));
        }
        Ok((Tested { checked, photos: tested }, broken))
    }

    /// Accuracy on photos that were left out, the only ones of their class excepted.
    pub fn left_out(&self) -> Checked {
        let answers = self.supports.iter().zip(&self.held_out.answers);
        let answers: Vec<_> = answers
            .filter_map(|(support, answer)| {
                answer.map(|(taken_for, p)| (support.label, taken_for, f64::from(p), false))
            })
            .collect();
        Checked::new(&self.classes, &answers)
    }

    /// Photos that a classifier which had not seen them takes for another class, the surest first: what is
    /// most likely mislabelled. Each with that class and its probability.
    pub fn doubtful(&self) -> Vec<(&Support, usize, f64)> {
        let all = self.supports.iter().zip(&self.held_out.answers);
        let mut doubtful: Vec<_> = all
            .filter_map(|(support, answer)| {
                let (taken_for, probability) = (*answer)?;
                (taken_for != support.label).then_some((support, taken_for, f64::from(probability)))
            })
            .collect();
        doubtful.sort_by(|a, b| b.2.total_cmp(&a.2));
        doubtful
    }

    /// Pairs of photos of two classes that are nearly the same.
    pub fn near_duplicates(&self) -> Vec<(&Support, &Support)> {
        let pairs = self.supports.par_iter().enumerate().flat_map_iter(|(index, a)| {
            let later = self.supports[index + 1..].iter().filter(|b| b.label != a.label);
            let is_near = |b: &&Support| {
                b.extracted.sha256 == a.extracted.sha256
                    || dot(&a.extracted.feature, &b.extracted.feature) >= NEAR_DUPLICATE
            };
            later.filter(is_near).map(move |b| (a, b)).collect::<Vec<_>>()
        });
        pairs.collect()
    }

    /// The features of its photos by the SHA-256 of their files.
    pub fn known(&self) -> HashMap<String, Extracted> {
        let all = self.supports.iter().map(|support| &support.extracted);
        all.map(|extracted| (extracted.sha256.clone(), extracted.clone())).collect()
    }

    /// The path or address of its network, as it was given.
    pub fn network_reference(&self) -> &str {
        &self.backbone.reference
    }

    /// Has the album name its network by another path, such as one that is relative to its own file.
    pub fn set_network_reference(&mut self, reference: String) {
        self.backbone.reference = reference;
    }

    /// How its classifier is learned.
    pub fn head(&self) -> HeadKind {
        self.head
    }

    /// Similarity to the nearest class mean below which a photo is unknown.
    pub fn threshold(&self) -> Option<f64> {
        self.calibration.threshold.map(f64::from)
    }

    /// Has photos be unknown below another similarity, or never.
    pub fn set_threshold(&mut self, threshold: Option<f64>) {
        self.calibration.threshold = threshold.map(|threshold| threshold as f32);
    }

    /// Whether features are of the same network.
    ///
    /// # Errors
    /// [`Error::Album`] if they are not.
    pub fn check_network(&self, network: &Network) -> Result<(), Error> {
        if self.backbone.sha256 == network.sha256() {
            return Ok(());
        }
        let Backbone { reference, name, image_size, .. } = &self.backbone;
        let reason = format!(
            "is another network than the {name} at {image_size} px that the album was made with ({reference}): \
             name that by --model, or make the album anew by `fewshot fit`"
        );
        Err(Error::album(Path::new(network.reference()), reason))
    }

    /// Learns classifier and calibration from the supports.
    fn learn(&mut self) -> Result<(), Error> {
        let (classes, dim) = (self.classes.len(), self.backbone.dim);
        let features: Vec<&[f32]> =
            self.supports.iter().map(|support| &*support.extracted.feature).collect();
        let labels: Vec<usize> = self.supports.iter().map(|support| support.label).collect();
        let sums = sums(&features, &labels, classes, dim);
        let held_out = hold_out((self.head, self.seed), &features, &labels, classes, &sums)?;
        let mut similarities: Vec<f64> = held_out.iter().flatten().map(|(_, s)| *s).collect();
        let scored = held_out.iter().zip(&labels);
        let scored: Vec<(Vec<f64>, usize)> = scored
            .filter_map(|(held_out, label)| Some((held_out.as_ref()?.0.clone(), *label)))
            .collect();
        let temperature = f64::from(temperature(&scored) as f32);
        let errors = [1.0, temperature].map(|temperature| {
            let answers = scored.iter().map(|(scores, label)| {
                let (class, probability) = best(&probabilities(scores, temperature));
                (probability, class == *label)
            });
            calibration_error(&answers.collect::<Vec<_>>())
        });
        self.held_out = HeldOut {
            answers: held_out
                .iter()
                .map(|held_out| {
                    let (class, p) = best(&probabilities(&held_out.as_ref()?.0, temperature));
                    Some((class, p as f32))
                })
                .collect(),
            calibration_errors: (errors[0] as f32, errors[1] as f32),
        };
        self.calibration = Calibration {
            temperature: temperature as f32,
            threshold: quantile(&mut similarities, self.false_alarms).map(|least| least as f32),
        };
        self.classifier = Classifier::fit(self.head, &features, &labels, classes, self.seed)?;
        self.means = directions(&sums, dim);
        Ok(())
    }
}

/// Extracts the features of labelled photos; returns the messages of broken ones as well.
fn supports(
    network: &Network,
    photos: &Photos,
    known: &HashMap<String, Extracted>,
) -> Result<(Vec<Support>, Vec<String>), Error> {
    let extracted = extract(network, &photos.photos, known, Wanted::Thumbnails)?;
    let (mut supports, mut broken) = (Vec::new(), Vec::new());
    for (photo, extracted) in photos.photos.iter().zip(extracted) {
        match (extracted, photo.label) {
            (Ok(extracted), Some(label)) => {
                supports.push(Support { name: photo.name.clone(), label, extracted });
            }
            (Err(error), _) => broken.push(error.to_string()),
            (Ok(_), None) => {}
        }
    }
    for (label, class) in photos.classes.iter().enumerate() {
        if !supports.iter().any(|support| support.label == label) {
            let first = broken.first().cloned().unwrap_or_default();
            return Err(Error::photos(
                Path::new(class),
                format!("no photo of this class can be read; the first: {first}"),
            ));
        }
    }
    Ok((supports, broken))
}

/// The largest of probabilities, with its index.
fn best(probabilities: &[f64]) -> (usize, f64) {
    let all = probabilities.iter().copied().enumerate();
    all.max_by(|a, b| a.1.total_cmp(&b.1)).unwrap_or_default()
}

/// The largest cosine of a feature with class means `[K, D]`.
fn similarity(means: &[f32], feature: &[f32]) -> f64 {
    let cosines = means.chunks_exact(feature.len().max(1)).map(|mean| dot(mean, feature));
    cosines.fold(-1.0, f64::max)
}

/// For each photo the scores that a classifier without it gives, and its similarity to the nearest class
/// mean without it; nothing for the only photo of a class.
type LeftOut = Option<(Vec<f64>, f64)>;

fn hold_out(
    (head, seed): (HeadKind, u64),
    features: &[&[f32]],
    labels: &[usize],
    classes: usize,
    sums: &[f64],
) -> Result<Vec<LeftOut>, Error> {
    let dim = features.first().map_or(0, |feature| feature.len());
    let mut counts = vec![0; classes];
    labels.iter().for_each(|label| counts[*label] += 1);
    let folds = counts.iter().copied().max().unwrap_or(0).min(LEAVE_ONE_OUT);
    // The photos of a class go into the parts in turn: one class that lacks a photo beside others that
    // lack none would be at a disadvantage, since a classifier learns how frequent each is.
    let mut seen = vec![0; classes];
    let next = |label: &usize| {
        seen[*label] += 1;
        (seen[*label] - 1) % folds
    };
    let fold: Vec<usize> = labels.iter().map(next).collect();
    let of_fold = |number: usize| -> Result<Vec<(usize, LeftOut)>, Error> {
        let (out, kept): (Vec<usize>, Vec<usize>) =
            (0..features.len()).partition(|index| fold[*index] == number);
        let out: Vec<usize> = out.into_iter().filter(|index| counts[labels[*index]] > 1).collect();
        if out.is_empty() {
            return Ok(Vec::new());
        }
        // The only photo of a class stays, so that the class does.
        let alone = (0..features.len()).filter(|i| fold[*i] == number && counts[labels[*i]] == 1);
        let kept: Vec<usize> = kept.into_iter().chain(alone).collect();
        let kept_features: Vec<&[f32]> = kept.iter().map(|index| features[*index]).collect();
        let kept_labels: Vec<usize> = kept.iter().map(|index| labels[*index]).collect();
        let classifier = Classifier::fit(head, &kept_features, &kept_labels, classes, seed)?;
        let mut rest = sums.to_vec();
        for &index in &out {
            let of_class = &mut rest[labels[index] * dim..][..dim];
            of_class.iter_mut().zip(features[index]).for_each(|(sum, v)| *sum -= f64::from(*v));
        }
        let means = directions(&rest, dim);
        let answer = |index: usize| {
            let feature = features[index];
            (index, Some((classifier.scores(feature), similarity(&means, feature))))
        };
        Ok(out.into_iter().map(answer).collect())
    };
    let mut all = vec![None; features.len()];
    let found: Vec<_> = (0..folds).into_par_iter().map(of_fold).collect::<Result<_, _>>()?;
    for (index, left_out) in found.into_iter().flatten() {
        all[index] = left_out;
    }
    Ok(all)
}
