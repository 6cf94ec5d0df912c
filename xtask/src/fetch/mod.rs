//! Published datasets, from their publishers to where a training looks for them.

pub mod bar;
mod cifar;
mod list;
mod mini;
pub mod place;

pub use bar::Bar;
pub use cifar::SPLITS as CIFAR_FS_SPLITS;
pub use list::List;
pub use place::data_folder;

use std::path::{Path, PathBuf};

use fewshot_data::{SourceKind, SourceSpec, Split};
use fewshot_fetch::{
    Downloader, Hub, Installed, Installer, Listener, PublishedDataset, Readiness, bytes, datasets,
};

#[derive(Clone, clap::Args)]
#[command(after_help = "Examples:
  cargo xtask download-omniglot --data /data      into /data/omniglot
  cargo xtask download-cub                        into the folder that FEWSHOT_DATA names, else
                                                  into this system's folder for data
  cargo xtask download-cub --from ~/CUB_200_2011.tgz
                                                  of an archive that is there, verified the same
  cargo xtask download-mini-imagenet --from ~/shards
                                                  of parquet files in a folder, and the rest of
                                                  them from the Hugging Face hub
  cargo xtask download-cub --mirror https://mirror.example/CUB_200_2011.tgz
                                                  from a mirror of yours, before the others

What broke off or was killed is gone on from by the same command. Nothing is unpacked before its
size and digest are those that were published, and the folder appears only when it is whole; one
that is there already is left alone. A training then opens it with FEWSHOT_DATA set:
  FEWSHOT_DATA=/data cargo run --release -p trainer -- dataset.source=omniglot dataset.root=omniglot
and any of configs/cub.

Environment: FEWSHOT_DATA, FEWSHOT_OFFLINE=1 as --offline, HTTP_PROXY, HTTPS_PROXY, ALL_PROXY,
NO_PROXY, and SSL_CERT_FILE for certificates (PEM) to trust instead of the built-in ones. For
mini-ImageNet also HF_ENDPOINT (another hub), HF_TOKEN (else the file `token` in HF_HOME) and
HF_HUB_OFFLINE=1.

Exit status: 0 done or there already, 2 anything that was wrong.")]
pub struct Download {
    /// The folder of datasets [default: FEWSHOT_DATA, else this system's folder for data]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Take this archive instead of a download; once for each that is there. Of mini-ImageNet
    /// also a folder of them
    #[arg(long, value_name = "FILE")]
    from: Vec<PathBuf>,
    /// Ask this address before the known ones; its file's last component must be the archive's
    /// name
    #[arg(long, value_name = "URL")]
    mirror: Vec<String>,
    /// Ask no server: fail where something would have to be downloaded
    #[arg(long)]
    offline: bool,
    /// Keep the archives beside the folder
    #[arg(long)]
    keep_archives: bool,
    /// Go on where the disk seems too small
    #[arg(long)]
    yes: bool,
}

impl Download {
    /// Gets the dataset of this name; gives what there is to say about it.
    pub fn run(&self, name: &str) -> Result<String, String> {
        let known = datasets().into_iter().find(|dataset| dataset.name == name);
        let dataset = known.ok_or_else(|| format!("no dataset is called {name}"))?;
        let data = place::data_folder(self.data.as_deref())?;
        if dataset.repository.is_some() {
            return self.get_of_hub(
                dataset,
                Hub::from_environment().map_err(|e| e.to_string())?,
                &data,
            );
        }
        let downloader = Downloader::from_environment().map_err(|e| e.to_string())?;
        self.get(dataset, downloader, &data)
    }

    /// Asks the hub for the archives first, unless the dataset is there.
    fn get_of_hub(
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
            let mut bar = Bar::new(dataset.name);
            let listener = &mut |event: fewshot_fetch::Event<'_>| bar.show(event);
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
            from: self.from.clone(),
            keep_archives: self.keep_archives,
            ignore_space: self.yes,
        };
        let mut bar = Bar::new(dataset.name);
        let images_per_class = dataset.holds.1 / dataset.holds.0.max(1);
        let mut make =
            |unpacked: &Path, out: &Path, listener: Listener<'_>| match dataset.repository {
                Some(_) => mini::make(unpacked, out, images_per_class, listener),
                None => cifar::make(unpacked, out, listener),
            };
        let is_made = dataset.repository.is_some() || dataset.name == "cifar-fs";
        let make = is_made.then_some(&mut make as _);
        let listener = &mut |event: fewshot_fetch::Event<'_>| bar.show(event);
        let installed = installer
            .install_made(&dataset.package, data, make, listener)
            .map_err(|e| e.to_string())?;
        drop(bar);
        let (folder, done) = match &installed {
            Installed::Already(folder) => (folder, "is there already".to_owned()),
            Installed::New(folder, unpacked) => {
                (folder, format!("unpacked {} files, {}", unpacked.files, bytes(unpacked.bytes)))
            }
        };
        let (classes, images) = opened(&dataset, folder)?;
        Ok(format!(
            "{}: {done}; opens as dataset.source={} with {classes} classes, {images} images\n{}",
            folder.display(),
            dataset.source,
            place::hint(data, &dataset.package.folder),
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

/// Opens the dataset as a training would, and checks that it is whole.
fn opened(dataset: &PublishedDataset, folder: &Path) -> Result<(usize, usize), String> {
    let kind: SourceKind = dataset.source.parse().map_err(|e| format!("{e}"))?;
    let mut spec = SourceSpec::new(kind, folder);
    // Counted below, against what this dataset has.
    spec.allow_partial = true;
    let all = spec.open(Split::All).map_err(|e| e.to_string())?;
    let found = (all.class_count(), all.len());
    if found != dataset.holds {
        let ((classes, images), (all_classes, all_images)) = (found, dataset.holds);
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
