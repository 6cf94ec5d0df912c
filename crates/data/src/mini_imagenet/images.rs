//! The images of a tree, by the names that the lists have for them.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::{Class, IMAGES_PER_CLASS, split_of};
use crate::Error;
use crate::tree::{FileTree, StoredFile};

/// An image of a tree: its path and its file.
type Found<'a> = (&'a str, &'a StoredFile);

/// The images of a tree, by the names that the lists have for them.
#[derive(Default)]
pub(crate) struct Images<'a> {
    by_file: HashMap<&'a str, Vec<Found<'a>>>,
    /// By the name of their folder, if it is a WordNet ID.
    by_folder: HashMap<&'a str, Vec<Found<'a>>>,
    /// Images of the ILSVRC training set by class, each with the number after the underscore.
    ilsvrc: HashMap<&'a str, Vec<(u64, &'a str, &'a StoredFile)>>,
    /// Whether folders of splits divide the images of each class, as for classifying the classes
    /// themselves (500 of each in `train`, 100 in `val`), rather than the classes.
    divides_images: bool,
}

impl<'a> Images<'a> {
    pub(crate) fn of(trees: impl IntoIterator<Item = &'a FileTree>) -> Self {
        let mut images = Self::default();
        for (path, stored) in trees.into_iter().flat_map(FileTree::images) {
            let mut parts = path.rsplit('/');
            let (file, folder) = (parts.next().unwrap_or(path), parts.next());
            if let Some(class) = folder.filter(|folder| is_wordnet_id(folder)) {
                images.by_folder.entry(class).or_default().push((path, stored));
            }
            if let Some((class, number)) = ilsvrc_name(file) {
                let class = images.ilsvrc.entry(class).or_default();
                class.push((number, path, stored));
            } else {
                images.by_file.entry(file).or_default().push((path, stored));
            }
        }
        for class in images.ilsvrc.values_mut() {
            class.sort_by_key(|&(number, path, _)| (number, path));
            // A second copy of an image must not shift those after it.
            class.dedup_by_key(|&mut (number, ..)| number);
        }
        let known = images.by_folder.iter().filter(|(class, _)| split_of(class).is_some());
        let splits = known.map(|(_, images)| {
            let splits = images.iter().filter_map(|(path, _)| split_folder(path));
            splits.collect::<BTreeSet<_>>().len()
        });
        let splits: Vec<usize> = splits.collect();
        images.divides_images = splits.len() > 1 && splits.iter().all(|splits| *splits > 1);
        images
    }

    /// Whether folders of splits hold images of the same classes, all of them, so that they say nothing
    /// of the split of a class.
    pub(crate) fn divide_images(&self) -> bool {
        self.divides_images
    }

    /// Whether this is the ILSVRC training set, whose classes have at least 732 images, and not a copy
    /// of mini-ImageNet with the same names.
    pub(crate) fn are_ilsvrc(&self) -> bool {
        self.ilsvrc.values().any(|class| class.len() > IMAGES_PER_CLASS)
    }

