//! Omniglot, by alphabet and character.

use std::collections::BTreeMap;

use super::{SourceClass, SourceImage, SourceSpec};
use crate::tree::{FileTree, StoredFile};
use crate::{Error, Split};

pub(super) fn classes(
    spec: &SourceSpec,
    tree: &FileTree,
    split: Split,
) -> Result<Vec<SourceClass>, Error> {
    let mut characters = BTreeMap::<String, BTreeMap<&str, (SourceImage, &StoredFile)>>::new();
    for (path, stored) in tree.images() {
        let mut parts = path.rsplit('/');
        let (Some(file), Some(character), Some(alphabet)) =
            (parts.next(), parts.next(), parts.next())
        else {
            continue;
        };
        if !character.starts_with("character") {
            continue;
        }
        let class = format!("{alphabet}/{character}");
        let images = characters.entry(class.clone()).or_default();
        let image = SourceImage::stored(path, stored);
        // The published archives overlap: an alphabet may be in several of them.
        if let Some((first, same)) = images.get(file) {
            if same.read()? == stored.read()? {
                continue;
            }
            return Err(Error::Duplicate {
                name: format!("{class}/{file}"),
                first: first.full_name(),
                second: image.full_name(),
            });
        }
        images.insert(file, (image, stored));
    }
    if characters.is_empty() {
        let remedy = "supply ALPHABET/characterNN/*.png or the published zips";
        return Err(spec.no_split(split, remedy));
    }
    let classes = characters.into_iter();
    let classes = classes.map(|(name, images)| {
        let images = images.into_values().map(|(image, _)| image).collect();
        SourceClass { name, images, absent: Vec::new() }
    });
    spec.by_cub_rule(classes.collect(), split)
}
