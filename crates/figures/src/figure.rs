//! From a figure to SVG and PNG.

use std::io::Cursor;
use std::sync::Once;

use image::{ImageFormat, RgbImage};
use plotters::coord::Shift;
use plotters::prelude::{BitMapBackend, DrawingArea, DrawingBackend, IntoDrawingArea, SVGBackend};
use plotters::style::{FontStyle, RGBColor, register_font};

use crate::Error;

/// Where a figure is drawn: coordinates are pixels from the upper left corner.
pub type Drawing<'a, B> = DrawingArea<B, Shift>;

/// The colour of text and axes. A [`Page`](crate::Page) replaces it in dark mode.
pub(crate) const INK: RGBColor = RGBColor(0x1b, 0x1f, 0x24);
/// The colour of grid lines. A [`Page`](crate::Page) replaces it in dark mode.
pub(crate) const GRID: RGBColor = RGBColor(0xd8, 0xde, 0xe4);
/// The background. A [`Page`](crate::Page) replaces it in dark mode.
pub(crate) const PAPER: RGBColor = RGBColor(0xff, 0xff, 0xff);

/// Pixels of a PNG for each pixel of an SVG, so that it is sharp on screens of high resolution.
const PNG_SCALE: u32 = 2;

/// Something that can be drawn.
pub trait Figure {
    /// Returns the title.
    fn title(&self) -> &str;

    /// Returns width and height in pixels, at scale 1.
    fn size(&self) -> (u32, u32);

    /// Draws the figure, `scale` times as large as [`size`](Self::size) says.
    ///
    /// # Errors
    /// [`Error::Data`] for data that cannot be drawn; [`Error::Drawing`] if the library fails.
    fn draw<B: DrawingBackend>(&self, area: &Drawing<'_, B>, scale: u32) -> Result<(), Error>;

    /// Returns the figure as a complete SVG document.
    ///
    /// # Errors
    /// Those of [`draw`](Self::draw).
    fn svg(&self) -> Result<String, Error> {
        register_fonts();
        let mut svg = String::new();
        let area = SVGBackend::with_string(&mut svg, self.size()).into_drawing_area();
        area.fill(&PAPER).map_err(|e| self.failed(e))?;
        self.draw(&area, 1)?;
        area.present().map_err(|e| self.failed(e))?;
        drop(area);
        Ok(svg)
    }

    /// Returns the figure as a PNG file, at twice its size.
    ///
    /// # Errors
    /// Those of [`draw`](Self::draw).
    fn png(&self) -> Result<Vec<u8>, Error> {
        register_fonts();
        let (width, height) = self.size();
        let (width, height) = (PNG_SCALE * width, PNG_SCALE * height);
        let mut image = RgbImage::new(width, height);
        let area = BitMapBackend::with_buffer(&mut image, (width, height)).into_drawing_area();
        area.fill(&PAPER).map_err(|e| self.failed(e))?;
        self.draw(&area, PNG_SCALE)?;
        area.present().map_err(|e| self.failed(e))?;
        drop(area);
        let mut file = Cursor::new(Vec::new());
        image.write_to(&mut file, ImageFormat::Png).map_err(|e| self.failed(e))?;
        Ok(file.into_inner())
    }

    /// Makes an error of what the plotting library reports.
    fn failed(&self, reason: impl std::fmt::Display) -> Error {
        Error::Drawing { title: self.title().to_owned(), reason: reason.to_string() }
    }
}

/// Hands the plotting library a font, once: it has none of its own.
fn register_fonts() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // A failure shows when text is drawn, as an error of that figure.
        let _ = register_font("sans-serif", FontStyle::Normal, dejavu::sans::regular());
        let _ = register_font("sans-serif", FontStyle::Bold, dejavu::sans::bold());
    });
}
