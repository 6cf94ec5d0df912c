//! Drawn glyphs.

use std::ops::Range;
use std::sync::Arc;

use super::{SourceClass, SourceImage, SourceSpec};
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
        let images = indices.map(|index| SourceImage::drawn(&glyphs, class, index)).collect();
        SourceClass { images, absent: Vec::new(), name: Glyphs::class_name(class) }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SourceKind;

    /// A list of a million images is tens of megabytes, and nothing of each lies elsewhere.
    #[test]
    fn a_drawn_image_is_small_until_it_is_asked_for() {
        assert!(size_of::<SourceImage>() <= 72, "{} bytes", size_of::<SourceImage>());
        let mut spec = SourceSpec::new(SourceKind::Glyphs, "");
        spec.glyphs.images_per_class = 2_000;
        let classes = classes(&spec, &FileTree::default(), Split::All).unwrap();
        let images: Vec<_> = classes.iter().flat_map(|class| &class.images).collect();
        assert_eq!((images.len(), images[199_999].path()), (200_000, "glyph_099/001999"));
        assert!(images.iter().all(|image| !image.has_memory_of_its_own()));
        let drawn = images[199_999].load_rows(Vec::new(), |_, height| (height, ())).unwrap().0;
        assert_eq!(drawn, Glyphs::new(&spec.glyphs).draw(99, 1_999));
    }
}
