use std::fmt;
use std::sync::Arc;

use image::RgbImage;

use crate::Error;
use crate::decode::Encoded;
use crate::glyphs::Glyphs;
use crate::tree::Stored;

/// The images of one split with their labels. Images are read and decoded when they are
/// asked for, from any thread. A clone shares everything.
#[derive(Clone)]
pub struct Dataset(Arc<Inner>);

struct Inner {
    name: String,
    images: Vec<Image>,
    labels: Vec<u32>,
    class_names: Vec<String>,
}

/// An image before it is read.
#[derive(Clone)]
pub(crate) struct Image {
    /// Its path from the root on, by which images are ordered.
    pub path: String,
    pub pixels: Pixels,
}

#[derive(Clone)]
pub(crate) enum Pixels {
    Stored(Stored),
    Drawn { glyphs: Arc<Glyphs>, class: u32, index: u64 },
}

impl Image {
    pub(crate) fn stored(path: &str, stored: &Stored) -> Self {
        Self { path: path.to_owned(), pixels: Pixels::Stored(stored.clone()) }
    }

    pub(crate) fn full_name(&self) -> String {
        match &self.pixels {
            Pixels::Stored(stored) => stored.full_name(&self.path),
            Pixels::Drawn { .. } => self.path.clone(),
        }
    }

    fn load_rows<T>(
        &self,
        spare: Vec<u8>,
        choose: impl FnOnce(u32, u32) -> (u32, T),
    ) -> Result<(RgbImage, T), Error> {
        match &self.pixels {
            Pixels::Stored(stored) => {
                let broken = |reason| Error::image(self.full_name(), reason);
                let encoded = Encoded::open(stored.read()?).map_err(broken)?;
                let (rows, chosen) = choose(encoded.width(), encoded.height());
                Ok((encoded.decode(rows, spare).map_err(broken)?, chosen))
            }
            Pixels::Drawn { glyphs, class, index } => {
                let image = glyphs.draw(*class, *index);
                let (_, chosen) = choose(image.width(), image.height());
                Ok((image, chosen))
            }
        }
    }
}

impl Dataset {
    /// Classes are labelled from 0 in the order given.
    pub(crate) fn new(name: String, classes: Vec<(String, Vec<Image>)>) -> Self {
        let mut inner = Inner {
            name,
            images: Vec::new(),
            labels: Vec::new(),
            class_names: Vec::with_capacity(classes.len()),
        };
        for (label, (class, images)) in (0..).zip(classes) {
            inner.labels.extend(images.iter().map(|_| label));
            inner.images.extend(images);
            inner.class_names.push(class);
        }
        Self(Arc::new(inner))
    }

    /// Number of images.
    pub fn len(&self) -> usize {
        self.0.images.len()
    }

    /// Whether there is no image. [`SourceSpec::open`](crate::SourceSpec::open) never gives such
    /// a dataset.
    pub fn is_empty(&self) -> bool {
        self.0.images.is_empty()
    }

    /// Kind of source and split, as in `cub/base`.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The class of each image, `0..class_count()`; images of a class lie together.
    pub fn labels(&self) -> &[u32] {
        &self.0.labels
    }

    /// The name of each class, by label.
    pub fn class_names(&self) -> &[String] {
        &self.0.class_names
    }

    /// Number of classes, each of which has an image.
    pub fn class_count(&self) -> usize {
        self.0.class_names.len()
    }

    /// Where image `index` is, from the root on, as in
    /// `base-0.tar!n01532829/n0153282900000005.jpg`. Empty where there is no such image.
    pub fn image_name(&self, index: usize) -> String {
        match self.0.images.get(index) {
            Some(image) => match &image.pixels {
                Pixels::Stored(stored) => stored.short_name(&image.path),
                Pixels::Drawn { .. } => image.path.clone(),
            },
            None => String::new(),
        }
    }

    /// The path of image `index` from the root on, without the name of an archive: that by
    /// which the images of a class are ordered. Empty where there is no such image.
    pub fn image_path(&self, index: usize) -> &str {
        self.0.images.get(index).map_or("", |image| &image.path)
    }

    /// The size of image `index`'s file in bytes, as far as the file system or the archive knows;
    /// 0 where there is none.
    pub fn image_len(&self, index: usize) -> u64 {
        match self.0.images.get(index).map(|image| &image.pixels) {
            Some(Pixels::Stored(stored)) => stored.len(),
            _ => 0,
        }
    }

    /// The whole file of image `index`, as it lies there.
    ///
    /// # Errors
    /// Those of reading; [`Error::Image`] for an image that is drawn and has no file.
    pub fn bytes(&self, index: usize) -> Result<Vec<u8>, Error> {
        match &self.image(index)?.pixels {
            Pixels::Stored(stored) => stored.read(),
            Pixels::Drawn { .. } => {
                Err(Error::image(self.image_name(index), "drawn, so that there is no file of it"))
            }
        }
    }

    /// Reads and decodes image `index`.
    ///
    /// # Errors
    /// [`Error::Image`] names an image that is not a whole JPEG or PNG, or larger than
    /// 16,384 pixels a side or 512 MiB in memory. Other errors are those of reading.
    pub fn load(&self, index: usize) -> Result<RgbImage, Error> {
        let (image, ()) = self.load_rows(index, Vec::new(), |_, height| (height, ()))?;
        Ok(image)
    }

    /// Reads image `index`, has `choose` choose by its width and height how many of its upper
    /// rows are needed, and decodes those: the rest may be missing. What else it chose is
    /// handed on. The memory of `spare` is used for the pixels.
    pub(crate) fn load_rows<T>(
        &self,
        index: usize,
        spare: Vec<u8>,
        choose: impl FnOnce(u32, u32) -> (u32, T),
    ) -> Result<(RgbImage, T), Error> {
        self.image(index)?.load_rows(spare, choose)
    }

    fn image(&self, index: usize) -> Result<&Image, Error> {
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
