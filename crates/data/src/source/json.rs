//! Published lists in JSON.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use serde::Deserialize;
use unicode_normalization::UnicodeNormalization;

use super::missing::Missing;
use super::{SourceClass, SourceImage, SourceSpec};
use crate::tree::{FileTree, StoredFile};
use crate::{Error, Split};

/// Classes by number and name.
type Numbered = BTreeMap<(usize, String), SourceClass>;

pub(super) fn classes(
    spec: &SourceSpec,
    tree: &FileTree,
    split: Split,
) -> Result<Vec<SourceClass>, Error> {
    let (mut classes, mut listed) = (Numbered::new(), HashMap::new());
    if !is_json_file(&spec.root) {
        let paths = split.parts().into_iter().map(|part| format!("{}.json", list_stem(part)));
        let lists: Vec<_> =
            paths.filter_map(|path| tree.get(&path).map(|file| (path, file))).collect();
        if lists.is_empty() {
            return Err(spec.no_split(split, format!("supply {}.json", list_stem(split))));
        }
        for (path, file) in lists {
            add_list(spec, tree, &path, file, &mut classes, &mut listed)?;
        }
    } else {
        let stem = spec.root.file_stem().unwrap_or_default();
        if split != Split::All && list_stem(split) != stem {
            return Err(spec.no_split(split, "open `all`, or the folder of the lists"));
        }
        let list = StoredFile::on_disk(&spec.root);
        add_list(spec, tree, "", &list, &mut classes, &mut listed)?;
    }
    let classes = classes.into_iter();
    Ok(classes.map(|((_, name), class)| SourceClass { name, ..class }).collect())
}

/// Lists the files below the root; none if the root is itself a list, whose images may be anywhere.
pub(super) fn open_root(root: &Path) -> Result<FileTree, Error> {
    if is_json_file(root) { Ok(FileTree::default()) } else { FileTree::open(root) }
}

fn is_json_file(root: &Path) -> bool {
    let extension = root.extension().unwrap_or_default();
    extension.eq_ignore_ascii_case("json") && !root.is_dir()
}

fn list_stem(split: Split) -> &'static str {
    match split {
        Split::BaseVal => "base_val",
        Split::All => "base",
        one => one.as_str(),
    }
}

#[derive(Deserialize)]
struct List {
    label_names: Vec<String>,
    image_names: Vec<String>,
    image_labels: Vec<usize>,
}

/// Adds the images of a list. `listed` has where each image was listed, by its file.
fn add_list(
    spec: &SourceSpec,
    tree: &FileTree,
    path: &str,
    list_file: &StoredFile,
    classes: &mut Numbered,
    listed: &mut HashMap<String, String>,
) -> Result<(), Error> {
    let file = list_file.full_name(path);
    let list = parse_list(&list_file.read()?, &file)?;
    let mut missing = Missing::new(file.clone(), list.image_names.len());
    for (number, (name, &label)) in list.image_names.iter().zip(&list.image_labels).enumerate() {
        let class_name = list.label_names.get(label).ok_or_else(|| {
            let reason = format!("image `{name}` has label {label}, beyond label_names");
            Error::index(&file, reason)
        })?;
        let class = classes.entry((label, class_name.clone())).or_default();
        match find(tree, list_file, name) {
            Some(found) => {
                let place = format!("{file}: image_names[{number}], label `{class_name}`");
                if let Some(first) = listed.insert(found.identity(name), place.clone()) {
                    return Err(Error::Duplicate { name: name.clone(), first, second: place });
                }
                class.images.push(SourceImage::stored(name, &found));
            }
            None => {
                missing.add(name);
                class.absent.push(name.clone());
            }
        }
    }
    missing.check(spec.allow_partial)
}

fn parse_list(bytes: &[u8], file: &str) -> Result<List, Error> {
    let bytes = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes);
    let list: List = serde_json::from_slice(bytes).map_err(|e| Error::index(file, e))?;
    let (names, labels) = (list.image_names.len(), list.image_labels.len());
    if names != labels {
        let reason = format!("{names} image_names but {labels} image_labels");
        return Err(Error::index(file, reason));
    }
    Ok(list)
}

/// Finds an image that a list names. A list in an archive can name only what is in the archive.
fn find(tree: &FileTree, list: &StoredFile, name: &str) -> Option<StoredFile> {
    let relative = name.strip_prefix("./").unwrap_or(name);
    if let Some(file) = tree.find(relative) {
        return Some(file.clone());
    }
    let folder = list.folder()?;
    // The disk may have the name in the other normal form of Unicode.
    let forms = [name.to_owned(), name.nfc().collect(), name.nfd().collect()];
    let path = forms.iter().map(|name| folder.join(name)).find(|path| path.is_file())?;
    Some(StoredFile::on_disk(path))
}

#[cfg(test)]
mod tests {
    use super::parse_list;

    #[test]
    fn lists_are_checked() {
        let good = r#"{"label_names":["a"],"image_names":["x.jpg"],"image_labels":[0]}"#;
        assert!(parse_list(good.as_bytes(), "base.json").is_ok());
        for bad in [
            "",
            "[]",
            r#"{"label_names":["a"],"image_names":["x.jpg"]}"#,
            r#"{"label_names":["a"],"image_names":["x.jpg"],"image_labels":[]}"#,
            r#"{"label_names":["a"],"image_names":["x.jpg"],"image_labels":[-1]}"#,
        ] {
            let error = parse_list(bad.as_bytes(), "base.json").err().unwrap();
            assert!(error.to_string().contains("base.json"), "{error}");
        }
    }
}
