//! Sources of images, and how they divide into splits. One file for each built-in kind lists the
//! classes of a split with the images that are present; the registry of kinds is below.

pub(crate) mod budget;
mod cub;
mod folders;
mod glyphs;
mod image;
mod image_source;
mod json;
mod mini_imagenet;
mod missing;
mod notes;
mod omniglot;
mod pack;
mod spec;
mod survey;

use std::path::Path;

use strum::{VariantArray, VariantNames};

pub use self::image::{ImageData, SourceImage};
pub use self::image_source::{ImageSource, SourceClass};
pub use self::spec::SourceSpec;
pub use self::survey::{ClassSurvey, SplitSurvey, Survey};
use crate::mini_imagenet::is_ilsvrc;
use crate::tree::FileTree;
use crate::{Error, Split};

/// A function that lists the classes of a split, with all images that are present.
type ListClasses = fn(&SourceSpec, &FileTree, Split) -> Result<Vec<SourceClass>, Error>;

/// A function that lists the files below a root.
type OpenRoot = fn(&Path) -> Result<FileTree, Error>;

/// How a kind of source is read.
pub(super) struct Layout {
    pub classes: ListClasses,
    /// Lists the files below the root; nothing for a kind that needs no root.
    pub open_root: Option<OpenRoot>,
    /// Whether an image that no split has, by its path, is known to belong to a larger dataset, so
    /// that a survey does not count it as unlisted.
    pub is_foreign: fn(&str) -> bool,
}

impl Layout {
    const fn of_files(classes: ListClasses) -> Self {
        Self { classes, open_root: Some(FileTree::open), is_foreign: |_| false }
    }
}

/// Declares [`SourceKind`] and the [`Layout`] of each kind, one entry each.
macro_rules! source_kinds {
    ($($(#[$attribute:meta])* $kind:ident => $layout:expr;)*) => {
        /// The built-in kinds of sources.
        ///
        /// Its name, as in `mini-imagenet`, is what [`Display`](std::fmt::Display) and
        /// [`FromStr`](std::str::FromStr) convert.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[derive(strum::Display, strum::EnumString, strum::IntoStaticStr)]
        #[derive(VariantArray, VariantNames)]
        #[strum(serialize_all = "kebab-case", parse_err_ty = Error, parse_err_fn = unknown)]
        pub enum SourceKind {
            $($(#[$attribute])* $kind,)*
        }

        impl SourceKind {
            pub(super) fn layout(self) -> Layout {
                match self {
                    $(Self::$kind => $layout,)*
                }
            }
        }
    };
}

source_kinds! {
    /// Drawn shapes that need no file: 64 base, 16 val and 20 novel classes. `base-val` is
    /// a fifth as many further images of the base classes.
    Glyphs => Layout { open_root: None, ..Layout::of_files(glyphs::classes) };

    /// `CLASS/IMAGE`; an image that lies deeper than the others counts to its class. Below folders
    /// named `base` or `train`, `val`, `novel` or `test`, and `base_val`, in capitals or not, these
    /// are the splits. Without them the classes, sorted by
    /// name and counted from 0, divide by the published CUB rule: even to base, 1 modulo 4
    /// to val, 3 modulo 4 to novel. A single folder around all of it is skipped. A class
    /// folder without an image is refused unless [`SourceSpec::allow_partial`] is set.
    Folders => Layout::of_files(folders::classes);

    /// mini-ImageNet by the published lists, which [`mini_imagenet`](crate::mini_imagenet) has;
    /// or by other ones, if `train.csv`, `val.csv`, `test.csv` (header `filename,label`) are
    /// present, which are base, val and novel. Images may be
    ///
    /// - under their listed names, in class folders or in one flat folder, or
    /// - as in the ILSVRC training set, `n01532829/n01532829_5.JPEG`. There the last five
    ///   digits N of a listed `n0153282900000005.jpg` mean, as published, the N-th image of
    ///   that class from 1 in ascending order of the number after the underscore; the
    ///   class's folder must be complete for this to hold. Archives `n01532829.tar` are
    ///   class folders, too, and so are those within `ILSVRC2012_img_train.tar`.
    ///
    /// Without lists also folders `train` or `base`, `val`, `test` or `novel` of class
    /// folders, or class folders by WordNet ID, of up to 600 images under any names.
    #[strum(serialize = "mini-imagenet")]
    MiniImageNet => Layout {
        open_root: Some(|root| FileTree::open_nested(root, |_| true)),
        is_foreign: is_ilsvrc,
        ..Layout::of_files(mini_imagenet::classes)
    };

    /// Caltech-UCSD Birds-200-2011 as published: `images.txt`, `classes.txt`,
    /// `image_class_labels.txt` and `images/CLASS/FILE`, at the root or in a folder of it.
    /// Class number - 1 divides by the CUB rule (see [`Self::Folders`]).
    Cub => Layout::of_files(cub::classes);

    /// `ALPHABET/characterNN/*.png`, as in the published archives, which overlap: an image
    /// that is in several of them counts once. A class is a character;
    /// sorted by name, characters divide by the CUB rule (see [`Self::Folders`]).
    Omniglot => Layout::of_files(omniglot::classes);

    /// Published lists `base.json`, `val.json`, `novel.json` and `base_val.json`, each with
    /// `label_names`, `image_names` and `image_labels`; or one such file, which is all
    /// there is. Image paths are absolute or relative to the list's folder. Classes are
    /// ordered by the number that the list gives them.
    Json => Layout { open_root: Some(json::open_root), ..Layout::of_files(json::classes) };
}

impl SourceKind {
    /// Every kind.
    pub const VARIANTS: &'static [Self] = <Self as VariantArray>::VARIANTS;
    /// The name of each kind, in the order of [`Self::VARIANTS`].
    pub const NAMES: &'static [&'static str] = <Self as VariantNames>::VARIANTS;

    /// Returns the kind's name.
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// Whether there have to be files at [`SourceSpec::root`].
    pub fn needs_root(self) -> bool {
        self.layout().open_root.is_some()
    }
}

fn unknown(name: &str) -> Error {
    Error::parameter("source kind", name, format!("one of {}", SourceKind::NAMES.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::SourceKind;

    #[test]
    fn names_come_back() {
        for kind in SourceKind::VARIANTS {
            assert_eq!(kind.to_string().parse::<SourceKind>().unwrap(), *kind);
        }
        let error = "imagenet".parse::<SourceKind>().unwrap_err().to_string();
        assert!(error.contains("glyphs, folders, mini-imagenet, cub, omniglot, json"), "{error}");
    }
}
