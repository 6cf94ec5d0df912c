//! Lines and points over two axes.

use std::ops::Range;

use plotters::chart::ChartBuilder;
use plotters::coord::CoordTranslate;
use plotters::drawing::{DrawingArea, DrawingAreaErrorKind};
use plotters::element::{Circle, Cross, PathElement, TriangleMarker};
use plotters::prelude::{DrawingBackend, IntoFont, Rectangle, Text};
use plotters::series::{DashedLineSeries, LineSeries};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{Color, RGBColor, TextStyle};

use crate::figure::{GRID, INK};
use crate::{Drawing, Error, Figure};

/// Colours of series, in order: told apart with any kind of colour vision, on white and on black
/// (Okabe and Ito, "Color Universal Design", 2008; without their black and yellow).
const COLORS: [RGBColor; 6] = [
    RGBColor(0x00, 0x72, 0xb2),
    RGBColor(0xd5, 0x5e, 0x00),
    RGBColor(0x00, 0x9e, 0x73),
    RGBColor(0xcc, 0x79, 0xa7),
    RGBColor(0xe6, 0x9f, 0x00),
    RGBColor(0x56, 0xb4, 0xe9),
];

/// Width of a chart without its legend, in pixels.
const WIDTH: u32 = 560;
/// Height of a chart, in pixels.
const HEIGHT: u32 = 380;
/// Height of a line of the legend, in pixels.
const LEGEND_LINE: u32 = 20;
/// Size of small text, in pixels.
const TEXT: u32 = 12;

/// Shape of a series' points.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Marker {
    /// A filled circle.
    #[default]
    Circle,
    /// A filled triangle.
    Triangle,
    /// A cross.
    Cross,
}

/// A named line with points and intervals, each of which may be absent.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Series {
    /// The name in the legend.
    pub name: String,
    /// The corners of the line, from left to right.
    pub line: Vec<(f64, f64)>,
    /// Points that stand alone.
    pub points: Vec<(f64, f64)>,
    /// Vertical intervals `(x, lower end, upper end)`.
    pub intervals: Vec<(f64, f64, f64)>,
    /// Shape of the points.
    pub marker: Marker,
    /// Whether the line is dashed.
    pub is_dashed: bool,
    /// Index of the colour, if it is not the series' position: series that belong together can share
    /// one.
    pub color: Option<usize>,
}

impl Series {
    /// Returns a line.
    pub fn line(name: impl Into<String>, line: Vec<(f64, f64)>) -> Self {
        Self { name: name.into(), line, ..Self::default() }
    }

    /// Returns points that stand alone.
    pub fn points(name: impl Into<String>, points: Vec<(f64, f64)>) -> Self {
        Self { name: name.into(), points, ..Self::default() }
    }
}

/// Lines and points over two axes, with a legend on the right.
#[derive(Clone, Debug, PartialEq)]
pub struct Chart {
    /// The title, above the chart.
    pub title: String,
    /// The title of the horizontal axis.
    pub x: String,
    /// The title of the vertical axis.
    pub y: String,
    /// What is drawn, in this order.
    pub series: Vec<Series>,
    /// Whether axes with their numbers are drawn. A map of points whose coordinates mean nothing by
    /// themselves has none.
    pub has_axes: bool,
}

impl Chart {
    /// Returns a chart without series.
    pub fn new(title: impl Into<String>, x: impl Into<String>, y: impl Into<String>) -> Self {
        let (title, x, y) = (title.into(), x.into(), y.into());
        Self { title, x, y, series: Vec::new(), has_axes: true }
    }

    /// Returns a map of points, without axes.
    pub fn map(title: impl Into<String>) -> Self {
        Self { has_axes: false, ..Self::new(title, "", "") }
    }

