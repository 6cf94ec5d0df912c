//! A dataset's folder, which appears only when it is complete.

use std::path::{Path, PathBuf};

use fewshot_data::{SourceKind, SourceSpec, Split};
use fewshot_fetch::{Lock, Staging, require_space};

use crate::data_folder::root_hint;
use crate::download::advise;

/// The folder that a command makes.
pub struct Folder<'a> {
    /// Name of the dataset, for messages.
    pub dataset: &'static str,
    /// The folder that holds the datasets.
    pub data: &'a Path,
    /// Name of the folder in [`Self::data`].
    pub name: &'static str,
    /// The `dataset.source` that opens it.
    pub source: SourceKind,
    /// Splits with the names of their folders.
    pub splits: &'static [(&'static str, Split)],
}

impl Folder<'_> {
    /// Returns the path of the folder.
    pub fn path(&self) -> PathBuf {
        self.data.join(self.name)
    }

    /// Returns whether something lies at the folder's path.
    pub fn exists(&self) -> bool {
        self.path().symlink_metadata().is_ok()
    }

    /// Makes the folder: `write` fills a hidden one beside it, which is then renamed. Returns whether
    /// it was this call that made it. `bytes` have to be free on the disk, if given.
    pub fn make(
        &self,
        bytes: Option<u64>,
        write: impl FnOnce(&Path) -> Result<(), String>,
    ) -> Result<bool, String> {
        let text = |e: fewshot_fetch::Error| e.to_string();
        let hidden = |ending: &str| self.data.join(format!(".{}.{ending}", self.name));
        std::fs::create_dir_all(self.data).map_err(|e| format!("{}: {e}", self.data.display()))?;
        let _lock = Lock::acquire(hidden("lock")).map_err(text)?;
        if self.exists() {
            // Another process held the lock in the meantime.
            return Ok(false);
        }
        if let Some(bytes) = bytes {
            require_space(self.data, bytes).map_err(|e| advise(&e))?;
        }
        let staging = Staging::new(hidden("making")).map_err(text)?;
        write(staging.path())?;
        staging.persist(&self.path()).map_err(text)?;
        Ok(true)
    }

    /// Opens the folder as a training would, and summarizes its classes and images, as text or as
    /// JSON.
    pub fn report(&self, is_new: bool, json: bool) -> Result<String, String> {
        let target = self.path();
        let mut spec = SourceSpec::new(self.source, &target);
        // What is missing was reported already.
        spec.allow_partial = true;
        let count = |split| match spec.open(split) {
            Ok(dataset) => Ok((dataset.class_count(), dataset.len())),
            Err(fewshot_data::Error::NoSplit { .. } | fewshot_data::Error::EmptySplit { .. }) => {
                Ok((0, 0))
            }
            Err(e) => Err(e.to_string()),
        };
        let counts = self.splits.iter().map(|&(name, split)| Ok((name, count(split)?)));
        let counts = counts.collect::<Result<Vec<_>, String>>()?;
        if counts.iter().all(|(_, (_, images))| *images == 0) {
            return Err(format!(
                "{}: it has no image of {}: move it away and call again",
                target.display(),
                self.dataset
            ));
        }
        if json {
            let splits: serde_json::Map<_, _> = counts
                .iter()
                .map(|(name, (classes, images))| {
                    let split = serde_json::json!({ "classes": classes, "images": images });
                    ((*name).to_owned(), split)
                })
                .collect();
            let path = target.display().to_string();
            let report = serde_json::json!({ "path": path, "made": is_new, "splits": splits });
            return Ok(report.to_string());
        }
        let counts: Vec<_> = counts
            .iter()
            .map(|(name, (classes, images))| format!("{name} {classes} classes, {images} images"))
            .collect();
        Ok(format!(
            "{}: {}; opens as dataset.source={} with {}\n{}",
            target.display(),
            if is_new { "made" } else { "is there already" },
            self.source,
            counts.join("; "),
            root_hint(self.data, self.name),
        ))
    }
}
