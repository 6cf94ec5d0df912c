//! The report at the end of a training: accuracy of the last and the best checkpoint, in the
//! layout of the published code.

use candle_core::Device;
use evaluator::{SplitResults, base_accuracy, evaluate_bank, evaluate_split, pixels};
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
}

impl ModelReport {
    /// Evaluates a model on base, validation and novel classes.
    ///
    /// # Errors
    /// If images cannot be read, or classes or images do not suffice for an episode.
    pub fn of(
        config: &Config,
        model: &Model,
        datasets: &Datasets,
        epoch: usize,
        device: &Device,
    ) -> Result<Self, Error> {
        let supervised = |dataset, varied| base_accuracy(config, model, dataset, device, varied);
        let val = evaluate_split(config, model, &datasets.val, device)?;
        // Where novel classes are the validation classes, their figures are the same.
        let is_same = config.dataset.novel == config.dataset.val;
        Ok(Self {
            epoch,
            base_accuracy: supervised(&datasets.base, true)?,
            base_val_accuracy: datasets
                .base_val
                .as_ref()
                .map(|d| supervised(d, false))
                .transpose()?,
            novel: if is_same {
                val.clone()
            } else {
                evaluate_split(config, model, &datasets.novel, device)?
            },
            val,
        })
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

    /// Formats the report as one Markdown table.
    pub fn to_markdown(&self, config: &Config) -> String {
        let shots = &config.test.shots;
        let has_base_val = self.last.base_val_accuracy.is_some();
        let mut header = "| model | epoch | train acc |".to_owned();
        if has_base_val {
            header += " base val acc |";
        }
        for split in ["val", "novel"] {
            shots.iter().for_each(|shot| header += &format!(" {shot}-shot {split} |"));
        }
        let columns = header.matches('|').count() - 1;
        let mut table = format!("{header}\n|{}\n", "---|".repeat(columns));
        for (name, report) in [("last", &self.last), ("best", &self.best)] {
            table += &format!("| {name} | {} | {:.2} |", report.epoch, report.base_accuracy);
            if let Some(accuracy) = report.base_val_accuracy {
                table += &format!(" {accuracy:.2} |");
            }
            for results in [&report.val, &report.novel] {
                shots.iter().for_each(|shot| table += &format!(" {} |", results[shot]));
            }
            table.push('\n');
        }
        if let Some(pixels) = &self.pixels {
            let empty = if has_base_val { 3 } else { 2 } + shots.len();
            table += &format!("| nearest neighbour on pixels |{}", " – |".repeat(empty));
            shots.iter().for_each(|shot| table += &format!(" {} |", pixels[shot]));
            table.push('\n');
        }
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
