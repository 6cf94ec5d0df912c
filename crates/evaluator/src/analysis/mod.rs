//! What a margin does to features: the measures of section 4 of the paper, for one checkpoint or for
//! several side by side.
//!
//! [`analyse`] measures one checkpoint; [`Analysis`] holds the measures of all, as the command
//! `evaluator analyse` writes them to JSON, CSV and an HTML page.

mod map;
mod measures;
mod page;
mod table;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use candle_core::{Device, Tensor};
use fewshot_data::{Dataset, Split};
use fewshot_episodes::{FeatureBank, Head};
use fewshot_experiment::{Config, Error, Model, Provenance, SplitConfig, open_optional};
use serde::{Deserialize, Serialize};

pub use map::t_sne;
pub use measures::{Clusters, Peaks, by_closeness, clusters, confusion, peaks};
pub use page::{PageError, page};
pub use table::{Measure, Value, accuracy_measure};

use crate::candidate::named;
use crate::{SplitDifferences, SplitResults, compare, evaluate_bank, extract_features};

/// The splits that are measured where the dataset has them: base classes by the images that they were
/// trained on and by those held out, then unseen classes.
const SPLITS: [Split; 4] = [Split::Base, Split::BaseVal, Split::Val, Split::Novel];

/// Measures of several checkpoints.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Analysis {
    /// Classes per episode.
    pub way: usize,
    /// Query images per class.
    pub query: usize,
    /// Episodes for each number of shots.
    pub episodes: usize,
    /// Seed that the episodes are drawn from.
    pub test_seed: u64,
    /// Measures of each checkpoint, in the order given.
    pub checkpoints: Vec<CheckpointAnalysis>,
}

/// Measures of one checkpoint.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct CheckpointAnalysis {
    /// Path, or `hf://` address with its commit.
    pub checkpoint: PathBuf,
    /// Number of completed training epochs.
    pub epoch: usize,
    /// Name of the backbone.
    pub backbone: String,
    /// Name of the classifier over base classes.
    pub classifier: String,
    /// Scale of its scores.
    pub scale: f64,
    /// Its margin.
    pub margin: f64,
    /// Seed of the training.
    pub seed: u64,
    /// Where the results come from; its hash is of the analysis's configuration.
    pub run: Provenance,
    /// Measures of each split that the dataset has.
    pub splits: Vec<SplitAnalysis>,
}

/// Measures of the features of one split.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct SplitAnalysis {
    /// Name of the dataset and split, as in `cub/val`.
    pub dataset: String,
    /// Name of the split.
    pub split: String,
    /// Number of images.
    pub images: usize,
    /// Number of further images that were skipped as broken.
    #[serde(default)]
    pub skipped: usize,
    /// Names of the classes, by label.
    pub class_names: Vec<String>,
    /// The clusters that classes form.
    pub clusters: Option<Clusters>,
    /// Share of the images of base classes that the trained classifier, without its margin, classifies
    /// correctly, in percent.
    pub base_accuracy: Option<f64>,
    /// Which base classes unseen classes are taken for.
    pub peaks: Option<Peaks>,
    /// Share of each class's images whose nearest class mean is that of each class. The mean of an
    /// image's own class is taken without the image.
    pub confusion: Vec<Vec<f64>>,
    /// Query images per class of an episode, by number of shots: fewer than those of the analysis
    /// where a class has no more images; none where classes or images do not suffice at all.
    pub queries: BTreeMap<usize, usize>,
    /// Few-shot accuracy by adaptation head and number of shots.
    pub accuracy: BTreeMap<String, SplitResults>,
    /// Accuracy minus that of the first checkpoint on the same episodes, by head and number of shots.
    /// None for the first checkpoint, and none where its images are others.
    pub difference: BTreeMap<String, SplitDifferences>,
}

/// The images of a split and their features.
#[derive(Clone, Debug)]
pub struct Extracted {
    /// The split.
    pub split: Split,
    /// The images.
    pub dataset: Dataset,
    /// Their features; fewer than images if some were skipped as broken.
    pub bank: FeatureBank,
}

/// A checkpoint to analyse.
pub struct Subject<'a> {
    /// Its name in results.
    pub name: &'a Path,
    /// Number of completed training epochs.
    pub epoch: usize,
    /// Its settings, with those of the episodes.
    pub config: &'a Config,
    /// Its network and classifier.
    pub model: &'a Model,
    /// The adaptation heads to measure few-shot accuracy with.
    pub heads: &'a [Arc<dyn Head>],
}

