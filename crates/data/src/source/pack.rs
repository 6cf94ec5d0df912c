//! The classes of a pack, which takes the place of the source that it was made of.

use std::collections::{BTreeMap, HashSet};

use super::{SourceClass, SourceImage, SourceSpec};
use crate::pack::{Manifest, PackInfo, entry_name, manifest_name};
use crate::tree::FileTree;
use crate::{Error, Split};

/// Lists the classes of a split of a pack; nothing if the tree is no pack.
pub(super) fn classes(
    spec: &SourceSpec,
    tree: &FileTree,
    split: Split,
) -> Result<Option<Vec<SourceClass>>, Error> {
    let packed = packed_splits(tree);
    if packed.is_empty() {
        return Ok(None);
    }
    let parts: Vec<_> = split.parts().into_iter().filter(|part| packed.contains(part)).collect();
    if parts.is_empty() {
        let packed: Vec<_> = packed.iter().map(|split| split.as_str()).collect();
        return Err(spec.no_split(split, format!("this pack holds {}", packed.join(", "))));
    }
    let mut classes = Vec::new();
    for part in parts {
        add(spec, tree, part, &mut classes)?;
    }
    if split == Split::All {
        classes = merged(classes);
    }
    Ok(Some(classes.into_iter().map(|(_, class)| class).collect()))
}

fn packed_splits(tree: &FileTree) -> Vec<Split> {
    let is_packed = |split: &Split| tree.get(&manifest_name(*split)).is_some();
    Split::VARIANTS.iter().copied().filter(is_packed).collect()
}

impl SourceSpec {
    /// Whether the tree is a pack.
    pub(super) fn is_pack(&self, tree: &FileTree) -> bool {
        !packed_splits(tree).is_empty()
    }
}

/// Reads what the manifest of a split says of its pack, and the pack's checksum.
pub(super) fn info(tree: &FileTree, split: Split) -> Result<Option<(PackInfo, String)>, Error> {
    Ok(read(tree, split)?.map(|(_, manifest, info)| (info, manifest.sha256)))
}

/// Reads the manifest of a split, and returns it after the name of its file.
fn read(tree: &FileTree, split: Split) -> Result<Option<(String, Manifest, PackInfo)>, Error> {
    let name = manifest_name(split);
    let Some(stored) = tree.get(&name) else { return Ok(None) };
    let file = stored.full_name(&name);
    let (manifest, info) =
        Manifest::parse(&stored.read()?).map_err(|reason| Error::index(&file, reason))?;
    if info.split != split {
        return Err(Error::index(&file, format!("the manifest of split `{}`", info.split)));
    }
    Ok(Some((file, manifest, info)))
}

/// Adds the classes of one split with their labels among the classes of all splits.
fn add(
    spec: &SourceSpec,
    tree: &FileTree,
    split: Split,
    classes: &mut Vec<(usize, SourceClass)>,
) -> Result<(), Error> {
    let Some((file, manifest, info)) = read(tree, split)? else { return Ok(()) };
    if info.source != spec.kind {
        let reason = format!("packed of a {} source, but opened as {}", info.source, spec.kind);
        return Err(Error::index(&file, reason));
    }
    if let (Some(lacks), false) = (info.partial, spec.allow_partial) {
        return Err(Error::PartialPack { pack: file, lacks });
    }
    let mut seen = HashSet::new();
    for packed in manifest.classes {
        let mut class = SourceClass { name: packed.name, ..SourceClass::default() };
        for path in packed.images {
            let entry = entry_name(split, &path);
            let stored = tree.get(&entry).ok_or_else(|| {
                Error::index(&file, format!("it names `{entry}`, which is absent; pack again"))
            })?;
            let image = SourceImage::stored(&path, stored);
            if !seen.insert(entry) {
                return Err(Error::index(&file, format!("it names `{path}` twice; pack again")));
            }
            class.images.push(image);
        }
        classes.push((packed.label, class));
    }
    Ok(())
}

/// Returns the classes in the order of their labels, classes of the same label merged.
fn merged(classes: Vec<(usize, SourceClass)>) -> Vec<(usize, SourceClass)> {
    let mut merged = BTreeMap::<usize, SourceClass>::new();
    for (label, class) in classes {
        let whole = merged.entry(label).or_default();
        whole.name = class.name;
        whole.images.extend(class.images);
    }
    merged.into_iter().collect()
}
