//! The report at the end of a training: accuracy of the last and the best checkpoint, in the
//! layout of the published code.

use std::collections::BTreeMap;

use candle_core::Device;
use evaluator::{
    SplitResults, base_accuracy, episode_features, evaluate_bank, feature_mean, pixels,
};
use fewshot_data::{Dataset, Split};
use fewshot_episodes::heads::NearestNeighbor;
use fewshot_experiment::{Config, Error, Model, Provenance};
use serde::{Deserialize, Serialize};

use crate::Datasets;

/// Accuracy of one checkpoint.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct ModelReport {
    /// Number of completed training epochs.
    pub epoch: usize,
    /// Supervised accuracy on base images under the training transform, in percent.
    pub base_accuracy: f64,
    /// Supervised accuracy on held-out base images, in percent, if any were held out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base_val_accuracy: Option<f64>,
    /// Few-shot accuracy on validation classes, by number of shots.
    pub val: SplitResults,
    /// Few-shot accuracy on novel classes, by number of shots.
    pub novel: SplitResults,
    /// Number of images that were skipped as broken, by split, where any were.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub skipped: BTreeMap<Part, usize>,
}

/// A part of an experiment's images, by its section of the configuration.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// Base classes.
    Base,
    /// Held-out images of base classes.
    BaseVal,
    /// Validation classes.
    Val,
    /// Novel classes.
    Novel,
}

impl ModelReport {
    /// Evaluates a model on base, validation and novel classes. Returns the mean feature of base images as
    /// well, if `test.center` asks for it.
    ///
    /// # Errors
    /// If images cannot be read, or classes or images do not suffice for an episode.
    pub fn of(
        config: &Config,
        model: &Model,
        datasets: &Datasets,
        epoch: usize,
        device: &Device,
    ) -> Result<(Self, Option<Vec<f32>>), Error> {
        let mean = feature_mean(config, model, device)?;
        let mut skipped = BTreeMap::new();
        let mut count = |part, number| {
            if number > 0 {
                skipped.insert(part, number);
            }
        };
        let mut few_shot = |part, dataset: &Dataset| -> Result<_, Error> {
            let bank = episode_features(config, model, dataset, mean.as_deref(), device)?;
            count(part, dataset.len() - bank.len());
            evaluate_bank(config, &bank, &*config.test.head, device)
        };
        let val = few_shot(Part::Val, &datasets.val)?;
        // Where novel classes are the validation classes, their figures are the same.
        let novel = match config.dataset.novel_is_val() {
            true => val.clone(),
            false => few_shot(Part::Novel, &datasets.novel)?,
        };
        let mut supervised = |part, dataset, varied| -> Result<f64, Error> {
            let accuracy = base_accuracy(config, model, dataset, device, varied)?;
            count(part, accuracy.skipped);
            Ok(accuracy.percent)
        };
        let base_accuracy = supervised(Part::Base, &datasets.base, true)?;
        let base_val = datasets.base_val.as_ref();
        let base_val_accuracy =
            base_val.map(|dataset| supervised(Part::BaseVal, dataset, false)).transpose()?;
        let report = Self { epoch, base_accuracy, base_val_accuracy, val, novel, skipped };
        Ok((report, mean))
    }
}

/// Accuracy of the last and the best checkpoint of a run: the content of `results.json`.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct FinalReport {
    /// Provenance of the results.
    pub run: Provenance,
    /// Seed that the episodes are drawn from.
    pub test_seed: u64,
    /// The checkpoint after the last epoch.
    pub last: ModelReport,
    /// The checkpoint with the best validation accuracy.
    pub best: ModelReport,
    /// The network whose weights are averaged over steps, with `train.ema`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub average: Option<ModelReport>,
    /// What makes figures doubtful: classes of several splits, many images that were skipped.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// Few-shot accuracy of a nearest neighbour on pixels on novel classes, by number of shots;
    /// not part of the JSON.
    #[serde(skip)]
    pub pixels: Option<SplitResults>,
}

impl FinalReport {
    /// Evaluates a nearest neighbour on pixels on novel classes: a baseline that learns nothing.
    ///
    /// # Errors
    /// If images cannot be read, or classes or images do not suffice for an episode.
    pub fn pixel_baseline(config: &Config, datasets: &Datasets) -> Result<SplitResults, Error> {
        let bank = pixels(config, &datasets.novel)?;
        evaluate_bank(config, &bank, &NearestNeighbor, &Device::Cpu)
    }

    /// Formats the report as one Markdown table, its columns headed with the dataset and the split
    /// that they are of, and the warnings.
    pub fn to_markdown(&self, config: &Config) -> String {
        let (shots, data) = (&config.test.shots, &config.dataset);
        let base_val = config.split(Split::BaseVal).title();
        let has_base_val = self.last.base_val_accuracy.is_some();
        let mut header = format!("| model | epoch | train acc {} |", data.base.title());
        if has_base_val {
            header += &format!(" acc {base_val} |");
        }
        // Validation classes that stand in for novel ones are shown once, as what they are.
        let has_novel = !data.novel_is_val();
        for split in [Some(&data.val), has_novel.then_some(&data.novel)].into_iter().flatten() {
            shots.iter().for_each(|shot| header += &format!(" {shot}-shot {} |", split.title()));
        }
        let columns = header.matches('|').count() - 1;
        let mut table = format!("{header}\n|{}\n", "---|".repeat(columns));
        let average = self.average.iter().map(|average| ("ema", average));
        for (name, report) in
            [("last", &self.last), ("best", &self.best)].into_iter().chain(average)
        {
            table += &format!("| {name} | {} | {:.2} |", report.epoch, report.base_accuracy);
            if let Some(accuracy) = report.base_val_accuracy {
                table += &format!(" {accuracy:.2} |");
            }
            for results in [Some(&report.val), has_novel.then_some(&report.novel)] {
                let Some(results) = results else { continue };
                shots.iter().for_each(|shot| table += &format!(" {} |", results[shot]));
            }
            table.push('\n');
        }
        if let Some(pixels) = &self.pixels {
            let empty = columns - 1 - shots.len();
            table += &format!("| nearest neighbour on pixels |{}", " – |".repeat(empty));
            shots.iter().for_each(|shot| table += &format!(" {} |", pixels[shot]));
            table.push('\n');
        }
        self.warnings.iter().for_each(|warning| table += &format!("\n**Warning**: {warning}.\n"));
        table
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_read_back_and_written_alike() {
        let shot = r#"{"head":"finetune","mean":48.5,"ci95":0.25,"episodes":600}"#;
        let report = |epoch, held_out| {
            format!(
                r#"{{"epoch":{epoch},"base_accuracy":62.5,{held_out}"val":{{"5":{shot}}},"novel":{{"1":{shot},"5":{shot}}}}}"#
            )
        };
        let run = r#"{"version":"0.1.0","candle":"0.11.1","commit":"unknown","device":"cpu (avx2)","config_sha256":"ab","seed":3}"#;
        let (last, best) = (report(9, ""), report(4, r#""base_val_accuracy":50.5,"#));
        let json = format!(r#"{{"run":{run},"test_seed":1,"last":{last},"best":{best}}}"#);
        let results: FinalReport = serde_json::from_str(&json).unwrap();
        assert_eq!(results.best.base_val_accuracy, Some(50.5));
        assert_eq!(results.last.novel[&1].mean, 48.5);
        assert_eq!(serde_json::to_string(&results).unwrap(), json);
    }
}
