//! Writes a sheet of glyphs, one class in each row:
//!
//! ```text
//! cargo run -p fewshot-glyphs --example sheet -- OUT.png [--seed N]
//! ```

use std::error::Error;

use fewshot_glyphs::{GlyphOptions, Glyphs};
use image::{GenericImage, RgbImage};

const CLASSES: u32 = 20;
const IMAGES: u32 = 16;

fn main() -> Result<(), Box<dyn Error>> {
    let usage = "usage: sheet OUT.png [--seed N]";
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (out, seed) = match arguments[..] {
        [out] => (out, 0),
        [out, "--seed", seed] => (out, seed.parse()?),
        _ => return Err(usage.into()),
    };
    let options = GlyphOptions { seed, ..GlyphOptions::default() };
    let glyphs = Glyphs::new(&options);
    let pitch = options.size + 2;
    let mut sheet = RgbImage::new(IMAGES * pitch, CLASSES * pitch);
    for class in 0..CLASSES {
        for index in 0..IMAGES {
            let image = glyphs.draw(class, index.into());
            sheet.copy_from(&image, index * pitch, class * pitch)?;
        }
    }
    sheet.save(out)?;
    Ok(())
}
