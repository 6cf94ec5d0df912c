//! Whether a copy of a published dataset is whole.

mod compare;
mod examine;
mod published;
mod report;

pub use examine::Counter;
pub use published::{Expected, NAMES, figures, root, source};

use std::path::{Path, PathBuf};

use fewshot_data::SourceSpec;
use report::Report;

#[derive(clap::Args)]
#[command(after_help = "Examples:
  cargo xtask verify cub                          where download-cub put it
  cargo xtask verify mini-imagenet --path /data/mini-imagenet-84
  cargo xtask verify cub --path /data/cub.pack    a pack; its own checksum is compared, too
  cargo xtask verify omniglot --json > omniglot.json

Counts classes and images of each split against the published figures, reads and decodes every
image to its last byte, and lists what is broken, missing, there twice (by SHA-256), or in no
split. Stricter than a training, which reads an image as far as its crop reaches and goes on where
a JPEG's data is missing: here a JPEG needs all its data, its restart markers in order and its end
marker, a PNG all its checksums, and nothing may follow either. What the splits of CUB and Omniglot
are follows from the order of all classes, so that of a copy without some they are others.

Files that are no images, such as notes and lists, may lie anywhere.

Exit status: 0 whole, 1 anything amiss, 2 it could not be told.")]
pub struct Verify {
    /// What it should be
    #[arg(value_parser = NAMES)]
    dataset: String,
    /// The folder of datasets [default: FEWSHOT_DATA, else this system's folder for data]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// The dataset itself: a folder, an archive or a pack
    #[arg(long, value_name = "PATH")]
    path: Option<PathBuf>,
    /// As JSON, with all of each list
    #[arg(long)]
    json: bool,
    /// All of each list instead of its first 20
    #[arg(long)]
    all: bool,
}

impl Verify {
    /// What there is to say, and whether all is well.
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
    let datasets = survey.splits.iter().map(|split| &split.images).chain([&survey.strays]);
    let total: usize = datasets.clone().map(|images| images.len()).sum();
    if total == 0 {
        return Err(format!("{}: not one image of {dataset}", root.display()));
    }
    let counter = Counter::new("verify", "decoding images", total);
    let examined: Vec<_> = datasets.map(|images| examine::examine(images, &counter)).collect();
    drop(counter);
    let mut report = Report::of(dataset, &root.display().to_string());
    compare::counts(&mut report, &survey, &figures(dataset));
    compare::images(&mut report, &survey, &examined);
    report.whole = report.is_whole();
    Ok(report)
}

#[cfg(test)]
mod tests;
