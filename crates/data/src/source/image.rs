//! One image of a source, before it is read.

use std::fmt;
use std::sync::Arc;

use compact_str::CompactString;
use fewshot_images::Encoded;
use image::RgbImage;

use super::budget::{SHARED, Share};
use crate::Error;
use crate::glyphs::Glyphs;
use crate::tree::StoredFile;

/// The content of an image.
pub enum ImageData {
    /// A file of a kind that [`decode`](fewshot_images::decode) reads.
    Encoded(Vec<u8>),
    /// Pixels.
    Decoded(RgbImage),
}

impl From<Vec<u8>> for ImageData {
    fn from(file: Vec<u8>) -> Self {
        Self::Encoded(file)
    }
}

impl From<RgbImage> for ImageData {
    fn from(pixels: RgbImage) -> Self {
        Self::Decoded(pixels)
    }
}

/// An image that a source lists: its path, and how to read it.
#[derive(Clone)]
pub struct SourceImage {
    /// Short ones, as those of drawn images, take no memory of their own.
    path: CompactString,
    content: Content,
}

#[derive(Clone)]
enum Content {
    File(StoredFile),
    /// Drawn when it is asked for, so that a set of any size takes little memory.
    Drawn {
        glyphs: Arc<Glyphs>,
        class: u32,
        index: u64,
    },
    Read(Arc<dyn Fn() -> Result<ImageData, Error> + Send + Sync>),
}

impl SourceImage {
    /// An image whose content `read` reads, fetches or draws, each time that it is needed and from
    /// any thread. `path` names it in messages.
    pub fn new(
        path: impl Into<String>,
        read: impl Fn() -> Result<ImageData, Error> + Send + Sync + 'static,
    ) -> Self {
        Self { path: path.into().into(), content: Content::Read(Arc::new(read)) }
    }

    /// An image in a file of a [`FileTree`](crate::FileTree), at `path` in it.
    pub fn stored(path: &str, file: &StoredFile) -> Self {
        Self { path: path.into(), content: Content::File(file.clone()) }
    }

    /// Image `index` of a class of glyphs.
    pub(super) fn drawn(glyphs: &Arc<Glyphs>, class: u32, index: u64) -> Self {
        let path = compact_str::format_compact!("{}/{index:06}", Glyphs::class_name(class));
        Self { path, content: Content::Drawn { glyphs: Arc::clone(glyphs), class, index } }
    }

    /// Its path from the root of the source on.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// A name by which a person finds it.
    pub(crate) fn full_name(&self) -> String {
        match &self.content {
            Content::File(file) => file.full_name(&self.path),
            Content::Drawn { .. } | Content::Read(_) => self.path.to_string(),
        }
    }

    /// As [`Self::full_name`], without the folders above the root of the source.
    pub(crate) fn short_name(&self) -> String {
        match &self.content {
            Content::File(file) => file.short_name(&self.path),
            Content::Drawn { .. } | Content::Read(_) => self.path.to_string(),
        }
    }

    /// Its file, if it is in one.
    pub(crate) fn file(&self) -> Option<&StoredFile> {
        match &self.content {
            Content::File(file) => Some(file),
            Content::Drawn { .. } | Content::Read(_) => None,
        }
    }

    /// Whether something is allocated for this image alone.
    #[cfg(test)]
    pub(super) fn has_memory_of_its_own(&self) -> bool {
        self.path.is_heap_allocated() || !matches!(self.content, Content::Drawn { .. })
    }

    pub(crate) fn read(&self) -> Result<ImageData, Error> {
        match &self.content {
            Content::File(file) => Ok(ImageData::Encoded(file.read()?)),
            Content::Drawn { glyphs, class, index } => Ok(glyphs.draw(*class, *index).into()),
            Content::Read(read) => read(),
        }
    }

    /// Reads the image, has `choose` tell from its width and height how many of its upper rows are
    /// needed, and decodes at least those. Returns what else `choose` gives, too, and the share of the
    /// memory budget, to be kept as long as the pixels are. The memory of `buffer` is used for the
    /// pixels.
    pub(crate) fn load_rows<T>(
        &self,
        buffer: Vec<u8>,
        choose: impl FnOnce(u32, u32) -> (u32, T),
    ) -> Result<(RgbImage, T, Share<'static>), Error> {
        match self.read()? {
            ImageData::Encoded(file) => {
                let broken = |e| Error::decode(self.full_name(), e);
                let encoded = Encoded::open(file).map_err(broken)?;
                let (rows, chosen) = choose(encoded.width(), encoded.height());
                let share = SHARED.take(encoded.memory(rows));
                Ok((encoded.decode_rows(rows, buffer).map_err(broken)?, chosen, share))
            }
            ImageData::Decoded(image) => {
                let (_, chosen) = choose(image.width(), image.height());
                Ok((image, chosen, SHARED.take(0)))
            }
        }
    }
}

impl fmt::Debug for SourceImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SourceImage").field(&self.full_name()).finish()
    }
}
