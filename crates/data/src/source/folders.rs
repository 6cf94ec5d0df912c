//! Class folders.

use std::collections::BTreeMap;

use super::{SourceClass, SourceImage, SourceSpec};
use crate::tree::{FileTree, StoredFile};
use crate::{Error, Split};

pub(super) fn classes(
    spec: &SourceSpec,
    tree: &FileTree,
    split: Split,
) -> Result<Vec<SourceClass>, Error> {
    if let Some(classes) = split_folders(spec, tree, split)? {
        return Ok(classes);
    }
    let outer = outer_folder(tree);
    let classes = tree.images().filter_map(|(path, stored)| {
        let (class, file) = path.strip_prefix(&outer)?.split_once('/')?;
        (!file.contains('/')).then_some((class, path, stored))
    });
    spec.by_cub_rule(group(classes), split)
}

/// Returns the split's classes if folders are the splits; nothing if no folder is one.
pub(super) fn split_folders(
    spec: &SourceSpec,
    tree: &FileTree,
    split: Split,
) -> Result<Option<Vec<SourceClass>>, Error> {
    let outer = outer_folder(tree);
    let below_split = |(path, stored)| -> Option<(Split, &str, &str, &str, &StoredFile)> {
        let inner = str::strip_prefix(path, &outer)?;
        let (folder, inner) = inner.split_once('/')?;
        let (class, file) = inner.split_once('/')?;
        let known = split_of_folder(folder).filter(|_| !file.contains('/'))?;
        Some((known, folder, class, path, stored))
    };
    let images: Vec<_> = tree.images().filter_map(below_split).collect();
    if images.is_empty() {
        return Ok(None);
    }
    let mut folders = BTreeMap::new();
    for &(known, folder, ..) in &images {
        let first = *folders.entry(known).or_insert(folder);
        if first != folder {
            return Err(Error::Duplicate {
                name: known.to_string(),
                first: format!("{outer}{first}/"),
                second: format!("{outer}{folder}/"),
            });
        }
    }
    let parts = split.parts();
    if !folders.keys().any(|known| parts.contains(known)) {
        let remedy = format!("add the folder `{outer}{}`", folder_names(split)[0]);
        return Err(spec.no_split(split, remedy));
    }
    let wanted = images.into_iter().filter(|image| parts.contains(&image.0));
    let wanted = wanted.map(|(_, _, class, path, stored)| (class, path, stored));
    Ok(Some(group(wanted)))
}

/// Returns images by class, given as class, path and file.
fn group<'a>(images: impl Iterator<Item = (&'a str, &'a str, &'a StoredFile)>) -> Vec<SourceClass> {
    let mut classes = BTreeMap::<_, Vec<_>>::new();
    for (class, path, stored) in images {
        let images = classes.entry(class.to_owned()).or_default();
        images.push(SourceImage::stored(path, stored));
    }
    let classes = classes.into_iter();
    classes.map(|(name, images)| SourceClass { name, images, absent: Vec::new() }).collect()
}

/// Returns the folders around everything, with a final `/`: those that all images share and that
/// are neither a split nor a class.
fn outer_folder(tree: &FileTree) -> String {
    let paths: Vec<_> = tree.images().map(|(path, _)| path).collect();
    let mut outer = 0;
    while let Some((folder, _)) = paths.first().and_then(|first| first[outer..].split_once('/')) {
        let next = outer + folder.len() + 1;
        let shared = &paths[0][..next];
        let is_outer = split_of_folder(folder).is_none()
            && paths
                .iter()
                .all(|path| path.strip_prefix(shared).is_some_and(|rest| rest.contains('/')));
        if !is_outer {
            break;
        }
        outer = next;
    }
    paths.first().map_or("", |first| &first[..outer]).to_owned()
}

fn folder_names(split: Split) -> &'static [&'static str] {
    match split {
        Split::Base => &["base", "train"],
        Split::BaseVal => &["base_val", "base-val"],
        Split::Val => &["val"],
        Split::Novel => &["novel", "test"],
        Split::All => &["base"],
    }
}

fn split_of_folder(folder: &str) -> Option<Split> {
    Split::VARIANTS.iter().copied().find(|split| folder_names(*split).contains(&folder))
}
