//! Downloads that resume and are verified; archives that cannot escape.
//!
//! Published datasets are large, their servers break off, and what arrives has to be
//! trusted before it is unpacked. This crate
//!
//! - goes on from what an earlier call left, be it that the connection broke or that the
//!   process was killed, and notices where the file has changed in between;
//! - waits as servers ask and longer after each failure, then asks the next mirror;
//! - follows redirects, but never from https to http, asks the proxies that the environment
//!   names, and trusts the certificates of `SSL_CERT_FILE` where that is set;
//! - takes no more bytes than the file has, and verifies size and digest before anything
//!   else touches it;
//! - unpacks `.tar.gz` and `.zip` such that nothing gets out of the folder: no absolute
//!   path, no `..`, no link, no device, no name twice, no more bytes or entries than
//!   expected;
//! - puts every file and folder in its place only when it is whole.
//!
//! A [`Hub`] is asked for files of the Hugging Face hub, [`HubFile`], and keeps them where all
//! of its clients do. A [`Downloader`] gets one [`Remote`] file, [`unpack`] unpacks one archive, an
//! [`Installer`] does both for all archives of a [`Package`]. [`datasets`] are the published
//! ones that this project trains on. Nothing is printed: a [`Listener`] hears what happens.
//!
//! ```
//! use fewshot_fetch::{Archive, Format, Installed, Installer, Limits, Package, Remote, Size};
//!
//! # let folder = tempfile::tempdir()?;
//! # let (data, archive) = (folder.path().join("data"), folder.path().join("letters.zip"));
//! # let mut zip = zip::ZipWriter::new(std::fs::File::create(&archive)?);
//! # zip.start_file("letters/a.txt", zip::write::SimpleFileOptions::default())?;
//! # std::io::Write::write_all(&mut zip, b"A")?;
//! # zip.finish()?;
//! # let zero: fewshot_fetch::Digest = "00000000000000000000000000000000".parse()?;
//! # let published = zero.same_kind_of(&std::fs::read(&archive)?).to_string();
//! let remote = Remote {
//!     name: "letters.zip".into(),
//!     mirrors: vec!["https://example.org/letters.zip".into()],
//!     size: Size::AtMost(1 << 20),
//!     digest: published.parse()?,
//! };
//! let package = Package {
//!     folder: "letters".into(),
//!     archives: vec![Archive { remote, format: Format::Zip, strip: Some("letters".into()) }],
//!     on_disk: 1 << 20,
//!     limits: Limits { bytes: 1 << 20, entries: 100 },
//!     holds: vec!["a.txt".into()],
//! };
//! // `archive` is on disk already; without `from` it would be downloaded.
//! let installer = Installer { from: vec![archive], ..Installer::default() };
//! let installed = installer.install(&package, &data, &mut |_| {})?;
//! assert!(matches!(installed, Installed::New(..)));
//! assert_eq!(std::fs::read(data.join("letters/a.txt"))?, b"A");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]

mod address;
mod attempt;
mod client;
mod datasets;
mod digest;
mod download;
mod error;
mod extract;
mod headers;
mod hub;
mod install;
mod pace;
mod package;
mod part;
mod proxy;
mod remote;
mod roots;
mod space;
mod staging;
mod token;

pub use datasets::{PublishedDataset, datasets};
pub use digest::Digest;
pub use download::Downloader;
pub use error::Error;
pub use extract::{Format, Limits, Unpacked, unpack};
pub use hub::{Cached, Hub, HubFile, Listed, Listing};
pub use install::{Installed, Installer, Make, Readiness};
pub use pace::Pace;
pub use package::{Archive, Package};
pub use proxy::Proxies;
pub use remote::{Event, Listener, Remote, Size, bytes};
pub use roots::Roots;
pub use space::{free_space, require_space};
pub use staging::{Lock, Staging};
pub use token::Token;