    /// Returns the image that a list calls `file`.
    pub(crate) fn find(&self, class: &str, file: &str) -> Option<Found<'a>> {
        if let Some(found) = self.by_file(class, file) {
            return Some(found);
        }
        let (class, rank) = listed_name(file)?;
        let (_, path, stored) = self.ilsvrc.get(class)?.get(rank.checked_sub(1)?)?;
        Some((path, stored))
    }

    fn by_file(&self, class: &str, file: &str) -> Option<Found<'a>> {
        let found = self.by_file.get(file)?;
        let own_folder = format!("{class}/{file}");
        let in_own_folder = found.iter().find(|(path, _)| path.ends_with(&own_folder));
        in_own_folder.or(found.first()).copied()
    }

    /// Returns the images of a class with their names: those of the published list, from the ILSVRC
    /// training set or under these names, or else whatever is in the class's folder, under its own
    /// names.
    pub(crate) fn of_class(&self, class: &Class) -> Result<Vec<(String, Found<'a>)>, Error> {
        let ilsvrc = self.ilsvrc.get(class.wnid).filter(|images| images.len() > IMAGES_PER_CLASS);
        if let Some(images) = ilsvrc {
            let (first, last) = (images[0], class.ranks().last().unwrap_or(0));
            if images.len() < last {
                let reason = format!(
                    "{} images are named as those of the ILSVRC training set, where the class has \
                     at least {last}; add the others, as lists number them all",
                    images.len()
                );
                return Err(Error::index(folder_of(first.2.full_name(first.1)), reason));
            }
            let ranked = class.ranks().map(|rank| (images[rank - 1].1, images[rank - 1].2));
            return Ok(class.file_names().zip(ranked).collect());
        }
        let listed = |file: String| {
            let found = self.by_file(class.wnid, &file)?;
            Some((file, found))
        };
        let listed: Vec<_> = class.file_names().filter_map(listed).collect();
        if !listed.is_empty() {
            return Ok(listed);
        }
        self.of_folder(class)
    }

    /// Returns whatever is in the class's folder, or in its folders of all splits.
    fn of_folder(&self, class: &Class) -> Result<Vec<(String, Found<'a>)>, Error> {
        let images = self.by_folder.get(class.wnid).map_or(&[][..], Vec::as_slice);
        let Some(&(first, stored)) = images.first() else { return Ok(Vec::new()) };
        let folder = |path: &str, stored: &StoredFile| folder_of(stored.full_name(path));
        let of_first = folder(first, stored);
        // One folder in each split, at most.
        let is_second = |path: &str, stored: &StoredFile| {
            let of_other_split = self.divides_images && split_folder(path) != split_folder(first);
            folder(path, stored) != of_first && !of_other_split
        };
        if let Some((path, stored)) = images.iter().find(|(p, s)| is_second(p, s)) {
            return Err(Error::Duplicate {
                name: class.wnid.to_owned(),
                first: of_first,
                second: folder(path, stored),
            });
        }
        if images.len() > IMAGES_PER_CLASS {
            let reason = format!(
                "{} images, of which the published list has {IMAGES_PER_CLASS}, but under other \
                 names; name them as {}",
                images.len(),
                class.file_names().next().unwrap_or_default()
            );
            return Err(Error::index(of_first, reason));
        }
        let file = |path: &'a str| path.rsplit('/').next().unwrap_or(path);
        let names: HashSet<_> = images.iter().map(|(path, _)| file(path)).collect();
        // Files of two splits may have one name.
        let is_unique = names.len() == images.len();
        let name = |path: &'a str| match split_folder(path) {
            Some(split) if !is_unique => format!("{split}_{}", file(path)),
            _ => file(path).to_owned(),
        };
        Ok(images.iter().map(|&(path, stored)| (name(path), (path, stored))).collect())
    }

    /// Returns a folder of the class that is in the folder of another split.
    pub(crate) fn misplaced(&self, class: &Class) -> Option<String> {
        let images = self.by_folder.get(class.wnid).filter(|_| !self.divides_images)?;
        images.iter().find_map(|(path, stored)| {
            let split = split_folder(path)?;
            let is_right = [class.folder(), class.split.as_str()].contains(&split);
            (!is_right).then(|| folder_of(stored.full_name(path)))
        })
    }
}

/// Returns the folder of a split that the folder of an image's class is in.
fn split_folder(path: &str) -> Option<&str> {
    let split = path.rsplit('/').nth(2)?;
    ["train", "base", "val", "test", "novel"].contains(&split).then_some(split)
}

fn folder_of(mut file: String) -> String {
    let folder = file.rfind(['/', '\\']);
    file.truncate(folder.map_or(0, |end| end + 1));
    file
}

/// Whether the file is named as in the ILSVRC training set.
pub(crate) fn is_ilsvrc(path: &str) -> bool {
    ilsvrc_name(path.rsplit('/').next().unwrap_or(path)).is_some()
}

/// Returns class and number of `n01532829_5.JPEG`.
fn ilsvrc_name(file: &str) -> Option<(&str, u64)> {
    let (class, number) = file.rsplit_once('.')?.0.split_once('_')?;
    Some((class, number.parse().ok().filter(|_| is_wordnet_id(class))?))
}

/// Returns class and rank of `n0153282900000005.jpg`.
fn listed_name(file: &str) -> Option<(&str, usize)> {
    let stem = file.rsplit_once('.')?.0;
    let (class, digits) = stem.split_at_checked(9)?;
    let rank = digits.get(digits.len().checked_sub(5)?..)?;
    Some((class, rank.parse().ok().filter(|_| is_wordnet_id(class))?))
}

pub(crate) fn is_wordnet_id(class: &str) -> bool {
    let digits = class.strip_prefix('n');
    digits.is_some_and(|digits| digits.len() == 8 && digits.bytes().all(|b| b.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_names_are_taken_apart() {
        assert_eq!(ilsvrc_name("n01532829_5.JPEG"), Some(("n01532829", 5)));
        assert_eq!(ilsvrc_name("ILSVRC2012_val_00000001.JPEG"), None);
        assert_eq!(listed_name("n0153282900000005.jpg"), Some(("n01532829", 5)));
        assert_eq!(listed_name("n0153282900001299.jpg"), Some(("n01532829", 1299)));
        assert_eq!(listed_name("näääää.jpg"), None);
        assert_eq!(listed_name("n01532829.jpg"), None);
    }
}
