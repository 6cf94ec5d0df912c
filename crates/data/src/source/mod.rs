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
mod pack;
mod survey;

use std::path::PathBuf;

pub use self::kind::SourceKind;
pub use self::survey::{ClassSurvey, SplitSurvey, Survey};
use crate::dataset::Image;
use crate::glyphs::GlyphOptions;
use crate::tree::Tree;
use crate::{Dataset, Error, Split};

/// Classes in the order of their labels.
type Classes = Vec<Class>;

#[derive(Default)]
struct Class {
    name: String,
    images: Vec<Image>,
    /// What the source's lists name for it but does not lie there.
    absent: Vec<String>,
}

/// Where a dataset comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceSpec {
    /// How to read what lies at the root.
    pub kind: SourceKind,
    /// A folder, one archive (`.tar`, `.tar.gz`, `.tgz`, `.zip`), or for
    /// [`SourceKind::Json`] also one `.json` file. Archives that lie directly in a root
    /// folder are read as if they were unpacked there. [`SourceKind::Glyphs`] needs none.
    /// Whatever the kind, it may also be a pack that was made of such a source: the folder
    /// of its files, or one of them (see [`crate::PackWriter`]).
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
    /// Keep this many images of each base class out of [`Split::Base`]: the last in the order of
    /// their paths, among those that [`Self::images_per_class`] keeps. They are then
    /// [`Split::BaseVal`], in place of the source's own. 0 keeps none out.
    pub hold_out: usize,
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
            hold_out: 0,
            glyphs: GlyphOptions::default(),
        }
    }

    /// Opens one split: reads the source's index, but no image.
    ///
    /// Classes and images are ordered by their names (for CUB and JSON lists, classes by
    /// their numbers), whatever order the disk or the archive has them in.
    ///
    /// # Errors
    /// [`Error::NoSplit`] where the source has no such split, [`Error::MissingImages`],
    /// [`Error::Incomplete`] and [`Error::PartialPack`] where images are absent and
    /// [`Self::allow_partial`] is off, [`Error::EmptySplit`] where all are; otherwise whatever
    /// is wrong with the files.
    pub fn open(&self, split: Split) -> Result<Dataset, Error> {
        let listed = if self.hold_out > 0 && split == Split::BaseVal { Split::Base } else { split };
        let classes = self.classes(self.tree()?.as_ref(), listed)?;
        let dataset = self.dataset(split, classes)?;
        if dataset.is_empty() {
            return Err(Error::EmptySplit { root: self.root.clone(), kind: self.kind, split });
        }
        Ok(dataset)
    }

    /// The classes of a split, of a tree that [`Self::tree`] gave.
    fn classes(&self, tree: Option<&Tree>, split: Split) -> Result<Classes, Error> {
        if let Some(tree) = tree
            && let Some(classes) = pack::classes(self, tree, split)?
        {
            return Ok(classes);
        }
        match (self.kind, tree) {
            (SourceKind::Json, tree) => json::classes(self, tree, split),
            (SourceKind::Folders, Some(tree)) => folders::classes(self, tree, split),
            (SourceKind::MiniImageNet, Some(tree)) => mini_imagenet::classes(self, tree, split),
            (SourceKind::Cub, Some(tree)) => cub::classes(self, tree, split),
            (SourceKind::Omniglot, Some(tree)) => omniglot::classes(self, tree, split),
            (_, None) | (SourceKind::Glyphs, _) => glyphs::classes(self, split),
        }
    }

    /// The images of classes that have any.
    fn dataset(&self, split: Split, mut classes: Classes) -> Result<Dataset, Error> {
        if self.images_per_class == Some(0) {
            return Err(Error::parameter("images per class", 0, "at least 1"));
        }
        classes.retain(|class| !class.images.is_empty());
        for class in &mut classes {
            class.images.sort_by(|a, b| a.path.cmp(&b.path));
            class.images.truncate(self.images_per_class.unwrap_or(usize::MAX));
        }
        if self.hold_out > 0 && matches!(split, Split::Base | Split::BaseVal) {
            self.divide_base(split, &mut classes)?;
        }
        let classes = classes.into_iter().map(|class| (class.name, class.images)).collect();
        Ok(Dataset::new(format!("{}/{split}", self.kind), classes))
    }

    /// Keeps the images of each base class that are trained on, or those that are held out.
    fn divide_base(&self, split: Split, classes: &mut Classes) -> Result<(), Error> {
        for class in classes {
            let Some(trained) = class.images.len().checked_sub(self.hold_out).filter(|&n| n > 0)
            else {
                return Err(Error::HoldOut {
                    root: self.root.clone(),
                    class: class.name.clone(),
                    images: class.images.len(),
                    hold_out: self.hold_out,
                });
            };
            let held_out = class.images.split_off(trained);
            if split == Split::BaseVal {
                class.images = held_out;
            }
        }
        Ok(())
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

    /// Nothing for what is drawn, and for a list whose images lie anywhere.
    fn tree(&self) -> Result<Option<Tree>, Error> {
        match self.kind {
            SourceKind::Glyphs => Ok(None),
            SourceKind::Json if json::is_json_file(&self.root) => Ok(None),
            SourceKind::MiniImageNet => Tree::open_where(&self.root, |_| true).map(Some),
            _ => Tree::open(&self.root).map(Some),
        }
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
