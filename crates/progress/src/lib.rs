//! What long-running programs and a person tell each other: [`Progress`] on a terminal or in a log
//! file, lines that the program survives if nobody can read them ([`say`], [`warn`](fn@warn),
//! [`deliver`]), a [`duration`], text from elsewhere made [`printable`], and signals to stop
//! ([`on_stop_signal`]).
//!
//! ```
//! use fewshot_progress::{Progress, Unit, duration, printable};
//!
//! let progress = Progress::new("features of glyphs/val", 200, "images");
//! progress.advance(50, || "loss 4.1589".to_owned());
//! drop(progress);
//!
//! // Several stages, in bytes or items, under one name.
//! let progress = Progress::with_stages("cub");
//! progress.set("downloading", Unit::Bytes, 1_000_000, Some(1_150_000_000));
//! progress.set("unpacking", Unit::Items("images"), 10, Some(11_788));
//!
//! assert_eq!(duration(7_500.0), "2 h 5 min");
//! assert_eq!(printable("ok\x1b[2J"), "ok?[2J");
//! ```

mod output;
mod progress;
mod signals;
mod text;

pub use output::{conclude, deliver, say, silence, warn};
pub use progress::{Progress, Unit};
pub use signals::on_stop_signal;
pub use text::{counted, duration, printable, printable_value};
