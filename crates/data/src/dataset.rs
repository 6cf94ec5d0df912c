//! The images of one split, with their labels.

use std::fmt;
use std::sync::Arc;

use image::RgbImage;

use crate::source::budget::Share;
use crate::source::{ImageData, ImageSource, SourceClass, SourceImage};
use crate::{Error, Split};

/// The images of one split with their labels. Images are read and decoded when they are asked for,
/// from any thread. A clone shares everything.
#[derive(Clone)]
pub struct Dataset(Arc<Inner>);

struct Inner {
    name: String,
    images: Vec<SourceImage>,
    labels: Vec<u32>,
    class_names: Vec<String>,
    notes: Vec<String>,
}

impl Dataset {
    /// Opens one split of a source of one's own: lists its images, but reads none. Classes without
    /// an image are left out; the others are labelled from 0 in the order given.
    ///
    /// # Errors
    /// Those of the source; [`Error::EmptySplit`] where it lists no image.
    pub fn from_source(source: &impl ImageSource, split: Split) -> Result<Self, Error> {
        let name = format!("{}/{split}", source.name());
        let dataset = Self::new(name, source.classes(split)?, Vec::new());
        if dataset.is_empty() {
            let found = String::new();
            return Err(Error::EmptySplit { origin: source.origin(), split, found });
        }
        Ok(dataset)
    }

    /// Makes a dataset of images in memory, pixels or whole files, each with its
    /// label: an index into `class_names`. Images stay in the order given.
    ///
    /// ```
    /// use fewshot_data::Dataset;
    /// use image::{Rgb, RgbImage};
    ///
    /// let images = [(40, 0), (50, 0), (200, 1)];
    /// let images = images.map(|(grey, label)| (RgbImage::from_pixel(9, 9, Rgb([grey; 3])), label));
    /// let dataset = Dataset::from_images("greys", ["dark", "light"], images)?;
    /// assert_eq!((dataset.len(), dataset.labels()), (3, &[0, 0, 1][..]));
    /// assert_eq!(dataset.load(2)?.get_pixel(0, 0).0, [200; 3]);
    /// # Ok::<(), fewshot_data::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Parameter`] where a label has no class, or a class no image.
    pub fn from_images<D: Into<ImageData>>(
        name: &str,
        class_names: impl IntoIterator<Item = impl Into<String>>,
        images: impl IntoIterator<Item = (D, u32)>,
    ) -> Result<Self, Error> {
        let class_names: Vec<String> = class_names.into_iter().map(Into::into).collect();
        let mut counts = vec![0; class_names.len()];
        let (mut sources, mut labels) = (Vec::new(), Vec::new());
        for (data, label) in images {
            let Some(count) = counts.get_mut(label as usize) else {
                let expected = format!("less than the {} class names", class_names.len());
                return Err(Error::parameter("label", label, expected));
            };
            let path = format!("{}/{count:06}", class_names[label as usize]);
            *count += 1;
            labels.push(label);
            sources.push(match data.into() {
                ImageData::Encoded(file) => SourceImage::new(path, move || Ok(file.clone().into())),
                ImageData::Decoded(pixels) => {
                    SourceImage::new(path, move || Ok(pixels.clone().into()))
                }
            });
        }
        if let Some(empty) = counts.iter().position(|&count| count == 0) {
            let expected = "names of classes that have an image";
            return Err(Error::parameter("class name", &class_names[empty], expected));
        }
        let (name, notes) = (name.to_owned(), Vec::new());
        Ok(Self(Arc::new(Inner { name, images: sources, labels, class_names, notes })))
    }

    /// Labels the classes that have an image from 0 in the order given.
    pub(crate) fn new(name: String, classes: Vec<SourceClass>, notes: Vec<String>) -> Self {
        let (images, labels, class_names) = Default::default();
        let mut inner = Inner { name, images, labels, class_names, notes };
        let classes = classes.into_iter().filter(|class| !class.images.is_empty());
        for (label, class) in (0..).zip(classes) {
            inner.labels.extend(class.images.iter().map(|_| label));
            inner.images.extend(class.images);
            inner.class_names.push(class.name);
        }
        Self(Arc::new(inner))
    }

