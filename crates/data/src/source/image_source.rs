//! What every source of images does.

use super::SourceImage;
use crate::{Error, Split};

/// A source of images: a [`SourceSpec`](crate::SourceSpec), or one of your own, say of an object store, a database or
/// files of your own layout. [`Dataset::from_source`](crate::Dataset::from_source) opens it.
///
/// The example `own_source` of this crate implements one, and says how it becomes a built-in kind.
pub trait ImageSource {
    /// Returns the name that [`Dataset::name`](crate::Dataset::name) begins with.
    fn name(&self) -> String;

    /// Returns what messages call the source, if not its name: say, where it is.
    fn origin(&self) -> String {
        self.name()
    }

    /// Lists the classes of a split in the order of their labels, each with its images in order.
    /// No image needs to be read for that.
    ///
    /// # Errors
    /// [`Error::NoSplit`] where the source has no such split; [`Error::Source`] for errors of other
    /// libraries.
    fn classes(&self, split: Split) -> Result<Vec<SourceClass>, Error>;
}

/// A class of a source, with its images.
#[derive(Clone, Debug, Default)]
pub struct SourceClass {
    /// The class's name.
    pub name: String,
    /// The images that are present.
    pub images: Vec<SourceImage>,
    /// Images that the source's lists name for it but that are absent.
    pub absent: Vec<String>,
}
