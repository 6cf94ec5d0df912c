//! Packs: one memory-mapped file for each split, a zip of stored entries with a manifest that lists
//! the images of each class in order.

mod write;

use serde::{Deserialize, Serialize};

pub use self::write::PackWriter;
use crate::{SourceKind, Split};

/// Version of the manifest. Others are refused.
const VERSION: u32 = 1;
const MANIFEST_PREFIX: &str = "fewshot-pack.";

/// What the manifest of a pack says of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackInfo {
    /// Kind of the source that it was made of, the only kind as which it opens.
    pub source: SourceKind,
    /// The split that it holds.
    pub split: Split,
    /// Images that are missing: absent from the source, or skipped. Such a pack opens only where a
    /// partial dataset is allowed.
    pub partial: Option<String>,
    /// Most pixels of the shorter side, if larger images were made smaller.
    pub shorter_side: Option<u32>,
}

/// The manifest of a pack, in the entry [`manifest_name`].
#[derive(Serialize, Deserialize)]
pub(crate) struct Manifest {
    pub fewshot_pack: u32,
    pub source: String,
    pub split: String,
    pub partial: Option<String>,
    pub shorter_side: Option<u32>,
    pub images: usize,
    /// SHA-256 of the SHA-256s of all images, in order.
    pub sha256: String,
    /// In the order of their labels.
    pub classes: Vec<PackedClass>,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct PackedClass {
    pub name: String,
    /// Its label among the classes of all splits; classes of the same label are one class.
    #[serde(rename = "place")]
    pub label: usize,
    /// The images' paths in the source, by which they are ordered.
    pub images: Vec<String>,
}

impl Manifest {
    /// Reads a manifest; an error says what is wrong with it.
    pub(crate) fn parse(bytes: &[u8]) -> Result<(Self, PackInfo), String> {
        let manifest: Self = serde_json::from_slice(bytes).map_err(|e| e.to_string())?;
        if manifest.fewshot_pack != VERSION {
            let found = manifest.fewshot_pack;
            return Err(format!("a pack of version {found}; this program reads {VERSION}"));
        }
        let listed: usize = manifest.classes.iter().map(|class| class.images.len()).sum();
        if listed != manifest.images {
            return Err(format!("{} images are announced, {listed} listed", manifest.images));
        }
        let info = PackInfo {
            source: manifest.source.parse().map_err(|e: crate::Error| e.to_string())?,
            split: manifest.split.parse().map_err(|e: crate::Error| e.to_string())?,
            partial: manifest.partial.clone(),
            shorter_side: manifest.shorter_side,
        };
        Ok((manifest, info))
    }
}

/// Returns the name of the entry that makes a zip a pack of this split.
pub(crate) fn manifest_name(split: Split) -> String {
    format!("{MANIFEST_PREFIX}{split}.json")
}

pub(crate) fn is_manifest(name: &[u8]) -> bool {
    name.starts_with(MANIFEST_PREFIX.as_bytes())
}

/// Returns the name of an image's entry: its path below the split's name. A path of a list may lead
/// anywhere; an entry cannot.
pub(crate) fn entry_name(split: Split, path: &str) -> String {
    let mut name = split.to_string();
    for part in path.split(['/', '\\']).filter(|part| !part.is_empty() && *part != ".") {
        let bare = part.trim_start_matches('.');
        name.push('/');
        name.extend(std::iter::repeat_n('_', part.len() - bare.len()));
        // Readers skip what macOS adds.
        name.push_str(if part == "__MACOSX" { "_MACOSX" } else { bare });
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_stay_below_their_split() {
        let name = |path| entry_name(Split::BaseVal, path);
        assert_eq!(name("images/001.Crow/a b.jpg"), "base-val/images/001.Crow/a b.jpg");
        assert_eq!(name("../../x/./.a.png"), "base-val/__/__/x/_a.png");
        assert_eq!(name("/data//x.png"), "base-val/data/x.png");
        assert_eq!(name("a\\..\\b.png"), "base-val/a/__/b.png");
    }

    #[test]
    fn manifests_are_checked() {
        let good = r#"{"fewshot_pack":1,"source":"cub","split":"val","partial":null,
            "shorter_side":64,"images":1,"sha256":"",
            "classes":[{"name":"crow","place":3,"images":["crow/a.jpg"]}]}"#;
        let (_, info) = Manifest::parse(good.as_bytes()).unwrap();
        assert_eq!((info.source, info.split), (SourceKind::Cub, Split::Val));
        assert_eq!((info.partial, info.shorter_side), (None, Some(64)));
        for (from, to, said) in [
            ("_pack\":1", "_pack\":2", "version 2"),
            ("images\":1", "images\":2", "2 images are announced, 1 listed"),
            ("\"cub\"", "\"cud\"", "cud"),
            ("\"val\"", "\"vol\"", "vol"),
            ("place\":3", "place\":-3", "-3"),
        ] {
            let error = Manifest::parse(good.replace(from, to).as_bytes()).err().unwrap();
            assert!(error.contains(said), "{error}");
        }
    }
}
