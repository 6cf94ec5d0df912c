//! A matrix as coloured cells.

use plotters::prelude::{DrawingBackend, Rectangle, Text};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{Color, FontTransform, IntoFont, RGBColor};

use crate::chart::text;
use crate::figure::INK;
use crate::{Drawing, Error, Figure};

/// Longest name that is written out beside the cells, in characters.
const LONGEST_NAME: usize = 24;
/// Height of the title, in pixels.
const TITLE: u32 = 40;

/// A matrix of values from 0 to 1 as coloured cells: the darker, the larger.
#[derive(Clone, Debug, PartialEq)]
pub struct HeatMap {
    /// The title, above the cells.
    pub title: String,
    /// Names of the rows.
    pub rows: Vec<String>,
    /// Names of the columns.
    pub columns: Vec<String>,
    /// Values from 0 to 1, a vector for each row.
    pub values: Vec<Vec<f64>>,
}

impl HeatMap {
    /// Returns the side of a cell in pixels: smaller where there are many.
    fn cell(&self) -> u32 {
        (640 / self.columns.len().max(self.rows.len()).max(1) as u32).clamp(9, 26)
    }

    /// Returns the space for the names beside the cells, in pixels.
    fn names(&self, names: &[String]) -> u32 {
        let longest = names.iter().map(|name| name.chars().count()).max().unwrap_or(0);
        12 + self.font() * 6 / 10 * longest.min(LONGEST_NAME) as u32
    }

    /// Returns the size of the names in pixels.
    fn font(&self) -> u32 {
        (self.cell() * 3 / 4).clamp(8, 13)
    }

    fn check(&self) -> Result<(), Error> {
        let refused = |reason: String| Err(Error::Data { title: self.title.clone(), reason });
        let columns = self.columns.len();
        if self.rows.is_empty() || columns == 0 {
            return refused("no row or no column".to_owned());
        }
        if self.values.len() != self.rows.len() || self.values.iter().any(|r| r.len() != columns) {
            let rows = self.rows.len();
            return refused(format!("{rows} names of rows and {columns} of columns do not fit"));
        }
        match self.values.iter().flatten().find(|value| !(0.0..=1.0).contains(*value)) {
            Some(value) => refused(format!("value {value}, expected 0 to 1")),
            None => Ok(()),
        }
    }
}

impl Figure for HeatMap {
    fn title(&self) -> &str {
        &self.title
    }

    fn size(&self) -> (u32, u32) {
        let cells = |count: usize| self.cell() * count as u32 + 12;
        let width = self.names(&self.rows) + cells(self.columns.len());
        let title = 12 + 9 * self.title.chars().count() as u32;
        let height = TITLE + self.names(&self.columns) + cells(self.rows.len());
        (width.max(title), height)
    }

    fn draw<B: DrawingBackend>(&self, area: &Drawing<'_, B>, scale: u32) -> Result<(), Error> {
        self.check()?;
        let cell = (self.cell() * scale) as i32;
        let left = (self.names(&self.rows) * scale) as i32;
        let top = ((TITLE + self.names(&self.columns)) * scale) as i32;
        let font = self.font() * scale;
        let draw_text = |what: &str, at, style| {
            area.draw(&Text::new(shortened(what), at, style)).map_err(|e| self.failed(e))
        };
        area.titled_text(&self.title, scale).map_err(|e| self.failed(e))?;
        for (row, name) in (0..).zip(&self.rows) {
            let style = text(font).pos(Pos::new(HPos::Right, VPos::Center));
            draw_text(name, (left - 4 * scale as i32, top + row * cell + cell / 2), style)?;
        }
        for (column, name) in (0..).zip(&self.columns) {
            let rotated = ("sans-serif", font).into_font().transform(FontTransform::Rotate270);
            let style = rotated.color(&INK).pos(Pos::new(HPos::Left, VPos::Center));
            draw_text(name, (left + column * cell + cell / 2, top - 4 * scale as i32), style)?;
        }
        for (row, values) in (0..).zip(&self.values) {
            for (column, &value) in (0..).zip(values) {
                let (x, y) = (left + column * cell, top + row * cell);
                let corners = [(x, y), (x + cell - scale as i32, y + cell - scale as i32)];
                let rectangle = Rectangle::new(corners, shade(value).filled());
                area.draw(&rectangle).map_err(|e| self.failed(e))?;
            }
        }
        Ok(())
    }
}

/// Draws the title of a figure that is no chart.
trait TitledText {
    type Failure;
    fn titled_text(&self, title: &str, scale: u32) -> Result<(), Self::Failure>;
}

impl<B: DrawingBackend> TitledText for Drawing<'_, B> {
    type Failure = plotters::drawing::DrawingAreaErrorKind<B::ErrorType>;

    fn titled_text(&self, title: &str, scale: u32) -> Result<(), Self::Failure> {
        let at = ((8 * scale) as i32, (10 * scale) as i32);
        self.draw(&Text::new(title.to_owned(), at, text(16 * scale)))
    }
}

/// Returns the first characters of a long name, with a sign that it goes on.
fn shortened(name: &str) -> String {
    if name.chars().count() <= LONGEST_NAME {
        return name.to_owned();
    }
    name.chars().take(LONGEST_NAME - 1).chain(['…']).collect()
}

/// Returns the colour of a value from 0, nearly white, to 1, dark blue. Small values are told apart
/// by its square root.
fn shade(value: f64) -> RGBColor {
    let (low, high) = ([0xf2, 0xf5, 0xf9], [0x00, 0x3b, 0x73]);
    let share = value.sqrt();
    let mix = |channel: usize| {
        (f64::from(low[channel]) * (1.0 - share) + f64::from(high[channel]) * share).round() as u8
    };
    RGBColor(mix(0), mix(1), mix(2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_larger_a_value_the_darker_its_cell() {
        assert_eq!(shade(0.0), RGBColor(0xf2, 0xf5, 0xf9));
        assert_eq!(shade(1.0), RGBColor(0x00, 0x3b, 0x73));
        assert_eq!(shade(0.25), RGBColor(121, 152, 182));
    }

    #[test]
    fn long_names_are_shortened() {
        assert_eq!(shortened("robin"), "robin");
        assert_eq!(shortened("001.Black_footed_Albatross_and_more").chars().count(), LONGEST_NAME);
    }
}
