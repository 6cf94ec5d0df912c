//! The images of mini-ImageNet, whatever form they are in.

use std::path::Path;

use super::images::{Images, is_wordnet_id};
use super::{Class, classes, split_of};
use crate::Error;
use crate::tree::{FileTree, StoredFile};

/// The images found of a class.
pub struct FoundClass {
    /// The class.
    pub class: Class,
    /// Its images, ordered by their names.
    pub images: Vec<FoundImage>,
}

/// An image that was found.
pub struct FoundImage {
    /// The file name that it has in the published lists, or its own where the lists are not
    /// followed. A name without any folder.
    pub name: String,
    path: String,
    stored: StoredFile,
}

impl FoundImage {
    /// Returns the size of the file in bytes.
    pub fn size(&self) -> u64 {
        self.stored.size()
    }

    /// Returns where it is, for messages: its path, or `ARCHIVE!path`.
    pub fn origin(&self) -> String {
        self.stored.full_name(&self.path)
    }

    /// Reads the file, still encoded.
    ///
    /// # Errors
    /// Whatever is wrong with the file or its archive; [`Error::Limit`] beyond 256 MiB.
    pub fn read(&self) -> Result<Vec<u8>, Error> {
        self.stored.read()
    }
}

/// Finds the images of each of the 100 classes, in their order, in any of these forms:
///
/// - under their listed names, in folders or flat;
/// - the ILSVRC training set as folders, as archives of one class each, or as the one archive
///   of those, by the rank of the numbers in their names;
/// - folders named as the class, of up to 600 images with other names; one folder in each of `train`
///   and `val`, if all classes are divided like that.
///
/// Each root is a folder or an archive, as [`FileTree`] takes it; other classes are skipped. Lists
/// are not needed and not read. No image is read.
///
/// # Errors
/// What is wrong with a root; [`Error::Index`] where a folder of ILSVRC is incomplete, so that
/// its images cannot be numbered, where a folder has too many images or is in another split than
/// its class; [`Error::Duplicate`] where a class has two folders.
pub fn find<P: AsRef<Path>>(roots: &[P]) -> Result<Vec<FoundClass>, Error> {
    let open = |root: &P| FileTree::open_nested(root.as_ref(), may_hold_a_class);
    let trees = roots.iter().map(open).collect::<Result<Vec<_>, _>>()?;
    let images = Images::of(&trees);
    let is_ilsvrc = images.are_ilsvrc();
    let found = classes().map(|class| {
        // All training classes of ILSVRC are in a folder `train`.
        if let Some(folder) = images.misplaced(&class).filter(|_| !is_ilsvrc) {
            let reason = format!("class {} is in `{}`; move it", class.wnid, class.folder());
            return Err(Error::index(folder, reason));
        }
        let image = |(name, (path, stored)): (String, (&str, &StoredFile))| FoundImage {
            name,
            path: path.to_owned(),
            stored: stored.clone(),
        };
        let images = images.of_class(&class)?.into_iter().map(image).collect();
        Ok(FoundClass { class, images })
    });
    found.collect()
}

/// Whether a folder or archive of this name is not of one of the other 900 classes.
fn may_hold_a_class(name: &str) -> bool {
    !is_wordnet_id(name) || split_of(name).is_some()
}
