use std::collections::{HashMap, HashSet};

use super::{Class, SourceSpec, pack};
use crate::dataset::{Image, Pixels};
use crate::mini_imagenet::is_ilsvrc;
use crate::pack::entry_name;
use crate::tree::Tree;
use crate::{Dataset, Error, PackInfo, SourceKind, Split};

/// What a source holds beside what its lists name.
#[derive(Debug)]
pub struct Survey {
    /// Base, val and novel, and base-val where the source has it.
    pub splits: Vec<SplitSurvey>,
    /// Files named as images that are in no split. For mini-ImageNet, what else the ILSVRC
    /// training set has is not counted.
    pub strays: Dataset,
}

/// What a source holds of one split.
#[derive(Debug)]
pub struct SplitSurvey {
    /// The split.
    pub split: Split,
    /// Its images that are there, if any.
    pub images: Dataset,
    /// Its classes, those without an image too, in the order of the source.
    pub classes: Vec<ClassSurvey>,
    /// What [`SourceSpec::open`] calls partial in it.
    pub partial: Option<String>,
    /// What its pack says of itself, where it is read from one.
    pub pack: Option<PackInfo>,
    /// The pack's checksum, in hexadecimal: SHA-256 of the SHA-256s of all images, in order.
    pub sha256: Option<String>,
}

/// What a source holds of one class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassSurvey {
    /// The class's name.
    pub name: String,
    /// How many of its images are there.
    pub present: usize,
    /// Its label where all splits are opened together, if they can be and it has an image.
    pub place: Option<usize>,
    /// The images that the source's lists name but that are not there.
    pub absent: Vec<String>,
}

impl SourceSpec {
    /// Lists everything that is there and everything that is not, whatever
    /// [`Self::allow_partial`], [`Self::images_per_class`] and [`Self::hold_out`] say. Reads no
    /// image.
    ///
    /// # Errors
    /// As of [`Self::open`], except that what is missing is no error.
    pub fn survey(&self) -> Result<Survey, Error> {
        let all = Self { allow_partial: true, images_per_class: None, hold_out: 0, ..self.clone() };
        let tree = all.tree()?;
        let tree = tree.as_ref();
        let whole = Self { allow_partial: false, ..all.clone() };
        let places = all.places(tree);
        let (mut splits, mut used) = (Vec::new(), HashSet::new());
        for split in [Split::Base, Split::BaseVal, Split::Val, Split::Novel] {
            let classes = match all.classes(tree, split) {
                Ok(classes) => classes,
                Err(Error::NoSplit { .. }) if split == Split::BaseVal => continue,
                Err(Error::NoSplit { .. }) => Vec::new(),
                Err(e) => return Err(e),
            };
            let pack = tree.map_or(Ok(None), |tree| pack::info(tree, split))?;
            let images = classes.iter().flat_map(|class| &class.images);
            used.extend(images.map(|image| match &image.pixels {
                Pixels::Stored(stored) if pack.is_some() => {
                    stored.full_name(&entry_name(split, &image.path))
                }
                _ => image.full_name(),
            }));
            let (pack, sha256) = pack.unzip();
            let surveyed = |class: &Class| ClassSurvey {
                name: class.name.clone(),
                present: class.images.len(),
                place: class.images.first().and_then(|image| places.get(&image.path)).copied(),
                absent: class.absent.clone(),
            };
            splits.push(SplitSurvey {
                split,
                partial: whole.classes(tree, split).err().and_then(lack),
                classes: classes.iter().map(surveyed).collect(),
                images: all.dataset(split, classes)?,
                pack,
                sha256,
            });
        }
        let mut strays = Class::default();
        for (path, stored) in tree.into_iter().flat_map(|tree| tree.images()) {
            let is_known = self.kind == SourceKind::MiniImageNet && is_ilsvrc(path);
            if !is_known && !used.contains(&stored.full_name(path)) {
                strays.images.push(Image::stored(path, stored));
            }
        }
        let strays =
            Dataset::new(format!("{}/strays", self.kind), vec![(String::new(), strays.images)]);
        Ok(Survey { splits, strays })
    }

    /// The label of each image, by its path, when all splits are opened together.
    fn places(&self, tree: Option<&Tree>) -> HashMap<String, usize> {
        let mut classes = self.classes(tree, Split::All).unwrap_or_default();
        classes.retain(|class| !class.images.is_empty());
        let labelled = classes.into_iter().enumerate().flat_map(|(label, class)| {
            class.images.into_iter().map(move |image| (image.path, label))
        });
        labelled.collect()
    }
}

/// What is partial, in short, where that is what is wrong.
fn lack(error: Error) -> Option<String> {
    match error {
        Error::MissingImages { missing, listed, .. } => {
            Some(format!("{missing} of its {listed} images are absent"))
        }
        Error::Incomplete { missing_classes, classes, missing_images, images, .. } => {
            Some(format!(
                "{missing_classes} of {classes} classes and {missing_images} of {images} images \
                 are missing"
            ))
        }
        Error::PartialPack { lacks, .. } => Some(lacks),
        _ => None,
    }
}
