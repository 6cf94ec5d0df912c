//! Charts as SVG and PNG, and HTML reports in one file that opens anywhere.
//!
//! * [`Chart`] draws lines and points over two axes, [`HeatMap`] a matrix; both implement
//!   [`Figure`], which turns them into SVG or PNG. The font is part of the program, so that figures
//!   look the same on every machine.
//! * [`Page`] is a report: text, tables, figures and small images in one HTML file without scripts,
//!   in light and dark, and readable in print.
//!
//! ```
//! use fewshot_figures::{Chart, Figure, Page, Series};
//!
//! # fn main() -> Result<(), fewshot_figures::Error> {
//! let mut chart = Chart::new("Accuracy over the margin", "margin", "accuracy (%)");
//! chart.series.push(Series::line("unseen classes", vec![(-0.3, 45.4), (0.0, 44.0)]));
//! let mut page = Page::new("The margin");
//! page.figure(&chart.svg()?, "1-shot, 5-way.");
//! assert!(page.finish().contains("<svg"));
//! # Ok(())
//! # }
//! ```

#![forbid(unsafe_code)]

mod chart;
mod error;
mod figure;
mod heat_map;
mod page;

pub use chart::{Chart, Marker, Series};
pub use error::Error;
pub use figure::{Drawing, Figure};
pub use heat_map::HeatMap;
pub use page::{Page, Thumbnail, escape};
