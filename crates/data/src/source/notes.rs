//! What a user has to know of how a source was read, though it is no error: how classes were divided,
//! and what was passed over.

use std::collections::{BTreeMap, HashSet};

use super::folders::{has_split_folders, outer_folder};
use super::{SourceClass, SourceKind, SourceSpec};
use crate::Split;
use crate::tree::{FileTree, is_image_name};

/// Endings that a count of files lists.
const LISTED: usize = 5;

/// Counts files by the endings of their names, as in `8 files: 6 .heic, 2 .txt`.
pub(super) fn endings<'a>(files: impl Iterator<Item = &'a str>) -> String {
    let mut counts = BTreeMap::<String, usize>::new();
    for path in files {
        let name = path.rsplit('/').next().unwrap_or(path);
        let ending = match name.rsplit_once('.') {
            Some((_, ending)) if ending.len() <= 10 => format!(".{}", ending.to_ascii_lowercase()),
            _ => "without an ending".into(),
        };
        *counts.entry(ending).or_default() += 1;
    }
    let total: usize = counts.values().sum();
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let more = if counts.len() > LISTED { ", …" } else { "" };
    let listed: Vec<_> =
        counts.iter().take(LISTED).map(|(ending, count)| format!("{count} {ending}")).collect();
    match total {
        0 => "no file".into(),
        1 => format!("1 file: {}", listed.join(", ")),
        _ => format!("{total} files: {}{more}", listed.join(", ")),
    }
}

impl SourceSpec {
    /// Says how class folders were divided, and what was passed over. `classes` are all that the
    /// split has.
    pub(super) fn notes(
        &self,
        tree: &FileTree,
        split: Split,
        classes: &[SourceClass],
    ) -> Vec<String> {
        let mut notes = Vec::new();
        if self.kind != SourceKind::Folders || self.is_pack(tree) {
            return notes;
        }
        let root = self.root.display();
        if split != Split::All && !has_split_folders(tree) {
            notes.extend(self.division(tree));
        }
        let others = || tree.files().map(|(path, _)| path).filter(|path| !is_image_name(path));
        if others().next().is_some() {
            notes.push(format!(
                "{root}: passed over, as no images by their names: {}",
                endings(others())
            ));
        }
        let used: HashSet<_> =
            classes.iter().flat_map(|class| &class.images).map(|i| i.path()).collect();
        let outer = outer_folder(tree);
        let loose = || {
            tree.images()
                .map(|(path, _)| path)
                .filter(|path| path.strip_prefix(&*outer).is_none_or(|inner| !inner.contains('/')))
        };
        if let Some(first) = loose().next() {
            let count = loose().count();
            notes.push(format!(
                "{root}: {count} images passed over that are in no class, such as `{first}`"
            ));
        }
        let depth = |path: &str| path.matches('/').count();
        let usual = used.iter().map(|path| depth(path)).min().unwrap_or(0);
        let deep: Vec<_> = used.iter().filter(|path| depth(path) > usual).collect();
        if let Some(first) = deep.iter().min() {
            let count = deep.len();
            notes.push(format!(
                "{root}: {count} images lie deeper than the others, such as `{first}`; they count to the \
                 class whose folder they are in"
            ));
        }
        notes
    }

    /// Says how the classes divide by the order of their names.
    fn division(&self, tree: &FileTree) -> Option<String> {
        let count = |split| self.all_classes(tree, split).map_or(0, |classes| classes.len());
        let [base, val, novel] = [Split::Base, Split::Val, Split::Novel].map(count);
        (base > 0).then(|| {
            format!(
                "{}: no folders train, val and test, so that its {} classes are divided by their order: \
                 {base} base, {val} val, {novel} novel. To divide them otherwise, put them into folders \
                 train, val and test; the evaluator takes all of them by `--split all`",
                self.root.display(),
                base + val + novel
            )
        })
    }

    /// Says what was found where a split has no image.
    pub(super) fn found_instead(&self, tree: &FileTree, split: Split) -> String {
        let images: Vec<_> = tree.images().map(|(path, _)| path).collect();
        let found = match images.first() {
            None => format!("; its root has {}", endings(tree.files().map(|(path, _)| path))),
            Some(first) => {
                format!("; none of the {} images is in it, such as `{first}`", images.len())
            }
        };
        let division = (self.kind == SourceKind::Folders && !has_split_folders(tree))
            .then(|| self.division(tree));
        match division.flatten().filter(|_| split != Split::All) {
            Some(division) => format!("{found} ({division})"),
            None => found,
        }
    }
}
