//! Classes and images of the published datasets.

use std::path::{Path, PathBuf};

use fewshot_data::{SourceKind, Split, mini_imagenet};

use crate::data_folder::data_folder;
use crate::download::CIFAR_FS_SPLITS;

/// Datasets whose published figures are known.
pub const NAMES: [&str; 4] = ["cub", "mini-imagenet", "omniglot", "cifar-fs"];

/// Classes and images of one split of a complete copy.
pub struct Expected {
    /// The split.
    pub split: Split,
    /// Number of classes.
    pub classes: usize,
    /// Number of images.
    pub images: usize,
    /// Names of the classes, where they are known beforehand; else empty.
    pub names: Vec<&'static str>,
}

/// The published figures of a dataset.
pub struct Published {
    /// One entry per split.
    pub splits: Vec<Expected>,
    /// Images per class, where all classes have the same number.
    pub per_class: Option<usize>,
}

/// Returns the published figures of one of [`NAMES`].
pub fn figures(dataset: &str) -> Published {
    let even = |split, names: Vec<&'static str>| Expected {
        split,
        classes: names.len(),
        images: names.len() * 600,
        names,
    };
    let counted = |split, classes, images| Expected { split, classes, images, names: Vec::new() };
    let splits = [Split::Base, Split::Val, Split::Novel];
    match dataset {
        // Split by the published rule, counted from the dataset's lists.
        "cub" => Published {
            splits: vec![
                counted(Split::Base, 100, 5_885),
                counted(Split::Val, 50, 2_950),
                counted(Split::Novel, 50, 2_953),
            ],
            per_class: None,
        },
        // 1,623 characters by the same rule, each by 20 people.
        "omniglot" => Published {
            splits: vec![
                counted(Split::Base, 812, 16_240),
                counted(Split::Val, 406, 8_120),
                counted(Split::Novel, 405, 8_100),
            ],
            per_class: Some(20),
        },
        "mini-imagenet" => {
            let of = |split| {
                let classes = mini_imagenet::classes().filter(move |class| class.split == split);
                even(split, classes.map(|class| class.wnid).collect())
            };
            let per_class = Some(mini_imagenet::IMAGES_PER_CLASS);
            Published { splits: splits.map(of).into(), per_class }
        }
        _ => {
            let of = |(split, (_, classes)): (Split, (&str, &'static str))| {
                even(split, classes.split_whitespace().collect())
            };
            let splits = splits.into_iter().zip(CIFAR_FS_SPLITS).map(of).collect();
            Published { splits, per_class: Some(600) }
        }
    }
}

/// Returns the kind of source that opens a published dataset, or the source of that name.
pub fn source(name: &str) -> Result<SourceKind, String> {
    let kind = if name == "cifar-fs" { "folders" } else { name };
    kind.parse().map_err(|e: fewshot_data::Error| e.to_string())
}

/// Returns where a dataset lies: `path`, else where a download puts it.
pub fn root(name: &str, path: Option<&Path>, data: Option<&Path>) -> Result<PathBuf, String> {
    let root = match path {
        Some(path) => path.to_owned(),
        None => {
            let known = fewshot_fetch::datasets().into_iter().find(|known| known.name == name);
            let folder = known.map_or(name.to_owned(), |known| known.package.folder);
            data_folder(data)?.join(folder)
        }
    };
    if root.exists() {
        return Ok(root);
    }
    Err(format!("{}: nothing there; name the folder, archive or pack by --path", root.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_those_of_the_papers() {
        let all = [
            ("cub", 200, 11_788),
            ("mini-imagenet", 100, 60_000),
            ("omniglot", 1_623, 32_460),
            ("cifar-fs", 100, 60_000),
        ];
        assert_eq!(all.map(|(name, ..)| name), NAMES);
        for (name, classes, images) in all {
            let Published { splits, per_class } = figures(name);
            let sum = |of: fn(&Expected) -> usize| splits.iter().map(of).sum::<usize>();
            assert_eq!((sum(|s| s.classes), sum(|s| s.images)), (classes, images), "{name}");
            for split in &splits {
                assert_eq!(split.images, per_class.map_or(split.images, |n| n * split.classes));
                assert!(split.names.is_empty() || split.names.len() == split.classes);
            }
            assert!(source(name).is_ok());
        }
        let mini = figures("mini-imagenet").splits;
        assert_eq!(mini.iter().map(|split| split.classes).collect::<Vec<_>>(), [64, 16, 20]);
    }
}
