//! `download-NAME`: gets a published dataset and puts it where a training looks for it.

mod cifar;
mod list;
mod mini;

pub use cifar::SPLITS as CIFAR_FS_SPLITS;
pub use list::List;

use std::path::{Path, PathBuf};

use fewshot_data::{SourceKind, SourceSpec, Split};
use fewshot_fetch::{
    Downloader, Error, Hub, Installed, Installer, Listener, PublishedDataset, Readiness, datasets,
    format_bytes,
};
use fewshot_progress::Progress;

use crate::data_folder::{data_folder, root_hint};
use crate::progress::show;

/// Arguments of `download-NAME`.
#[derive(Clone, clap::Args)]
#[command(after_help = "Examples:
  cargo xtask download-omniglot --data /data      into /data/omniglot
  cargo xtask download-cub                        into the folder that FEWSHOT_DATA names, else
                                                  into this system's folder for data
  cargo xtask download-cub --from ~/CUB_200_2011.tgz
                                                  from an archive on disk, verified the same way
  cargo xtask download-mini-imagenet --from ~/shards
                                                  from the parquet files in a folder; those that
                                                  it lacks from the Hugging Face hub
  cargo xtask download-cub --mirror https://mirror.example/CUB_200_2011.tgz
                                                  from a mirror of your own, before the others

The same command resumes a download that broke off or was killed. An archive is unpacked only after
its size and digest were found to be the published ones. The folder appears only when it is
complete; one that is already there is left alone. A training then opens it with FEWSHOT_DATA set:
  FEWSHOT_DATA=/data cargo run --release -p trainer -- dataset.source=omniglot dataset.root=omniglot
and, for CUB, with any configuration of configs/cub.

Environment: FEWSHOT_DATA, FEWSHOT_OFFLINE=1 as --offline, HTTP_PROXY, HTTPS_PROXY, ALL_PROXY,
NO_PROXY, and SSL_CERT_FILE for certificates (PEM) to trust instead of the built-in ones. For
mini-ImageNet also HF_ENDPOINT (another hub), HF_TOKEN (else the file `token` in HF_HOME) and
HF_HUB_OFFLINE=1.

Exit status: 0 done or already there, 2 any error.")]
pub struct Download {
    /// The folder of datasets [default: FEWSHOT_DATA, else this system's folder for data]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Use this archive instead of downloading it; may be repeated. For mini-ImageNet also a folder
    /// of archives
    #[arg(long, value_name = "FILE")]
    from: Vec<PathBuf>,
    /// Try this address before the known ones; its last component must be the archive's name
    #[arg(long, value_name = "URL")]
    mirror: Vec<String>,
    /// Contact no server: fail if anything would have to be downloaded
    #[arg(long)]
    offline: bool,
    /// Keep the archives beside the dataset's folder
    #[arg(long)]
    keep_archives: bool,
    /// Continue even if the disk seems too small
    #[arg(long)]
    yes: bool,
}

impl Download {
    /// Downloads the dataset called `name`; returns a summary.
    ///
    /// # Errors
    /// What went wrong, as one message.
    pub fn run(&self, name: &str) -> Result<String, String> {
        let known = datasets().into_iter().find(|dataset| dataset.name == name);
        let dataset = known.ok_or_else(|| format!("no dataset is called {name}"))?;
        let data = data_folder(self.data.as_deref())?;
        if dataset.repository.is_some() {
            return self.get_from_hub(
                dataset,
                Hub::from_environment().map_err(|e| e.to_string())?,
                &data,
            );
        }
        let downloader = Downloader::from_environment().map_err(|e| e.to_string())?;
        self.get(dataset, downloader, &data)
    }

    /// Asks the hub for the list of archives first, unless the dataset is there.
    fn get_from_hub(
        &self,
        mut dataset: PublishedDataset,
        hub: Hub,
        data: &Path,
    ) -> Result<String, String> {
        let hub = if self.offline { hub.offline() } else { hub };
        let downloader = hub.downloader().clone();
        let mut whole = self.clone();
        whole.from = mini::expand(&self.from)?;
        let mut note = None;
        if !matches!(dataset.package.readiness(data), Readiness::Ready | Readiness::Incomplete) {
            let progress = Progress::with_stages(dataset.name);
            let listener = &mut |event: fewshot_fetch::Event<'_>| show(&progress, event);
            note = mini::list_shards(&mut dataset, &hub, &whole.from, data, listener)?;
        }
        let said = whole.get(dataset, downloader, data)?;
        Ok(note.map_or(said.clone(), |note| format!("{said}\nnote: {note}")))
    }

