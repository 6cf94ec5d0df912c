//! `datasets`: the datasets that can be downloaded, and whether they are there.

use std::path::{Path, PathBuf};

use fewshot_fetch::{PublishedDataset, Readiness, datasets, format_bytes};
use serde_json::{Value, json};

use crate::data_folder::data_folder;

/// Arguments of `datasets`.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  cargo xtask datasets                 one paragraph for each dataset
  cargo xtask datasets --json          for programs; states: ready, incomplete, downloading, absent
  cargo xtask datasets --data /data    what is in /data

`ready` is judged by file names alone; `cargo xtask download-NAME` opens the dataset and counts.

Exit status: 0 done, 2 anything that was wrong.")]
pub struct List {
    /// The folder of datasets [default: FEWSHOT_DATA, else this system's folder for data]
    #[arg(long, value_name = "DIR")]
    pub(super) data: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

impl List {
    /// Returns the list as text.
    ///
    /// # Errors
    /// No folder for data.
    pub fn run(&self) -> Result<String, String> {
        let data = data_folder(self.data.as_deref())?;
        let all = datasets();
        if self.json {
            let rows: Vec<_> = all.iter().map(|dataset| row(dataset, &data)).collect();
            return serde_json::to_string_pretty(&rows).map_err(|e| e.to_string());
        }
        let paragraphs: Vec<_> = all.iter().map(|dataset| paragraph(dataset, &data)).collect();
        Ok(paragraphs.join("\n\n"))
    }
}

/// Returns the state's name, and how many bytes have arrived.
fn state(dataset: &PublishedDataset, data: &Path) -> (&'static str, u64) {
    match dataset.package.readiness(data) {
        Readiness::Ready => ("ready", 0),
        Readiness::Incomplete => ("incomplete", 0),
        Readiness::Downloading(arrived) => ("downloading", arrived),
        Readiness::Absent => ("absent", 0),
    }
}

fn row(dataset: &PublishedDataset, data: &Path) -> Value {
    let (state, arrived) = state(dataset, data);
    let archives = dataset.package.archives.iter().map(|archive| {
        let remote = &archive.remote;
        json!({
            "name": remote.name,
            "mirrors": remote.mirrors,
            "bytes": remote.size.known(),
            "digest": remote.digest.to_string(),
        })
    });
    json!({
        "name": dataset.name,
        "about": dataset.about,
        "page": dataset.page,
        "terms": dataset.terms,
        "classes": dataset.classes,
        "images": dataset.images,
        "archives": archives.collect::<Vec<_>>(),
        "repository": dataset.repository,
        "bytes_on_disk": dataset.package.on_disk,
        "source": dataset.source,
        "root": dataset.package.folder,
        "path": data.join(&dataset.package.folder),
        "state": state,
        "bytes_arrived": arrived,
    })
}

fn paragraph(dataset: &PublishedDataset, data: &Path) -> String {
    let path = data.join(&dataset.package.folder);
    let state = match state(dataset, data) {
        ("ready", _) => format!("ready in {}", path.display()),
        ("incomplete", _) => {
            format!("incomplete in {}: move it away and download it", path.display())
        }
        ("downloading", arrived) => format!(
            "{} have arrived in {}; go on: cargo xtask download-{}",
            format_bytes(arrived),
            data.display(),
            dataset.name
        ),
        _ => format!("not in {}; cargo xtask download-{}", data.display(), dataset.name),
    };
    let (classes, images) = (dataset.classes, dataset.images);
    let disk = format_bytes(dataset.package.on_disk);
    let archives = dataset.package.archives.iter().map(|archive| {
        let remote = &archive.remote;
        let size = remote.size.known().map_or("size not published".to_owned(), format_bytes);
        let hosts: Vec<_> = remote.mirrors.iter().map(|mirror| host(mirror)).collect();
        format!("\n  from   {} ({size}) at {}", remote.name, hosts.join(", then "))
    });
    let hub = dataset.repository.map(|repository| {
        format!("\n  from   the shards that huggingface.co lists in datasets/{repository}")
    });
    format!(
        "{}: {}\n  holds  {classes} classes, {images} images; about {disk} on disk{}{}\n  terms  {}\n  \
         page   {}\n  opens  dataset.source={} dataset.root={}\n  state  {state}",
        dataset.name,
        dataset.about,
        archives.collect::<String>(),
        hub.unwrap_or_default(),
        dataset.terms,
        dataset.page,
        dataset.source,
        dataset.package.folder,
    )
}

fn host(address: &str) -> &str {
    address.split('/').nth(2).unwrap_or(address)
}
