//! The report at the end of a training, as the published code prints it.

use candle_core::Device;
use evaluator::{SplitResults, base_accuracy, evaluate_bank, evaluate_split, pixels};
use fewshot_episodes::Head;
use fewshot_experiment::{Config, Error, Model, Provenance};
use serde::Serialize;

use crate::Datasets;

/// What one checkpoint reaches.
#[derive(Clone, Debug, Serialize)]
pub struct ModelReport {
    /// Whole epochs of its training.
    pub epoch: usize,
    /// Supervised accuracy on base images under the training transform, in percent.
    pub base_accuracy: f64,
    /// Supervised accuracy on held-out base images, in percent, where there are such.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base_val_accuracy: Option<f64>,
    /// Few-shot accuracy on validation classes, by shots.
    pub val: SplitResults,
    /// Few-shot accuracy on novel classes, by shots.
    pub novel: SplitResults,
}

impl ModelReport {
    /// Evaluates a model on everything.
    ///
    /// # Errors
    /// Images that cannot be read.
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

/// What the last and the best checkpoint reach; what `results.json` holds.
#[derive(Clone, Debug, Serialize)]
pub struct FinalReport {
    /// What the results came from.
    pub run: Provenance,
    /// The seed of the episodes.
    pub test_seed: u64,
    /// After the last epoch.
    pub last: ModelReport,
    /// At the best validation accuracy.
    pub best: ModelReport,
    /// What a nearest neighbour on pixels reaches on novel classes, by shots.
    #[serde(skip)]
    pub pixels: Option<SplitResults>,
}

impl FinalReport {
    /// The baseline on novel classes that learns nothing.
    ///
    /// # Errors
    /// Images that cannot be read.
    pub fn pixel_baseline(config: &Config, datasets: &Datasets) -> Result<SplitResults, Error> {
        let bank = pixels(config, &datasets.novel)?;
        evaluate_bank(config, &bank, &Head::NearestNeighbour, "nearest", &Device::Cpu)
    }

    /// One markdown table.
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
