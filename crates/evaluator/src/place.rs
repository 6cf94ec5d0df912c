//! Where a checkpoint lies.

use std::path::{Path, PathBuf};

use fewshot_experiment::Error;

/// A checkpoint's file, and what results call it.
pub struct Place {
    pub file: PathBuf,
    pub name: PathBuf,
}

impl Place {
    /// A path is itself; `hf://…` is got from the Hugging Face hub or its cache, and called by
    /// its commit.
    pub fn of(given: &Path) -> Result<Self, Error> {
        match given.to_str() {
            Some(address) if address.starts_with("hf:") => hub(address),
            _ => Ok(Self { file: given.to_owned(), name: given.to_owned() }),
        }
    }
}

#[cfg(feature = "hub")]
fn hub(address: &str) -> Result<Place, Error> {
    use fewshot_fetch::{Event, Hub, HubFile};
    use fewshot_progress::{Progress, Unit, printable};

    let progress = Progress::with_stages(address);
    let mut show = |event: Event<'_>| match event {
        Event::Arrived { done, total } => progress.set("downloading", Unit::Bytes, done, total),
        Event::Waiting { wait, why } => {
            progress.note(&format!("{why}; again in {} s", wait.as_secs()));
        }
        _ => {}
    };
    let mut get = || {
        let file: HubFile = address.parse()?;
        Hub::from_environment()?.get(&file, &mut show)
    };
    let cached =
        get().map_err(|e: fewshot_fetch::Error| Error::Download(printable(&e.to_string())))?;
    Ok(Place { file: cached.path, name: cached.file.to_string().into() })
}

#[cfg(not(feature = "hub"))]
fn hub(address: &str) -> Result<Place, Error> {
    Err(Error::MissingFeature { feature: "hub", needed_for: address.to_owned() })
}
