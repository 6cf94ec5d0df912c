use std::collections::{BTreeMap, HashMap};

use super::folders::split_folders;
use super::missing::Missing;
use super::{Class, Classes, SourceSpec};
use crate::dataset::Image;
use crate::tree::{Stored, Tree};
use crate::{Error, Split};

pub(super) fn classes(spec: &SourceSpec, tree: &Tree, split: Split) -> Result<Classes, Error> {
    const LISTS: [&str; 3] = ["train.csv", "val.csv", "test.csv"];
    if !LISTS.iter().any(|list| tree.shallowest(list).is_some()) {
        return split_folders(spec, tree, split)?.ok_or_else(|| {
            spec.no_split(
                split,
                "supply train.csv, val.csv and test.csv with the header `filename,label`, or \
                 folders train, val and test of class folders",
            )
        });
    }
    let images = Images::of(tree);
    let mut classes = BTreeMap::<String, Class>::new();
    for part in split.parts() {
        let list = match part {
            Split::Base => LISTS[0],
            Split::Val => LISTS[1],
            Split::Novel => LISTS[2],
            _ => return Err(spec.no_split(split, "no list is published for it")),
        };
        let (path, stored) =
            tree.shallowest(list).ok_or_else(|| spec.no_split(split, format!("supply {list}")))?;
        add_list(spec, path, stored, &images, &mut classes)?;
    }
    Ok(classes.into_iter().map(|(name, class)| Class { name, ..class }).collect())
}

fn add_list(
    spec: &SourceSpec,
    path: &str,
    stored: &Stored,
    images: &Images,
    classes: &mut BTreeMap<String, Class>,
) -> Result<(), Error> {
    let list = stored.full_name(path);
    let rows = parse_list(&stored.read()?, &list)?;
    let mut missing = Missing::from(list, rows.len());
    for (file, class) in &rows {
        let of_class = classes.entry(class.clone()).or_default();
        match images.find(class, file) {
            Some((path, stored)) => of_class.images.push(Image::stored(path, stored)),
            None => {
                missing.note(file);
                of_class.absent.push(file.clone());
            }
        }
    }
    missing.check(spec.allow_partial)
}

/// The rows `(filename, label)` of a list; no file may be in it twice.
fn parse_list(bytes: &[u8], list: &str) -> Result<Vec<(String, String)>, Error> {
    let malformed = |reason: &dyn ToString| Error::index(list, reason.to_string());
    let mut reader = csv::Reader::from_reader(bytes);
    let header = reader.headers().map_err(|e| malformed(&e))?;
    let fields: Vec<_> =
        header.iter().map(|field| field.trim_start_matches('\u{feff}').trim()).collect();
    if fields != ["filename", "label"] {
        return Err(malformed(&format!(
            "the header is `{}`; expected `filename,label`",
            fields.join(",")
        )));
    }
    let mut rows = Vec::new();
    let mut lines = HashMap::new();
    for record in reader.into_records() {
        let record = record.map_err(|e| malformed(&e))?;
        let line = record.position().map_or(0, csv::Position::line);
        let (file, class) = (record[0].trim(), record[1].trim());
        if file.is_empty() || class.is_empty() {
            return Err(malformed(&format!("line {line}: an empty field")));
        }
        if let Some(first) = lines.insert(file.to_owned(), line) {
            return Err(Error::Duplicate {
                name: file.to_owned(),
                first: format!("{list} line {first}"),
                second: format!("line {line}"),
            });
        }
        rows.push((file.to_owned(), class.to_owned()));
    }
    Ok(rows)
}

/// The images at hand, by the names that the lists have for them.
struct Images<'a> {
    by_file: HashMap<&'a str, Vec<(&'a str, &'a Stored)>>,
    /// Of the ILSVRC training set: class, then number after the underscore.
    ilsvrc: HashMap<&'a str, Vec<(u64, &'a str, &'a Stored)>>,
}

impl<'a> Images<'a> {
    fn of(tree: &'a Tree) -> Self {
        let mut images = Self { by_file: HashMap::new(), ilsvrc: HashMap::new() };
        for (path, stored) in tree.images() {
            let file = path.rsplit('/').next().unwrap_or(path);
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
        images
    }

    fn find(&self, class: &str, file: &str) -> Option<(&'a str, &'a Stored)> {
        if let Some(found) = self.by_file.get(file) {
            let own_folder = format!("{class}/{file}");
            let in_own_folder = found.iter().find(|(path, _)| path.ends_with(&own_folder));
            return in_own_folder.or(found.first()).copied();
        }
        let (class, rank) = listed_name(file)?;
        let (_, path, stored) = self.ilsvrc.get(class)?.get(rank.checked_sub(1)?)?;
        Some((path, stored))
    }
}

/// Whether the file is named as in the ILSVRC training set.
pub(super) fn is_ilsvrc(path: &str) -> bool {
    ilsvrc_name(path.rsplit('/').next().unwrap_or(path)).is_some()
}

/// Class and number of `n01532829_5.JPEG`.
fn ilsvrc_name(file: &str) -> Option<(&str, u64)> {
    let (class, number) = file.rsplit_once('.')?.0.split_once('_')?;
    Some((class, number.parse().ok().filter(|_| is_wordnet_id(class))?))
}

/// Class and rank of `n0153282900000005.jpg`.
fn listed_name(file: &str) -> Option<(&str, usize)> {
    let stem = file.rsplit_once('.')?.0;
    let (class, digits) = stem.split_at_checked(9)?;
    let rank = digits.get(digits.len().checked_sub(5)?..)?;
    Some((class, rank.parse().ok().filter(|_| is_wordnet_id(class))?))
}

fn is_wordnet_id(class: &str) -> bool {
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

    #[test]
    fn lists_are_checked() {
        let parse = |text: &str| parse_list(text.as_bytes(), "train.csv");
        let rows = parse("filename,label\na.jpg,n1\nb.jpg,n2\n").unwrap();
        assert_eq!(rows[1], ("b.jpg".into(), "n2".into()));
        for bad in [
            "",
            "name,label\na.jpg,n1\n",
            "filename,label\na.jpg\n",
            "filename,label\na.jpg,\n",
            "filename,label\na.jpg,n1\na.jpg,n2\n",
        ] {
            let error = parse(bad).unwrap_err().to_string();
            assert!(error.contains("train.csv"), "{error}");
        }
    }
}
