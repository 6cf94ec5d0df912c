//! Class folders.

use std::collections::BTreeMap;

use super::{SourceClass, SourceImage, SourceSpec, notes};
use crate::tree::FileTree;
use crate::{Error, Split};

pub(super) fn classes(
    spec: &SourceSpec,
    tree: &FileTree,
    split: Split,
) -> Result<Vec<SourceClass>, Error> {
    match split_folders(spec, tree, split)? {
        Some(classes) => Ok(classes),
        None => spec.by_cub_rule(class_folders(spec, tree, &outer_folder(tree))?, split),
    }
}

/// Returns the split's classes if folders are the splits; nothing if no folder is one.
pub(super) fn split_folders(
    spec: &SourceSpec,
    tree: &FileTree,
    split: Split,
) -> Result<Option<Vec<SourceClass>>, Error> {
    let outer = outer_folder(tree);
    let mut folders = BTreeMap::new();
    for (known, folder) in tree.images().filter_map(|(path, _)| split_of_path(path, &outer)) {
        let first = *folders.entry(known).or_insert(folder);
        if first != folder {
            let place = |name| spec.root.join(format!("{outer}{name}/")).display().to_string();
            let (first, second) = (place(first), place(folder));
            return Err(Error::Duplicate { name: known.to_string(), first, second });
        }
    }
    if folders.is_empty() {
        return Ok(None);
    }
    let parts = split.parts();
    folders.retain(|known, _| parts.contains(known));
    if folders.is_empty() {
        let remedy = format!("add the folder `{outer}{}`", folder_names(split)[0]);
        return Err(spec.no_split(split, remedy));
    }
    let mut classes = BTreeMap::<_, SourceClass>::new();
    for folder in folders.values() {
        for found in class_folders(spec, tree, &format!("{outer}{folder}/"))? {
            let class = classes.entry(found.name.clone()).or_default();
            class.name = found.name;
            class.images.extend(found.images);
        }
    }
    Ok(Some(classes.into_values().collect()))
}

/// Whether folders divide the classes into splits, rather than the order of their names.
pub(super) fn has_split_folders(tree: &FileTree) -> bool {
    let outer = outer_folder(tree);
    tree.images().any(|(path, _)| split_of_path(path, &outer).is_some())
}

/// Returns the split of an image by its path, and that split's folder, if folders are splits.
fn split_of_path<'a>(path: &'a str, outer: &str) -> Option<(Split, &'a str)> {
    let (folder, inner) = path.strip_prefix(outer)?.split_once('/')?;
    Some((split_of_folder(folder).filter(|_| inner.contains('/'))?, folder))
}

/// Returns the folders in the folder `outer` as classes. An image that lies deeper in one counts to
/// it, unless all do.
fn class_folders(
    spec: &SourceSpec,
    tree: &FileTree,
    outer: &str,
) -> Result<Vec<SourceClass>, Error> {
    let below = |path| str::strip_prefix(path, outer)?.split_once('/');
    let images: Vec<_> = tree
        .images()
        .filter_map(|(path, stored)| below(path).map(|(class, file)| (class, file, path, stored)))
        .collect();
    if let Some((.., path, _)) = images.first()
        && images.iter().all(|(_, file, ..)| file.contains('/'))
    {
        let reason = format!(
            "its {} images lie deeper than CLASS/IMAGE, such as `{path}`; move them up, or name the \
             folder that the classes are in",
            images.len()
        );
        return Err(Error::index(spec.root.join(outer).display().to_string(), reason));
    }
    let mut classes = BTreeMap::<&str, SourceClass>::new();
    // Folders without an image, too.
    let folders = tree.folders().filter_map(|path| path.strip_prefix(outer));
    for name in folders.filter(|name| !name.is_empty() && !name.contains('/')) {
        classes.entry(name).or_default();
    }
    for (name, _) in tree.files().filter_map(|(path, _)| below(path)) {
        classes.entry(name).or_default();
    }
    for (name, _, path, stored) in images {
        classes.entry(name).or_default().images.push(SourceImage::stored(path, stored));
    }
    let empty = classes.iter().find(|(_, class)| class.images.is_empty());
    if let Some((name, _)) = empty.filter(|_| !spec.allow_partial) {
        let folder = format!("{outer}{name}/");
        let files = tree.files().map(|(path, _)| path).filter(|path| path.starts_with(&folder));
        return Err(Error::EmptyClass {
            folder: spec.root.join(&folder).display().to_string(),
            found: notes::endings(files),
        });
    }
    let named = |(name, class): (&str, SourceClass)| SourceClass { name: name.to_owned(), ..class };
    Ok(classes.into_iter().map(named).collect())
}

/// Returns the folders around everything, with a final `/`: those that all images share and that
/// are neither a split nor a class.
pub(super) fn outer_folder(tree: &FileTree) -> String {
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
    let is_named =
        |split: &Split| folder_names(*split).iter().any(|n| n.eq_ignore_ascii_case(folder));
    Split::VARIANTS.iter().copied().find(is_named)
}
