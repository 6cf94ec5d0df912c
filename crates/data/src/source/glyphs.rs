//! Drawn glyphs.

use std::ops::Range;
use std::sync::Arc;

use super::{ImageData, SourceClass, SourceImage, SourceSpec};
use crate::glyphs::{BASE_CLASSES, Glyphs, NOVEL_CLASSES, VAL_CLASSES};
use crate::tree::FileTree;
use crate::{Error, Split};

pub(super) fn classes(
    spec: &SourceSpec,
    _: &FileTree,
    split: Split,
) -> Result<Vec<SourceClass>, Error> {
    let options = &spec.glyphs;
    if options.size == 0 || options.images_per_class == 0 {
        return Err(Error::parameter(
            "glyphs",
            (options.size, options.images_per_class),
            "a size and a number of images per class of at least 1",
        ));
    }
    let glyphs = Arc::new(Glyphs::new(options));
    let draw = |class: u32, indices: Range<u64>| {
        let name = Glyphs::class_name(class);
        let images = indices.map(|index| {
            let glyphs = Arc::clone(&glyphs);
            let draw = move || Ok(ImageData::Decoded(glyphs.draw(class, index)));
            SourceImage::new(format!("{name}/{index:06}"), draw)
        });
        SourceClass { images: images.collect(), absent: Vec::new(), name }
    };
    let indices = image_indices(split, options.images_per_class as u64);
    Ok(class_range(split).map(|class| draw(class, indices.clone())).collect())
}

fn class_range(split: Split) -> Range<u32> {
    const VAL: u32 = BASE_CLASSES;
    const NOVEL: u32 = VAL + VAL_CLASSES;
    const END: u32 = NOVEL + NOVEL_CLASSES;
    match split {
        Split::Base | Split::BaseVal => 0..VAL,
        Split::Val => VAL..NOVEL,
        Split::Novel => NOVEL..END,
        Split::All => 0..END,
    }
}

fn image_indices(split: Split, per_class: u64) -> Range<u64> {
    match split {
        Split::BaseVal => per_class..per_class + per_class.div_ceil(5),
        _ => 0..per_class,
    }
}