    /// Returns the number of images.
    pub fn len(&self) -> usize {
        self.0.images.len()
    }

    /// Whether there is no image, which is so only in a [`Survey`](crate::Survey).
    pub fn is_empty(&self) -> bool {
        self.0.images.is_empty()
    }

    /// Returns the kind of source and the split, as in `cub/base`.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Returns the label of each image, `0..class_count()`. Images of a class are adjacent, except
    /// those of [`Self::from_images`].
    pub fn labels(&self) -> &[u32] {
        &self.0.labels
    }

    /// Returns the name of each class, by label.
    pub fn class_names(&self) -> &[String] {
        &self.0.class_names
    }

    /// Returns the number of classes, each of which has an image.
    pub fn class_count(&self) -> usize {
        self.0.class_names.len()
    }

    /// Returns what a user has to know of how the source was read, each as a sentence or two: how class
    /// folders were divided into splits, and which files were passed over.
    pub fn notes(&self) -> &[String] {
        &self.0.notes
    }

    /// Returns where image `index` is, from the root on, as in
    /// `base-0.tar!n01532829/n0153282900000005.jpg`. Empty if there is no such image.
    pub fn image_name(&self, index: usize) -> String {
        self.0.images.get(index).map_or(String::new(), SourceImage::short_name)
    }

    /// Returns the path of image `index` from the root on, without the name of an archive: the path
    /// by which the images of a class are ordered. Empty if there is no such image.
    pub fn image_path(&self, index: usize) -> &str {
        self.0.images.get(index).map_or("", SourceImage::path)
    }

    /// Returns the size of image `index`'s file in bytes, as the file system or the archive
    /// declares it; 0 if it is in no file.
    pub fn image_len(&self, index: usize) -> u64 {
        self.0.images.get(index).and_then(SourceImage::file).map_or(0, |file| file.size())
    }

    /// Reads the whole file of image `index`, still encoded.
    ///
    /// # Errors
    /// Those of reading; [`Error::Image`] for an image that is drawn or decoded and has no file.
    pub fn bytes(&self, index: usize) -> Result<Vec<u8>, Error> {
        match self.image(index)?.read()? {
            ImageData::Encoded(file) => Ok(file),
            ImageData::Decoded(_) => {
                let reason = "drawn or given as pixels, so that there is no file of it";
                Err(Error::image(self.image_name(index), reason))
            }
        }
    }

    /// Reads and decodes image `index`.
    ///
    /// # Errors
    /// [`Error::Image`] names an image that is not whole or of no kind that is read, or larger than
    /// 16,384 pixels a side or 512 MiB in memory. Other errors are those of reading.
    pub fn load(&self, index: usize) -> Result<RgbImage, Error> {
        let (image, (), _) = self.load_rows(index, Vec::new(), |_, height| (height, ()))?;
        Ok(image)
    }

    /// Loads the upper rows of image `index`, as many as `choose` tells from its width and height.
    /// See [`SourceImage::load_rows`].
    pub(crate) fn load_rows<T>(
        &self,
        index: usize,
        buffer: Vec<u8>,
        choose: impl FnOnce(u32, u32) -> (u32, T),
    ) -> Result<(RgbImage, T, Share<'static>), Error> {
        self.image(index)?.load_rows(buffer, choose)
    }

    fn image(&self, index: usize) -> Result<&SourceImage, Error> {
        let image = self.0.images.get(index);
        image
            .ok_or_else(|| Error::parameter("image index", index, "less than the number of images"))
    }
}

impl fmt::Debug for Dataset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dataset")
            .field("name", &self.name())
            .field("images", &self.len())
            .field("classes", &self.class_count())
            .finish()
    }
}
