//! Images are stable, distinct and legible.

use std::collections::HashSet;

use super::*;

fn glyphs(seed: u64) -> Glyphs {
    Glyphs::new(&GlyphOptions { seed, ..GlyphOptions::default() })
}

fn images(glyphs: &Glyphs) -> impl Iterator<Item = (u32, u64, RgbImage)> {
    (0..CLASSES).flat_map(move |class| (0..20).map(move |i| (class, i, glyphs.draw(class, i))))
}

#[test]
fn an_image_is_a_function_of_seed_class_and_index() {
    let forth: Vec<_> = images(&glyphs(5)).collect();
    let again = glyphs(5);
    for (class, index, image) in forth.iter().rev() {
        assert_eq!(*image, again.draw(*class, *index));
    }
}

#[test]
fn every_image_is_another_one() {
    let (a, b) = (glyphs(0), glyphs(1));
    let mut seen = HashSet::new();
    for (class, index, image) in images(&a).chain(images(&b)) {
        assert!(seen.insert(image.into_raw()), "class {class}, image {index}");
    }
}

#[test]
fn another_seed_has_other_classes() {
    let (a, b) = (glyphs(0), glyphs(1));
    for (a, b) in a.programs.iter().zip(&b.programs) {
        assert_ne!(a.canonical(), b.canonical());
    }
}

/// Recorded, so that a change of the images (and with them of every result) cannot go
/// unnoticed.
#[test]
fn images_are_stable() {
    // FNV-1a
    let hash = |image: RgbImage| {
        image.iter().fold(0xcbf2_9ce4_8422_2325u64, |hash, &byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
        })
    };
    let glyphs = glyphs(0);
    assert_eq!(hash(glyphs.draw(0, 0)), 1713423453935591982);
    assert_eq!(hash(glyphs.draw(99, 12)), 15645820983087919740);
}

#[test]
fn ink_can_be_told_from_paper() {
    let glyphs = glyphs(0);
    for (class, index, image) in images(&glyphs) {
        let mut rng = stream(0, "glyph image", &[class.into(), index]);
        let ink = hand::draw(&glyphs.programs[class as usize], 48, &mut rng);
        let mean = |wanted: &dyn Fn(f32) -> bool| {
            let light: Vec<f32> = image
                .pixels()
                .zip(&ink)
                .filter(|(_, ink)| wanted(**ink))
                .map(|(pixel, _)| paint::luminance(pixel.0.map(|c| f32::from(c) / 255.0)))
                .collect();
            (light.len(), light.iter().sum::<f32>() / light.len() as f32)
        };
        let (inked, ink_light) = mean(&|ink| ink > 0.9);
        let (bare, paper_light) = mean(&|ink| ink == 0.0);
        assert!(inked > 24 && bare > 48 * 48 / 2, "class {class}, image {index}: {inked} {bare}");
        let contrast = (ink_light - paper_light).abs();
        assert!(contrast > 0.25, "class {class}, image {index}: {contrast}");
    }
}

#[test]
fn any_size_can_be_drawn() {
    for size in [0, 1, 7, 84, 224] {
        let glyphs = Glyphs::new(&GlyphOptions { size, ..GlyphOptions::default() });
        assert_eq!(glyphs.draw(99, u64::MAX).dimensions(), (size, size));
    }
}

#[test]
fn classes_have_names_that_sort() {
    assert_eq!(Glyphs::class_name(0), "glyph_000");
    assert_eq!(Glyphs::class_name(99), "glyph_099");
}
