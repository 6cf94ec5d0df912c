//! Classes learned from a few photos each, and labels for others.
//!
//! A [`Network`] turns photos into features. [`Album::fit`] learns a classifier of the classes of
//! labelled [`Photos`], measures itself on photos that it left out, and calibrates its probabilities
//! and what it calls unknown. An album is one small file ([`Album::save`], [`Album::load`]), to which
//! photos can be added ([`Album::add`]), and which labels further photos ([`Album::classify`]).
//!
//! ```no_run
//! use fewshot::{Album, FitOptions, Network, Photos};
//!
//! # fn main() -> Result<(), fewshot::Error> {
//! let network = Network::open("checkpoints/cub/cub-50-resnet10/best.safetensors".as_ref())?;
//! let album = Album::fit(&network, &Photos::labelled("birds".as_ref())?, &FitOptions::default())?;
//! for (photo, answer) in album.classify(&network, &Photos::unlabelled(&["garden".into()])?)? {
//!     println!("{}: {}", photo.name, album.describe(&answer?));
//! }
//! # Ok(())
//! # }
//! ```

#![forbid(unsafe_code)]

mod album;
mod answer;
mod calibration;
mod classifier;
mod error;
mod features;
mod file;
mod measured;
mod network;
mod photos;
mod report;
mod server;
mod table;

pub use album::{Album, Answered, FitOptions, Support, Tested};
pub use answer::Answer;
pub use classifier::HeadKind;
pub use error::Error;
pub use features::{Extracted, Wanted, extract, extract_one};
pub use measured::{Checked, HeldOut};
pub use network::Network;
pub use photos::{Photo, Photos};
pub use report::report;
pub use server::{ServeOptions, ServedAlbum, Server};
pub use table::Confusion;
