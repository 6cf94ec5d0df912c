//! Caltech-UCSD Birds-200-2011.

use std::collections::{HashMap, HashSet};

use super::{SourceClass, SourceImage, SourceSpec};
use crate::tree::FileTree;
use crate::{Error, Split};

const PUBLISHED_CLASSES: usize = 200;
const PUBLISHED_IMAGES: usize = 11_788;

pub(super) fn classes(
    spec: &SourceSpec,
    tree: &FileTree,
    split: Split,
) -> Result<Vec<SourceClass>, Error> {
    let folder = published_folder(spec, tree, split)?;
    let names = Table::read(tree, &folder, "classes.txt")?;
    let files = Table::read(tree, &folder, "images.txt")?;
    let labels = Table::read(tree, &folder, "image_class_labels.txt")?;

    let mut classes = Vec::<SourceClass>::new();
    for (number, name) in names.numbered_from_one()? {
        let slot = number - 1;
        classes.resize_with(classes.len().max(slot + 1), Default::default);
        classes[slot].name = name.to_owned();
    }
    let labels = labels.by_id()?;
    let mut listed = HashSet::new();
    for (id, file) in files.by_id()? {
        let number = labels.get(id).ok_or_else(|| {
            files.fault(format!("image {id} has no class in image_class_labels.txt"))
        })?;
        let slot = number.parse::<usize>().ok().and_then(|n| n.checked_sub(1));
        let class = slot
            .and_then(|slot| classes.get_mut(slot))
            .filter(|class| !class.name.is_empty())
            .ok_or_else(|| {
                files.fault(format!("image {id} is of class {number}, which classes.txt lacks"))
            })?;
        let path = format!("{folder}images/{file}");
        if !listed.insert(file) {
            return Err(files.fault(format!("`{file}` is there twice; remove one line")));
        }
        match tree.find(&path) {
            Some(stored) => class.images.push(SourceImage::stored(&path, stored)),
            None => class.absent.push(path),
        }
    }
    check_complete(spec, &classes)?;
    spec.by_cub_rule(classes, split)
}

/// Returns the folder of the index files, with a final `/`; empty for the root.
fn published_folder(spec: &SourceSpec, tree: &FileTree, split: Split) -> Result<String, Error> {
    let index = tree
        .shallowest("image_class_labels.txt")
        .and_then(|(path, _)| path.strip_suffix("image_class_labels.txt"));
    index.map(str::to_owned).ok_or_else(|| {
        spec.no_split(
            split,
            "supply CUB_200_2011 with images.txt, classes.txt, image_class_labels.txt and images/, \
             or its archive",
        )
    })
}

fn check_complete(spec: &SourceSpec, classes: &[SourceClass]) -> Result<(), Error> {
    let present: usize = classes.iter().map(|class| class.images.len()).sum();
    let with_images = classes.iter().filter(|class| !class.images.is_empty()).count();
    if spec.allow_partial || (present >= PUBLISHED_IMAGES && with_images >= PUBLISHED_CLASSES) {
        return Ok(());
    }
    Err(Error::Incomplete {
        root: spec.root.clone(),
        missing_classes: PUBLISHED_CLASSES.saturating_sub(with_images),
        classes: PUBLISHED_CLASSES,
        missing_images: PUBLISHED_IMAGES.saturating_sub(present),
        images: PUBLISHED_IMAGES,
    })
}

/// A text file of lines `KEY VALUE`.
struct Table {
    file: String,
    text: String,
}

impl Table {
    fn read(tree: &FileTree, folder: &str, name: &str) -> Result<Self, Error> {
        let path = format!("{folder}{name}");
        let stored = tree.get(&path).ok_or_else(|| Error::index(&path, "is absent; add it"))?;
        let file = stored.full_name(&path);
        let text = String::from_utf8(stored.read()?).map_err(|e| Error::index(&file, e))?;
        let text = text.trim_start_matches('\u{feff}').to_owned();
        Ok(Self { file, text })
    }

    fn rows(&self) -> impl Iterator<Item = Result<(&str, &str), Error>> {
        let lines = self.text.lines().enumerate();
        lines.filter(|(_, line)| !line.trim().is_empty()).map(|(number, line)| {
            let row = line.trim().split_once(' ');
            row.map(|(key, value)| (key, value.trim())).ok_or_else(|| {
                self.fault(format!("line {}: `{line}` is not `NUMBER VALUE`", number + 1))
            })
        })
    }

    fn by_id(&self) -> Result<HashMap<&str, &str>, Error> {
        let mut table = HashMap::new();
        for row in self.rows() {
            let (id, value) = row?;
            if table.insert(id, value).is_some() {
                return Err(self.fault(format!("number {id} is there twice")));
            }
        }
        Ok(table)
    }

    /// Returns the rows by number, from 1 to ten times the published number of classes.
    fn numbered_from_one(&self) -> Result<Vec<(usize, &str)>, Error> {
        let table = self.by_id()?;
        let number =
            |id: &str| id.parse().ok().filter(|n| (1..=10 * PUBLISHED_CLASSES).contains(n));
        table
            .into_iter()
            .map(|(id, value)| {
                let fault = || self.fault(format!("`{id}` is not a class number"));
                Ok((number(id).ok_or_else(fault)?, value))
            })
            .collect()
    }

    fn fault(&self, reason: String) -> Error {
        Error::index(&self.file, reason)
    }
}
