//! `verify`: checks that a copy of a published dataset is complete.

mod compare;
mod examine;
mod report;

use std::path::{Path, PathBuf};

use fewshot_data::SourceSpec;
use fewshot_progress::Progress;
use report::Report;

use crate::published::{NAMES, figures, root, source};

/// Arguments of `verify`.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  cargo xtask verify cub                          where download-cub put it
  cargo xtask verify mini-imagenet --path /data/mini-imagenet-84
  cargo xtask verify cub --path /data/cub.pack    a pack; its own checksum is compared as well
  cargo xtask verify omniglot --json > omniglot.json

Compares classes and images of each split with the published figures, decodes every image to its
last byte, and lists images that are broken, missing, duplicated (by SHA-256), or in no split.
Stricter than a training, which reads an image only as far as its crop reaches and tolerates
missing JPEG data: here a JPEG needs all its data, its restart markers in order and its end
marker, a PNG all its checksums, and nothing may follow either. The splits of CUB and Omniglot
follow from the order of all classes, so a copy that lacks some has different splits.

Files that are not images, such as notes and lists, may lie anywhere.

Exit status: 0 complete, 1 anything amiss, 2 it could not be checked.")]
pub struct Verify {
    /// The dataset to compare with
    #[arg(value_parser = NAMES)]
    dataset: String,
    /// The folder of datasets [default: FEWSHOT_DATA, else this system's folder for data]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// The dataset itself: a folder, an archive or a pack
    #[arg(long, value_name = "PATH")]
    path: Option<PathBuf>,
    /// Print JSON, with every list in full
    #[arg(long)]
    json: bool,
    /// Print every list in full instead of its first 20 entries
    #[arg(long)]
    all: bool,
}

impl Verify {
    /// Returns the report, and whether the copy is complete.
    ///
    /// # Errors
    /// Nothing there, or nothing that can be read.
    pub fn run(&self) -> Result<(String, bool), String> {
        let root = root(&self.dataset, self.path.as_deref(), self.data.as_deref())?;
        let report = verify(&self.dataset, &root)?;
        let text = if self.json {
            serde_json::to_string_pretty(&report).map_err(|e| e.to_string())?
        } else {
            report.text(self.all)
        };
        Ok((text, report.whole))
    }
}

fn verify(dataset: &str, root: &Path) -> Result<Report, String> {
    let spec = SourceSpec::new(source(dataset)?, root);
    let survey = spec.survey().map_err(|e| e.to_string())?;
    let datasets = survey.splits.iter().map(|split| &split.images).chain([&survey.unlisted]);
    let total: usize = datasets.clone().map(|images| images.len()).sum();
    if total == 0 {
        return Err(format!("{}: not one image of {dataset}", root.display()));
    }
    let progress = Progress::new("verify", total, "images");
    let examined: Vec<_> = datasets.map(|images| examine::examine(images, &progress)).collect();
    drop(progress);
    let mut report = Report::new(dataset, &root.display().to_string());
    compare::counts(&mut report, &survey, &figures(dataset));
    compare::images(&mut report, &survey, &examined);
    report.whole = report.is_whole();
    Ok(report)
}

#[cfg(test)]
mod tests;