/// Measures a checkpoint on every split that its dataset has. Returns the features as well.
///
/// # Errors
/// If images cannot be read, or features are not finite.
pub fn analyse(
    subject: &Subject,
    device: &Device,
) -> Result<(CheckpointAnalysis, Vec<Extracted>), Error> {
    let Subject { name, epoch, config, model, .. } = *subject;
    let (mut splits, mut extracted) = (Vec::new(), Vec::new());
    let mut seen: Vec<SplitConfig> = Vec::new();
    for split in SPLITS {
        let images = config.split(split);
        // On partial copies the validation classes stand for the novel ones, too.
        let is_same =
            |other: &SplitConfig| (other.split, &other.source) == (images.split, &images.source);
        if seen.iter().any(is_same) {
            continue;
        }
        let Some(dataset) = open_optional(&images)? else { continue };
        seen.push(images);
        let bank = extract_features(config, model, &dataset, device)
            .map_err(|error| named(name, error))?;
        splits.push(analyse_split(subject, split, &dataset, &bank, device)?);
        extracted.push(Extracted { split, dataset, bank });
    }
    let method = &config.method;
    let analysis = CheckpointAnalysis {
        checkpoint: name.to_owned(),
        epoch,
        backbone: method.backbone.to_string(),
        classifier: method.classifier.to_string(),
        scale: method.scale,
        margin: method.margin,
        seed: config.seed,
        run: Provenance::of(config),
        splits,
    };
    Ok((analysis, extracted))
}

fn analyse_split(
    subject: &Subject,
    split: Split,
    dataset: &Dataset,
    bank: &FeatureBank,
    device: &Device,
) -> Result<SplitAnalysis, Error> {
    let Subject { config, model, heads, .. } = *subject;
    let is_base = matches!(split, Split::Base | Split::BaseVal);
    let classes = dataset.class_count();
    let (predictions, base_classes) = predictions(config, model, bank, device)?;
    let correct =
        bank.labels().iter().zip(&predictions).filter(|(label, got)| label == got).count();
    let queries: BTreeMap<usize, usize> = config
        .test
        .shots
        .iter()
        .filter_map(|&shot| Some((shot, queries(config, bank.labels(), shot)?)))
        .collect();
    let mut accuracy = BTreeMap::new();
    for head in heads {
        let mut results = SplitResults::new();
        for (&shot, &query) in &queries {
            let mut config = config.clone();
            (config.test.shots, config.test.query) = (vec![shot], query);
            results.extend(evaluate_bank(&config, bank, &**head, device)?);
        }
        accuracy.insert(head.name().to_owned(), results);
    }
    Ok(SplitAnalysis {
        dataset: dataset.name().to_owned(),
        split: split.to_string(),
        images: bank.len(),
        skipped: dataset.len() - bank.len(),
        class_names: dataset.class_names().to_vec(),
        clusters: clusters(bank, classes),
        base_accuracy: is_base.then(|| 100.0 * correct as f64 / bank.len().max(1) as f64),
        peaks: (!is_base).then(|| peaks(bank.labels(), &predictions, classes, base_classes)),
        queries,
        confusion: if is_base { Vec::new() } else { confusion(bank, classes) },
        accuracy,
        difference: BTreeMap::new(),
    })
}

/// Returns the number of query images per class of an episode: those of the configuration, or as many
/// as the smallest class leaves. Nothing if there are none, or too few classes.
fn queries(config: &Config, labels: &[u32], shot: usize) -> Option<usize> {
    let mut counts = BTreeMap::<u32, usize>::new();
    labels.iter().for_each(|&label| *counts.entry(label).or_default() += 1);
    let query = counts.values().min()?.checked_sub(shot)?.min(config.test.query);
    (query > 0 && counts.len() >= config.test.way).then_some(query)
}

/// Returns the base class that the trained classifier, without its margin, takes each image for, and
/// the number of its outputs.
fn predictions(
    config: &Config,
    model: &Model,
    bank: &FeatureBank,
    device: &Device,
) -> Result<(Vec<u32>, usize), Error> {
    let model = model.frozen(config, device)?;
    let head = model.head()?;
    let (mut predictions, mut outputs) = (Vec::with_capacity(bank.len()), 0);
    let images: Vec<usize> = (0..bank.len()).collect();
    for batch in images.chunks(config.test.batch_size.max(1)) {
        let features: Vec<f32> =
            batch.iter().flat_map(|&image| bank.feature(image)).copied().collect();
        let features = Tensor::from_vec(features, (batch.len(), bank.dim()), device)?;
        let scores = head.scores(&features)?;
        outputs = scores.dim(1)?;
        predictions.extend(scores.argmax(1)?.to_vec1::<u32>()?);
    }
    Ok((predictions, outputs))
}

impl CheckpointAnalysis {
    /// Returns the measures of a split, if the dataset has it.
    pub fn split(&self, name: &str) -> Option<&SplitAnalysis> {
        self.splits.iter().find(|split| split.split == name)
    }

    /// Sets the differences in accuracy from `first`, on the same episodes.
    ///
    /// # Errors
    /// If the numbers of shots or episodes differ.
    pub fn subtract(&mut self, first: &Self) -> Result<(), Error> {
        for split in &mut self.splits {
            // Episodes are drawn from labels: they are the same if the images are.
            let same = |other: &&SplitAnalysis| {
                let key = |s: &SplitAnalysis| (s.dataset.clone(), s.images, s.class_names.clone());
                key(other) == key(split)
            };
            let Some(other) = first.splits.iter().find(same) else { continue };
            for (head, results) in &split.accuracy {
                if let Some(others) = other.accuracy.get(head) {
                    split.difference.insert(head.clone(), compare(results, others)?);
                }
            }
        }
        Ok(())
    }

    /// Returns what tells this checkpoint from the others in a table: classifier, margin and seed.
    pub fn label(&self) -> String {
        format!("{} m {} seed {}", self.classifier, self.margin, self.seed)
    }
}
