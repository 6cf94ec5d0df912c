//! What lies where, and how it divides into splits. One file a kind of source; each gives
//! the classes of a split in order, with the images that are there.

mod cub;
mod folders;
mod glyphs;
mod json;
mod kind;
mod mini_imagenet;
mod missing;
mod omniglot;

use std::path::PathBuf;

pub use self::kind::SourceKind;
use crate::dataset::Image;
use crate::glyphs::GlyphOptions;
use crate::tree::Tree;
use crate::{Dataset, Error, Split};

/// Names and images of classes, in the order of their labels.
type Classes = Vec<(String, Vec<Image>)>;

/// Where a dataset comes from.
#[derive(Clone, Debug)]
pub struct SourceSpec {
    /// How to read what lies at the root.
    pub kind: SourceKind,
    /// A folder, one archive (`.tar`, `.tar.gz`, `.tgz`, `.zip`), or for
    /// [`SourceKind::Json`] also one `.json` file. Archives that lie directly in a root
    /// folder are read as if they were unpacked there. [`SourceKind::Glyphs`] needs none.
    ///
    /// Archives are read in place. Only a compressed tar is inflated first, at each
    /// [`Self::open`], to a file without a name in the system's temporary folder, and to no
    /// more than a hundred times its size. Links inside an archive are not followed. A
    /// source may have 10 million files, each of up to 256 MiB.
    pub root: PathBuf,
    /// Go on without the images that the source's lists name but that are absent.
    pub allow_partial: bool,
    /// Keep only this many images of each class, the first in the order of their paths.
    pub images_per_class: Option<usize>,
    /// How [`SourceKind::Glyphs`] draws.
    pub glyphs: GlyphOptions,
}

impl SourceSpec {
    /// A source of which everything is wanted and nothing may be missing.
    pub fn new(kind: SourceKind, root: impl Into<PathBuf>) -> Self {
        Self {
            kind,
            root: root.into(),
            allow_partial: false,
            images_per_class: None,
            glyphs: GlyphOptions::default(),
        }
    }

    /// Opens one split: reads the source's index, but no image.
    ///
    /// Classes and images are ordered by their names (for CUB and JSON lists, classes by
    /// their numbers), whatever order the disk or the archive has them in.
    ///
    /// # Errors
    /// [`Error::NoSplit`] where the source has no such split, [`Error::MissingImages`] and
    /// [`Error::Incomplete`] where images are absent and [`Self::allow_partial`] is off,
    /// [`Error::EmptySplit`] where all are; otherwise whatever is wrong with the files.
    pub fn open(&self, split: Split) -> Result<Dataset, Error> {
        if self.images_per_class == Some(0) {
            return Err(Error::parameter("images per class", 0, "at least 1"));
        }
        let mut classes = match self.kind {
            SourceKind::Glyphs => glyphs::classes(self, split)?,
            SourceKind::Json => json::classes(self, split)?,
            SourceKind::Folders => folders::classes(self, &self.tree()?, split)?,
            SourceKind::MiniImageNet => mini_imagenet::classes(self, split)?,
            SourceKind::Cub => cub::classes(self, &self.tree()?, split)?,
            SourceKind::Omniglot => omniglot::classes(self, &self.tree()?, split)?,
        };
        classes.retain(|(_, images)| !images.is_empty());
        if classes.is_empty() {
            return Err(Error::EmptySplit { root: self.root.clone(), kind: self.kind, split });
        }
        for (_, images) in &mut classes {
            images.sort_by(|a, b| a.path.cmp(&b.path));
            images.truncate(self.images_per_class.unwrap_or(usize::MAX));
        }
        Ok(Dataset::new(format!("{}/{split}", self.kind), classes))
    }

    /// Whether the split exists and has an image. Costs as much as opening it.
    ///
    /// # Errors
    /// Those of [`Self::open`], except that it finds no split or no image.
    pub fn has_split(&self, split: Split) -> Result<bool, Error> {
        match self.open(split) {
            Ok(_) => Ok(true),
            Err(Error::NoSplit { .. } | Error::EmptySplit { .. }) => Ok(false),
            Err(e) => Err(e),
        }
    }

    fn tree(&self) -> Result<Tree, Error> {
        Tree::open(&self.root)
    }

    fn no_split(&self, split: Split, remedy: impl Into<String>) -> Error {
        Error::NoSplit { root: self.root.clone(), kind: self.kind, split, remedy: remedy.into() }
    }
}

/// Keeps of all classes, in order, those that the published CUB rule gives to the split.
fn by_cub_rule(spec: &SourceSpec, classes: Classes, split: Split) -> Result<Classes, Error> {
    if split == Split::BaseVal {
        return Err(spec.no_split(split, "hold out images of the base classes yourself"));
    }
    let numbered = classes.into_iter().enumerate();
    Ok(numbered.filter(|(index, _)| split.holds_class(*index)).map(|(_, class)| class).collect())
}