    /// Returns the ranges of x and y that hold everything drawn, with some space around it.
    fn ranges(&self) -> Result<(Range<f64>, Range<f64>), Error> {
        let all = || {
            self.series.iter().flat_map(|series| {
                let ends =
                    series.intervals.iter().flat_map(|&(x, low, high)| [(x, low), (x, high)]);
                series.line.iter().chain(&series.points).copied().chain(ends)
            })
        };
        if let Some((x, y)) = all().find(|(x, y)| !(x.is_finite() && y.is_finite())) {
            return Err(self.refused(format!("({x}, {y}) cannot be drawn")));
        }
        if all().next().is_none() {
            return Err(self.refused("no series has a point".to_owned()));
        }
        Ok((padded(all().map(|(x, _)| x)), padded(all().map(|(_, y)| y))))
    }

    fn refused(&self, reason: String) -> Error {
        Error::Data { title: self.title.clone(), reason }
    }

    fn color(&self, index: usize) -> RGBColor {
        COLORS[self.series[index].color.unwrap_or(index) % COLORS.len()]
    }

    /// Returns the series that the legend names: each name once.
    fn legend(&self) -> Vec<usize> {
        let is_first = |&index: &usize| {
            let name = &self.series[index].name;
            !name.is_empty() && self.series[..index].iter().all(|earlier| earlier.name != *name)
        };
        (0..self.series.len()).filter(is_first).collect()
    }

    /// Returns the width of the legend in pixels; 0 where there is no more than one name.
    fn legend_width(&self) -> u32 {
        let legend = self.legend();
        let longest = legend.iter().map(|&index| self.series[index].name.chars().count()).max();
        match longest {
            Some(length) if legend.len() > 1 => 50 + 8 * length.min(60) as u32,
            _ => 0,
        }
    }

    /// Draws the names of the series beside their signs.
    fn draw_legend<B: DrawingBackend>(
        &self,
        area: &Drawing<'_, B>,
        scale: u32,
    ) -> Result<(), Error> {
        let style = text(TEXT * scale).pos(Pos::new(HPos::Left, VPos::Center));
        for (row, index) in (0..).zip(self.legend()) {
            let (series, color) = (&self.series[index], self.color(index));
            let y = ((40 + LEGEND_LINE * row) * scale) as i32;
            let at = |x: u32| ((x * scale) as i32, y);
            if !series.line.is_empty() {
                let line = PathElement::new(vec![at(8), at(32)], color.stroke_width(2 * scale));
                area.draw(&line).map_err(|e| self.failed(e))?;
            }
            if series.line.is_empty() || !series.points.is_empty() {
                draw_sign(area, series.marker, at(20), 4 * scale, color)
                    .map_err(|e| self.failed(e))?;
            }
            let name = Text::new(series.name.clone(), at(40), style.clone());
            area.draw(&name).map_err(|e| self.failed(e))?;
        }
        Ok(())
    }
}

impl Figure for Chart {
    fn title(&self) -> &str {
        &self.title
    }

    fn size(&self) -> (u32, u32) {
        let legend = 60 + LEGEND_LINE * self.legend().len() as u32;
        (
            WIDTH + self.legend_width(),
            if self.legend_width() > 0 { HEIGHT.max(legend) } else { HEIGHT },
        )
    }

