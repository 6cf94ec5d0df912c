use std::collections::{BTreeMap, HashSet};

use super::{Class, Classes, SourceSpec};
use crate::dataset::Image;
use crate::pack::{Manifest, PackInfo, entry_name, manifest_name};
use crate::tree::Tree;
use crate::{Error, Split};

/// The classes of a split of a pack; nothing where the tree is none.
pub(super) fn classes(
    spec: &SourceSpec,
    tree: &Tree,
    split: Split,
) -> Result<Option<Classes>, Error> {
    let packed = |split: &Split| tree.get(&manifest_name(*split)).is_some();
    let held: Vec<_> = Split::VARIANTS.into_iter().filter(packed).collect();
    if held.is_empty() {
        return Ok(None);
    }
    let parts: Vec<_> = split.parts().into_iter().filter(|part| held.contains(part)).collect();
    if parts.is_empty() {
        let held: Vec<_> = held.iter().map(|split| split.as_str()).collect();
        return Err(spec.no_split(split, format!("this pack holds {}", held.join(", "))));
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

/// What the pack of a split says of itself, and its checksum.
pub(super) fn info(tree: &Tree, split: Split) -> Result<Option<(PackInfo, String)>, Error> {
    Ok(read(tree, split)?.map(|(_, manifest, info)| (info, manifest.sha256)))
}

/// The pack's manifest, after the name of its file.
fn read(tree: &Tree, split: Split) -> Result<Option<(String, Manifest, PackInfo)>, Error> {
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

/// Adds the classes of one split with their places among all.
fn add(
    spec: &SourceSpec,
    tree: &Tree,
    split: Split,
    classes: &mut Vec<(usize, Class)>,
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
        let mut class = Class { name: packed.name, ..Class::default() };
        for path in packed.images {
            let entry = entry_name(split, &path);
            let stored = tree.get(&entry).ok_or_else(|| {
                Error::index(&file, format!("it names `{entry}`, which is absent; pack again"))
            })?;
            let image = Image::stored(&path, stored);
            if !seen.insert(entry) {
                return Err(Error::index(&file, format!("it names `{path}` twice; pack again")));
            }
            class.images.push(image);
        }
        classes.push((packed.place, class));
    }
    Ok(())
}

/// In the order of their places, those of one place as one.
fn merged(classes: Vec<(usize, Class)>) -> Vec<(usize, Class)> {
    let mut merged = BTreeMap::<usize, Class>::new();
    for (place, class) in classes {
        let whole = merged.entry(place).or_default();
        whole.name = class.name;
        whole.images.extend(class.images);
    }
    merged.into_iter().collect()
}
