//! Where a dataset is.

use std::path::{Path, PathBuf};

use super::SplitConfig;
use crate::Error;

/// How many other datasets an error names.
const NAMED: usize = 8;

impl SplitConfig {
    /// The root as it is, or under `FEWSHOT_DATA` if only that exists.
    ///
    /// # Errors
    /// [`Error::NoDataset`].
    pub fn resolve_root(&self) -> Result<PathBuf, Error> {
        if !self.source.kind.needs_root() {
            return Ok(self.source.root.clone());
        }
        let under = std::env::var_os("FEWSHOT_DATA").map(PathBuf::from);
        resolve(&self.root_key, &self.source.root, under)
    }
}

fn resolve(key: &str, root: &Path, under: Option<PathBuf>) -> Result<PathBuf, Error> {
    if root.exists() {
        return Ok(root.to_owned());
    }
    let there = under.as_ref().map(|under| under.join(root));
    match there.filter(|there| !root.as_os_str().is_empty() && there.exists()) {
        Some(there) => Ok(there),
        None => {
            let beside = beside(root, under.as_deref());
            Err(Error::NoDataset { key: key.to_owned(), root: root.to_owned(), under, beside })
        }
    }
}

/// Returns the datasets beside an absent root, as roots, those with the most similar names first: the
/// folders and archives in `under`, or where that is not set in the folder that the root names.
fn beside(root: &Path, under: Option<&Path>) -> Vec<PathBuf> {
    let parent = root.parent().filter(|parent| !parent.as_os_str().is_empty());
    let (folder, prefix) = match (parent, under) {
        // The folder that the root is in exists; it is a part of the roots that are named.
        (Some(parent), None) if parent.is_dir() => (parent.to_owned(), parent),
        (Some(parent), Some(_)) if parent.is_absolute() && parent.is_dir() => {
            (parent.to_owned(), parent)
        }
        (Some(parent), Some(under)) if under.join(parent).is_dir() => (under.join(parent), parent),
        (_, Some(under)) => (under.to_owned(), Path::new("")),
        _ => return Vec::new(),
    };
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let is_archive = |name: &str| {
        [".tar", ".tgz", ".tar.gz", ".zip", ".pack"].iter().any(|ending| name.ends_with(ending))
    };
    let mut names: Vec<String> = entries
        .filter_map(Result::ok)
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            (!name.starts_with('.') && (entry.path().is_dir() || is_archive(&name))).then_some(name)
        })
        .collect();
    let wanted = root.components().next().map(|first| first.as_os_str().to_string_lossy());
    let wanted = if prefix.as_os_str().is_empty() { wanted } else { None };
    let wanted = wanted.or_else(|| Some(root.file_name()?.to_string_lossy())).unwrap_or_default();
    let likeness = |name: &String| strsim::jaro_winkler(&wanted, name);
    names.sort_by(|a, b| likeness(b).total_cmp(&likeness(a)).then_with(|| a.cmp(b)));
    names.truncate(NAMED);
    names.into_iter().map(|name| prefix.join(name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_absent_root_names_those_beside_it() {
        let data = tempfile::tempdir().unwrap();
        for folder in ["mini-imagenet", "CUB_200_2011", "omniglot", ".hidden"] {
            std::fs::create_dir(data.path().join(folder)).unwrap();
        }
        for file in ["CUB_200_2011.tgz", "notes.txt"] {
            std::fs::write(data.path().join(file), "").unwrap();
        }
        let under = || Some(data.path().to_owned());
        let found = resolve("dataset.root", Path::new("omniglot"), under()).unwrap();
        assert_eq!(found, data.path().join("omniglot"));

        let message = |root: &str, under| {
            resolve("dataset.root", Path::new(root), under).unwrap_err().to_string()
        };
        let of_mini = message("mini-imagenet-84", under());
        let expected = "there are mini-imagenet, ";
        assert!(of_mini.contains(expected), "{of_mini}");
        for part in ["`dataset.root`", "\"mini-imagenet-84\"", "CUB_200_2011.tgz", "omniglot"] {
            assert!(of_mini.contains(part), "no `{part}`: {of_mini}");
        }
        assert!(!of_mini.contains("hidden") && !of_mini.contains("notes"), "{of_mini}");
        // Nothing lies in `cub-50`, which does not exist either.
        let of_cub = message("cub-50/CUB_200_2011.tar", under());
        assert!(of_cub.contains("there are ") && of_cub.contains("CUB_200_2011"), "{of_cub}");
        // What is named can be given as it is.
        for root in beside(Path::new("cub-50/CUB_200_2011.tar"), under().as_deref()) {
            resolve("dataset.root", &root, under()).unwrap();
        }
        let absolute = data.path().join("mini");
        let of_absolute = message(absolute.to_str().unwrap(), None);
        let first = data.path().join("mini-imagenet").display().to_string();
        assert!(of_absolute.contains(&format!("there are {first}, ")), "{of_absolute}");
        let unset = message("mini-imagenet-84", None);
        assert!(unset.contains("set FEWSHOT_DATA") && unset.contains("xtask datasets"), "{unset}");
    }
}