    fn draw<B: DrawingBackend>(&self, area: &Drawing<'_, B>, scale: u32) -> Result<(), Error> {
        let (xs, ys) = self.ranges()?;
        let (plot, legend) = area.split_horizontally(WIDTH * scale);
        if self.legend_width() > 0 {
            self.draw_legend(&legend, scale)?;
        }
        let mut builder = ChartBuilder::on(&plot);
        builder.margin(12 * scale).caption(&self.title, text(16 * scale));
        if self.has_axes {
            builder.x_label_area_size(40 * scale).y_label_area_size(56 * scale);
        }
        let mut chart = builder.build_cartesian_2d(xs, ys).map_err(|e| self.failed(e))?;
        if self.has_axes {
            let mut mesh = chart.configure_mesh();
            mesh.x_desc(&self.x).y_desc(&self.y);
            mesh.axis_style(INK.stroke_width(scale)).label_style(text(TEXT * scale));
            mesh.axis_desc_style(text(13 * scale));
            mesh.bold_line_style(GRID.stroke_width(scale)).light_line_style(GRID.mix(0.0));
            mesh.x_labels(9).y_labels(8);
            let (x, y) = (|x: &f64| number(*x), |y: &f64| number(*y));
            mesh.x_label_formatter(&x).y_label_formatter(&y);
            mesh.draw().map_err(|e| self.failed(e))?;
        }
        for (index, series) in self.series.iter().enumerate() {
            let color = self.color(index);
            let style = color.stroke_width(2 * scale);
            for &(x, low, high) in &series.intervals {
                let bar = PathElement::new(vec![(x, low), (x, high)], color.stroke_width(scale));
                chart.draw_series([bar]).map_err(|e| self.failed(e))?;
            }
            let line = series.line.iter().copied();
            if series.is_dashed {
                let (dash, gap) = (6 * scale, 4 * scale);
                let line = DashedLineSeries::new(line, dash, gap, style);
                chart.draw_series(line).map_err(|e| self.failed(e))?;
            } else {
                chart.draw_series(LineSeries::new(line, style)).map_err(|e| self.failed(e))?;
            }
            let size = if self.has_axes { 4 } else { 3 } * scale;
            for &at in &series.points {
                draw_sign(chart.plotting_area(), series.marker, at, size, color)
                    .map_err(|e| self.failed(e))?;
            }
        }
        if !self.has_axes {
            let (width, height) = plot.dim_in_pixel();
            let frame = [(0, 0), (width as i32 - 1, height as i32 - 1)];
            plot.draw(&Rectangle::new(frame, GRID.stroke_width(scale)))
                .map_err(|e| self.failed(e))?;
        }
        Ok(())
    }
}

/// Draws the sign of a point, `size` pixels from its centre to its edge.
fn draw_sign<B: DrawingBackend, T: CoordTranslate>(
    area: &DrawingArea<B, T>,
    marker: Marker,
    at: T::From,
    size: u32,
    color: RGBColor,
) -> Result<(), DrawingAreaErrorKind<B::ErrorType>>
where
    T::From: Clone + 'static,
{
    match marker {
        Marker::Circle => area.draw(&Circle::new(at, size, color.filled())),
        Marker::Triangle => area.draw(&TriangleMarker::new(at, size + 1, color.filled())),
        Marker::Cross => area.draw(&Cross::new(at, size, color.stroke_width(size / 2))),
    }
}

/// Returns the style of text of a size in pixels.
pub(crate) fn text(size: u32) -> TextStyle<'static> {
    ("sans-serif", size).into_font().color(&INK)
}

/// Formats a number of an axis: as many decimals as it needs, at most three.
fn number(value: f64) -> String {
    let text = format!("{value:.3}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".to_owned() } else { text.to_owned() }
}

/// Returns the range of values, and a twentieth of it on either side; a range around a single value.
fn padded(values: impl Iterator<Item = f64>) -> Range<f64> {
    let (low, high) =
        values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(v), high.max(v)));
    let space = match 0.05 * (high - low) {
        space if space > 0.0 => space,
        _ => 0.05 * low.abs().max(1.0),
    };
    low - space..high + space
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_axes_are_short() {
        let shown = [0.0, -0.0001, 0.25, -0.3, 12.0, 100.5].map(number);
        assert_eq!(shown, ["0", "0", "0.25", "-0.3", "12", "100.5"]);
    }

    #[test]
    fn ranges_hold_everything_and_are_never_empty() {
        let mut chart = Chart::new("t", "x", "y");
        chart.series.push(Series::line("a", vec![(0.0, 10.0), (1.0, 30.0)]));
        let intervals = vec![(2.0, 0.0, 50.0)];
        chart.series.push(Series { intervals, ..Series::points("b", vec![]) });
        let (x, y) = chart.ranges().unwrap();
        assert_eq!((x.start, x.end, y.start, y.end), (-0.1, 2.1, -2.5, 52.5));
        let single = padded([7.0, 7.0].into_iter());
        assert!(single.start < 7.0 && single.end > 7.0);
    }
}