    fn get(
        &self,
        mut dataset: PublishedDataset,
        mut downloader: Downloader,
        data: &Path,
    ) -> Result<String, String> {
        self.add_mirrors(&mut dataset)?;
        downloader.offline |= self.offline;
        let installer = Installer {
            downloader,
            local_archives: self.from.clone(),
            keep_archives: self.keep_archives,
            ignore_space: self.yes,
        };
        let progress = Progress::with_stages(dataset.name);
        let images_per_class = dataset.images / dataset.classes.max(1);
        let mut make =
            |unpacked: &Path, out: &Path, listener: Listener<'_>| match dataset.repository {
                Some(_) => mini::make(unpacked, out, images_per_class, listener),
                None => cifar::make(unpacked, out, listener),
            };
        let is_made = dataset.repository.is_some() || dataset.name == "cifar-fs";
        let make = is_made.then_some(&mut make as _);
        let listener = &mut |event: fewshot_fetch::Event<'_>| show(&progress, event);
        let installed = installer
            .install_converted(&dataset.package, data, make, listener)
            .map_err(|e| advise(&e))?;
        drop(progress);
        let (folder, done) = match &installed {
            Installed::Already(folder) => (folder, "is there already".to_owned()),
            Installed::New(folder, unpacked) => (
                folder,
                format!("unpacked {} files, {}", unpacked.files, format_bytes(unpacked.bytes)),
            ),
        };
        let (classes, images) = opened(&dataset, folder)?;
        Ok(format!(
            "{}: {done}; opens as dataset.source={} with {classes} classes, {images} images\n{}",
            folder.display(),
            dataset.source,
            root_hint(data, &dataset.package.folder),
        ))
    }

    fn add_mirrors(&self, dataset: &mut PublishedDataset) -> Result<(), String> {
        for mirror in self.mirror.iter().rev() {
            let path = mirror.split(['?', '#']).next().unwrap_or_default();
            let file = path.rsplit('/').next().unwrap_or_default();
            let mut remotes =
                dataset.package.archives.iter_mut().map(|archive| &mut archive.remote);
            match remotes.find(|remote| remote.name == file) {
                Some(remote) => remote.mirrors.insert(0, mirror.clone()),
                None => {
                    let archives = dataset.package.archives.iter();
                    let names: Vec<_> = archives.map(|archive| &*archive.remote.name).collect();
                    return Err(format!(
                        "--mirror {mirror}: it ends in `{file}`; expected is the address of {}",
                        names.join(" or ")
                    ));
                }
            }
        }
        Ok(())
    }
}

/// Formats an error of a download or installation, and says which options help.
pub fn advise(error: &Error) -> String {
    let advice = match error {
        Error::Offline { .. } => {
            ": drop --offline and unset FEWSHOT_OFFLINE, or fetch it elsewhere and give the file \
             by --from"
        }
        Error::Unavailable { .. } => ", or fetch it by other means and give the file by --from",
        Error::Space { .. } => ", choose another folder by --data, or go on regardless with --yes",
        _ => "",
    };
    format!("{error}{advice}")
}

/// Opens the dataset as a training would, and checks that it is complete. Returns the numbers of
/// classes and images.
fn opened(dataset: &PublishedDataset, folder: &Path) -> Result<(usize, usize), String> {
    let kind: SourceKind = dataset.source.parse().map_err(|e| format!("{e}"))?;
    let mut spec = SourceSpec::new(kind, folder);
    // The counts are compared below with those of the published dataset.
    spec.allow_partial = true;
    let all = spec.open(Split::All).map_err(|e| e.to_string())?;
    let found = (all.class_count(), all.len());
    let expected = (dataset.classes, dataset.images);
    if found != expected {
        let ((classes, images), (all_classes, all_images)) = (found, expected);
        return Err(format!(
            "{}: it has {classes} classes and {images} images, but {} has {all_classes} and \
             {all_images}: move it away and call again",
            folder.display(),
            dataset.name
        ));
    }
    Ok(found)
}

#[cfg(test)]
mod tests;
