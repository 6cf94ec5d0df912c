//! mini-ImageNet, by lists or by folders.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::folders::split_folders;
use super::missing::Missing;
use super::{SourceClass, SourceImage, SourceSpec};
use crate::mini_imagenet::{self, IMAGES_PER_CLASS, Images};
use crate::tree::{FileTree, StoredFile};
use crate::{Error, Split};

pub(super) fn classes(
    spec: &SourceSpec,
    tree: &FileTree,
    split: Split,
) -> Result<Vec<SourceClass>, Error> {
    const LISTS: [&str; 3] = ["train.csv", "val.csv", "test.csv"];
    let images = Images::of([tree]);
    if !LISTS.iter().any(|list| tree.shallowest(list).is_some()) {
        // The folder `train` of ILSVRC is no split of mini-ImageNet, nor is one with all classes.
        let is_no_split = images.are_ilsvrc() || images.divide_images();
        let folders = if is_no_split { None } else { split_folders(spec, tree, split)? };
        return folders.map_or_else(|| by_published_lists(spec, &images, split), Ok);
    }
    let mut classes = BTreeMap::<String, SourceClass>::new();
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
    Ok(classes.into_iter().map(|(name, class)| SourceClass { name, ..class }).collect())
}

fn by_published_lists(
    spec: &SourceSpec,
    images: &Images,
    split: Split,
) -> Result<Vec<SourceClass>, Error> {
    let parts = split.parts();
    let wanted: Vec<_> =
        mini_imagenet::classes().filter(|class| parts.contains(&class.split)).collect();
    let list = format!("{}: the published list of `{split}`", spec.root.display());
    let mut missing = Missing::new(list, IMAGES_PER_CLASS * wanted.len());
    let mut classes = Vec::new();
    for class in wanted {
        let found = images.of_class(&class)?;
        let names: HashSet<_> = found.iter().map(|(name, _)| &**name).collect();
        let absent = class.file_names().filter(|name| !names.contains(&**name));
        let absent: Vec<_> = absent.take(IMAGES_PER_CLASS - found.len()).collect();
        absent.iter().for_each(|name| missing.add(name));
        let images = found.iter().map(|(_, (path, stored))| SourceImage::stored(path, stored));
        classes.push(SourceClass { name: class.wnid.to_owned(), images: images.collect(), absent });
    }
    if classes.iter().all(|class: &SourceClass| class.images.is_empty()) {
        return Err(spec.no_split(
            split,
            "supply images under the names of the published lists, with or without train.csv, \
             val.csv and test.csv, or folders train, val and test of class folders",
        ));
    }
    missing.check(spec.allow_partial)?;
    classes.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(classes)
}

fn add_list(
    spec: &SourceSpec,
    path: &str,
    stored: &StoredFile,
    images: &Images,
    classes: &mut BTreeMap<String, SourceClass>,
) -> Result<(), Error> {
    let list = stored.full_name(path);
    let rows = parse_list(&stored.read()?, &list)?;
    let mut missing = Missing::new(list, rows.len());
    for (file, class) in &rows {
        let of_class = classes.entry(class.clone()).or_default();
        match images.find(class, file) {
            Some((path, stored)) => of_class.images.push(SourceImage::stored(path, stored)),
            None => {
                missing.add(file);
                of_class.absent.push(file.clone());
            }
        }
    }
    missing.check(spec.allow_partial)
}

/// Returns the rows `(filename, label)` of a list, which may not name a file twice.
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

#[cfg(test)]
mod tests {
    use super::*;

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
