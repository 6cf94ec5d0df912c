//! What a source has, and what it lacks.

use std::collections::{HashMap, HashSet};

use super::{SourceClass, SourceImage, SourceSpec, pack};
use crate::pack::entry_name;
use crate::tree::FileTree;
use crate::{Dataset, Error, PackInfo, Split};

/// Everything that a source has, and what its lists name that is absent.
#[derive(Debug)]
pub struct Survey {
    /// Base, val and novel, and base-val where the source has it.
    pub splits: Vec<SplitSurvey>,
    /// Unlisted files: those named as images that are in no split. For mini-ImageNet, other images
    /// of the ILSVRC training set are not counted.
    pub unlisted: Dataset,
}

/// What a source has of one split.
#[derive(Debug)]
pub struct SplitSurvey {
    /// The split.
    pub split: Split,
    /// Its images that are present, if any.
    pub images: Dataset,
    /// Its classes, including those without an image, in the order of the source.
    pub classes: Vec<ClassSurvey>,
    /// What is absent, if [`SourceSpec::open`] would refuse it for that.
    pub partial: Option<String>,
    /// What the manifest of its pack says, if it is read from one.
    pub pack: Option<PackInfo>,
    /// The pack's checksum, in hexadecimal: SHA-256 of the SHA-256s of all images, in order.
    pub sha256: Option<String>,
}

/// What a source has of one class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassSurvey {
    /// The class's name.
    pub name: String,
    /// Number of its images that are present.
    pub present: usize,
    /// Its label when all splits are opened together, if they can be and it has an image.
    pub label: Option<usize>,
    /// Images that the source's lists name but that are absent.
    pub absent: Vec<String>,
}

impl SourceSpec {
    /// Lists everything that is present and everything that is absent, whatever
    /// [`Self::allow_partial`], [`Self::images_per_class`] and [`Self::hold_out`] are. Reads no image.
    ///
    /// # Errors
    /// As of [`Self::open`], except that what is missing is no error.
    pub fn survey(&self) -> Result<Survey, Error> {
        let all = Self { allow_partial: true, images_per_class: None, hold_out: 0, ..self.clone() };
        let tree = &all.tree()?;
        let whole = Self { allow_partial: false, ..all.clone() };
        let labels = all.labels(tree);
        let (mut splits, mut used) = (Vec::new(), HashSet::new());
        for split in [Split::Base, Split::BaseVal, Split::Val, Split::Novel] {
            let classes = match all.all_classes(tree, split) {
                Ok(classes) => classes,
                Err(Error::NoSplit { .. }) if split == Split::BaseVal => continue,
                Err(Error::NoSplit { .. }) => Vec::new(),
                Err(e) => return Err(e),
            };
            let pack = pack::info(tree, split)?;
            let images = classes.iter().flat_map(|class| &class.images);
            used.extend(images.map(|image| match image.file() {
                Some(file) if pack.is_some() => file.full_name(&entry_name(split, image.path())),
                _ => image.full_name(),
            }));
            let (pack, sha256) = pack.unzip();
            let surveyed = |class: &SourceClass| ClassSurvey {
                name: class.name.clone(),
                present: class.images.len(),
                label: class.images.first().and_then(|image| labels.get(image.path())).copied(),
                absent: class.absent.clone(),
            };
            splits.push(SplitSurvey {
                split,
                partial: whole.all_classes(tree, split).err().and_then(absence),
                classes: classes.iter().map(surveyed).collect(),
                images: Dataset::new(
                    format!("{}/{split}", self.kind),
                    all.select(split, classes)?,
                    Vec::new(),
                ),
                pack,
                sha256,
            });
        }
        let is_foreign = self.kind.layout().is_foreign;
        let mut unlisted = SourceClass::default();
        for (path, file) in tree.images() {
            if !is_foreign(path) && !used.contains(&file.full_name(path)) {
                unlisted.images.push(SourceImage::stored(path, file));
            }
        }
        let unlisted = Dataset::new(format!("{}/unlisted", self.kind), vec![unlisted], Vec::new());
        Ok(Survey { splits, unlisted })
    }

    /// Returns the label of each image, by its path, when all splits are opened together.
    fn labels(&self, tree: &FileTree) -> HashMap<String, usize> {
        let mut classes = self.all_classes(tree, Split::All).unwrap_or_default();
        classes.retain(|class| !class.images.is_empty());
        let labelled = classes.into_iter().enumerate().flat_map(|(label, class)| {
            class.images.into_iter().map(move |image| (image.path().to_owned(), label))
        });
        labelled.collect()
    }
}

/// Says what is absent, if the error is that something is.
fn absence(error: Error) -> Option<String> {
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
        Error::EmptyClass { folder, .. } => Some(format!("{folder} has no image")),
        Error::Unreadable { path, count } => Some(format!(
            "{count} links lead nowhere or are no files, the first is {}",
            path.display()
        )),
        _ => None,
    }
}
