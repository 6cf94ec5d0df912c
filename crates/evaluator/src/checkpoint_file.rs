//! Where checkpoints come from: this machine or the Hugging Face hub.

use std::path::{Path, PathBuf};

use fewshot_experiment::{Checkpoint, Error};

/// The file of a checkpoint on this machine.
pub struct CheckpointFile {
    /// Where it lies.
    pub path: PathBuf,
    /// The name that results give it: the path, or the `hf://` address with its commit.
    pub name: PathBuf,
}

impl CheckpointFile {
    /// Returns the file at the path `given`, or the best checkpoint of a run's folder there, or
    /// downloads it if that is an `hf://` address whose file is not in the hub's cache.
    ///
    /// # Errors
    /// If the address is malformed, or its file can be neither found in the cache nor downloaded.
    pub fn locate(given: &Path) -> Result<Self, Error> {
        match given.to_str() {
            Some(address) if address.starts_with("hf:") => download(address),
            _ => {
                let path = Checkpoint::locate(given);
                Ok(Self { name: path.clone(), path })
            }
        }
    }
}

#[cfg(feature = "hub")]
fn download(address: &str) -> Result<CheckpointFile, Error> {
    use fewshot_fetch::{Event, Hub, HubFile};
    use fewshot_progress::{Progress, Unit, printable};

    let progress = Progress::with_stages(address);
    let is_new = std::cell::Cell::new(false);
    let mut show = |event: Event<'_>| match event {
        Event::Arrived { done, total } => {
            is_new.set(true);
            progress.set("downloading", Unit::Bytes, done, total);
        }
        Event::Waiting { wait, why } => {
            progress.note(&format!("{why}; again in {} s", wait.as_secs()));
        }
        _ => {}
    };
    let mut get = || {
        let file: HubFile = address.parse()?;
        let hub = Hub::from_environment()?;
        let cached = hub.get(&file, &mut show)?;
        // What timm says of the network's images lies beside; other networks have no such file.
        if is_new.get() && file.path().ends_with(".safetensors") {
            let _ = hub.get(&cached.file.beside("config.json"), &mut |_| {});
        }
        Ok(cached)
    };
    let cached =
        get().map_err(|e: fewshot_fetch::Error| Error::Download(printable(&e.to_string())))?;
    Ok(CheckpointFile { path: cached.path, name: cached.file.to_string().into() })
}

#[cfg(not(feature = "hub"))]
fn download(address: &str) -> Result<CheckpointFile, Error> {
    Err(Error::MissingFeature { feature: "hub", needed_for: address.to_owned() })
}
