use std::fmt;
use std::str::FromStr;

use crate::Error;

/// The ways in which a source may be laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SourceKind {
    /// Drawn shapes that need no file: 64 base, 16 val and 20 novel classes. `base-val` is
    /// a fifth as many further images of the base classes.
    Glyphs,
    /// `CLASS/*.jpg|jpeg|png`. Below folders named `base` or `train`, `val`, `novel` or
    /// `test`, and `base_val`, these are the splits. Without them the classes, sorted by
    /// name and counted from 0, divide by the published CUB rule: even to base, 1 modulo 4
    /// to val, 3 modulo 4 to novel. A single folder around all of it is passed over.
    Folders,
    /// mini-ImageNet by the published lists, which [`mini_imagenet`](crate::mini_imagenet) has;
    /// or by other ones, if `train.csv`, `val.csv`, `test.csv` (header `filename,label`) lie
    /// there, which are base, val and novel. Images may lie
    ///
    /// - under their listed names, in class folders or in one flat folder, or
    /// - as in the ILSVRC training set, `n01532829/n01532829_5.JPEG`. There the last five
    ///   digits N of a listed `n0153282900000005.jpg` mean, as published, the N-th image of
    ///   that class from 1 in ascending order of the number after the underscore; the
    ///   class's folder must be complete for this to hold. Archives `n01532829.tar` are
    ///   class folders, too, and so are those within `ILSVRC2012_img_train.tar`.
    ///
    /// Without lists there also folders `train` or `base`, `val`, `test` or `novel` of class
    /// folders, or class folders by WordNet ID, of up to 600 images under any names.
    MiniImageNet,
    /// Caltech-UCSD Birds-200-2011 as published: `images.txt`, `classes.txt`,
    /// `image_class_labels.txt` and `images/CLASS/FILE`, at the root or in a folder of it.
    /// Class number - 1 divides by the CUB rule (see [`Self::Folders`]).
    Cub,
    /// `ALPHABET/characterNN/*.png`, as in the published archives, which overlap: an image
    /// that is in several of them counts once. A class is a character;
    /// sorted by name, characters divide by the CUB rule (see [`Self::Folders`]).
    Omniglot,
    /// Published lists `base.json`, `val.json`, `novel.json` and `base_val.json`, each with
    /// `label_names`, `image_names` and `image_labels`; or one such file, which is all
    /// there is. Image paths are absolute or relative to the list's folder. Classes are
    /// ordered by the number that the list gives them.
    Json,
}

impl SourceKind {
    /// Every kind.
    pub const VARIANTS: [Self; 6] =
        [Self::Glyphs, Self::Folders, Self::MiniImageNet, Self::Cub, Self::Omniglot, Self::Json];

    /// Whether there have to be files at [`SourceSpec::root`](crate::SourceSpec::root).
    pub fn needs_root(self) -> bool {
        self != Self::Glyphs
    }

    /// The kind's name, as [`FromStr`] takes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Glyphs => "glyphs",
            Self::Folders => "folders",
            Self::MiniImageNet => "mini-imagenet",
            Self::Cub => "cub",
            Self::Omniglot => "omniglot",
            Self::Json => "json",
        }
    }
}

impl fmt::Display for SourceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for SourceKind {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        const EXPECTED: &str = "glyphs, folders, mini-imagenet, cub, omniglot or json";
        Self::VARIANTS
            .into_iter()
            .find(|kind| kind.as_str() == name)
            .ok_or_else(|| Error::parameter("source kind", name, EXPECTED))
    }
}

#[cfg(test)]
mod tests {
    use super::SourceKind;

    #[test]
    fn names_come_back() {
        for kind in SourceKind::VARIANTS {
            assert_eq!(kind.to_string().parse::<SourceKind>().unwrap(), kind);
        }
        assert!("imagenet".parse::<SourceKind>().is_err());
    }
}
