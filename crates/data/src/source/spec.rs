//! The description of a built-in source, and how it is opened.

use std::path::PathBuf;

use super::{ImageSource, SourceClass, SourceKind, pack};
use crate::glyphs::GlyphOptions;
use crate::tree::FileTree;
use crate::{Dataset, Error, Split};

/// A source of a built-in kind: what it is, where it is, and which of its images to take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceSpec {
    /// How to read the files at the root.
    pub kind: SourceKind,
    /// A folder or an archive, as [`FileTree`] takes it; for [`SourceKind::Json`] also one `.json`
    /// file. A kind that [needs no root](SourceKind::needs_root) ignores it. Whatever the kind, it
    /// may also be a pack made of such a source: the folder of its files, or one of them (see
    /// [`PackWriter`](crate::PackWriter)).
    pub root: PathBuf,
    /// Whether images may be absent: those that the source's lists name, all of a class, links that
    /// lead nowhere.
    pub allow_partial: bool,
    /// Number of images to take of each class: the first in the order of their paths.
    pub images_per_class: Option<usize>,
    /// Number of images of each base class to keep out of [`Split::Base`]: the last in the order of
    /// their paths, among those that [`Self::images_per_class`] takes. They are then
    /// [`Split::BaseVal`], in place of the source's own.
    pub hold_out: usize,
    /// Options of [`SourceKind::Glyphs`].
    pub glyphs: GlyphOptions,
}

impl SourceSpec {
    /// Describes a source of which every image is taken and none may be absent.
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
    /// [`Error::Incomplete`], [`Error::EmptyClass`], [`Error::Unreadable`] and [`Error::PartialPack`] where images are absent and
    /// [`Self::allow_partial`] is off, [`Error::EmptySplit`] where all are; otherwise whatever
    /// is wrong with the files.
    pub fn open(&self, split: Split) -> Result<Dataset, Error> {
        let tree = self.tree()?;
        let classes = self.select(split, self.all_classes(&tree, self.listed(split))?)?;
        if classes.is_empty() {
            let found = self.found_instead(&tree, split);
            return Err(Error::EmptySplit { origin: self.origin(), split, found });
        }
        let notes = self.notes(&tree, split, &classes);
        Ok(Dataset::new(format!("{}/{split}", self.kind), classes, notes))
    }

    /// The split whose images make up this one.
    fn listed(&self, split: Split) -> Split {
        if self.hold_out > 0 && split == Split::BaseVal { Split::Base } else { split }
    }

    /// Whether the split exists and has an image. Takes as long as opening it.
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

    /// Lists the files below the root, if the kind has any.
    pub(super) fn tree(&self) -> Result<FileTree, Error> {
        match self.kind.layout().open_root {
            Some(open) => open(&self.root),
            None => Ok(FileTree::default()),
        }
    }

    /// Lists all classes of a split of the source or of its pack, with all their images.
    pub(super) fn all_classes(
        &self,
        tree: &FileTree,
        split: Split,
    ) -> Result<Vec<SourceClass>, Error> {
        if let ([first, ..], false) = (tree.unreadable(), self.allow_partial) {
            return Err(Error::Unreadable { path: first.clone(), count: tree.unreadable().len() });
        }
        match pack::classes(self, tree, split)? {
            Some(classes) => Ok(classes),
            None => (self.kind.layout().classes)(self, tree, split),
        }
    }

    /// Sorts and selects the images of a split.
    pub(super) fn select(
        &self,
        split: Split,
        mut classes: Vec<SourceClass>,
    ) -> Result<Vec<SourceClass>, Error> {
        if self.images_per_class == Some(0) {
            return Err(Error::parameter("images per class", 0, "at least 1"));
        }
        classes.retain(|class| !class.images.is_empty());
        for class in &mut classes {
            class.images.sort_by(|a, b| a.path().cmp(b.path()));
            class.images.truncate(self.images_per_class.unwrap_or(usize::MAX));
        }
        if self.hold_out > 0 && matches!(split, Split::Base | Split::BaseVal) {
            self.divide_base(split, &mut classes)?;
        }
        Ok(classes)
    }

    /// Keeps the images of each base class to train on, or those held out.
    fn divide_base(&self, split: Split, classes: &mut [SourceClass]) -> Result<(), Error> {
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

    /// Returns those of all classes, in order, that the published CUB rule gives to the split.
    pub(super) fn by_cub_rule(
        &self,
        classes: Vec<SourceClass>,
        split: Split,
    ) -> Result<Vec<SourceClass>, Error> {
        if split == Split::BaseVal {
            return Err(self.no_split(split, "hold out images of the base classes yourself"));
        }
        let numbered = classes.into_iter().enumerate();
        let held = numbered.filter(|(index, _)| split.holds_class(*index));
        Ok(held.map(|(_, class)| class).collect())
    }

    pub(super) fn no_split(&self, split: Split, remedy: impl Into<String>) -> Error {
        Error::NoSplit { origin: self.origin(), split, remedy: remedy.into() }
    }
}

impl ImageSource for SourceSpec {
    fn name(&self) -> String {
        self.kind.to_string()
    }

    fn origin(&self) -> String {
        if self.kind.needs_root() {
            format!("{} ({} source)", self.root.display(), self.kind)
        } else {
            format!("{} source", self.kind)
        }
    }

    fn classes(&self, split: Split) -> Result<Vec<SourceClass>, Error> {
        self.select(split, self.all_classes(&self.tree()?, self.listed(split))?)
    }
}
