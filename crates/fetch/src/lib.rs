//! Downloads that resume and are verified; archives that cannot escape.
//!
//! Published datasets are large, their servers break off, and what arrives has to be verified
//! before it is unpacked. This crate
//!
//! - resumes from what an earlier call left behind, whether the connection broke or the process
//!   was killed, and notices if the file has changed in between;
//! - waits as long as servers ask for, and longer after each failure, then tries the next mirror; so it
//!   does when a server sends next to nothing;
//! - follows redirects, but never from https to http, uses the proxies that the environment
//!   names, and trusts the certificates of `SSL_CERT_FILE` where that is set;
//! - accepts no more bytes than the file has, and verifies size and digest before anything
//!   else reads it;
//! - unpacks `.tar.gz` and `.zip` such that nothing gets out of the folder: no absolute
//!   path, no `..`, no link, no device, no name twice, no more bytes or entries than
//!   expected;
//! - renames every file and folder to its final name only when it is complete.
//!
//! A [`Hub`] provides files of the Hugging Face hub, [`HubFile`], from the cache that all clients
//! of the hub share. A [`Downloader`] downloads one [`Remote`] file, [`unpack`] unpacks one
//! archive, an [`Installer`] does both for all archives of a [`Package`]. [`datasets`] lists the
//! published datasets that this project trains on. Nothing is printed: a [`Listener`] receives
//! the progress.
//!
//! ```
//! use fewshot_fetch::{
//!     Archive, DigestAlgorithm, Format, Installed, Installer, Limits, Package, Remote, Size,
//! };
//!
//! # let folder = tempfile::tempdir()?;
//! # let (data, archive) = (folder.path().join("data"), folder.path().join("letters.zip"));
//! # let mut zip = zip::ZipWriter::new(std::fs::File::create(&archive)?);
//! # zip.start_file("letters/a.txt", zip::write::SimpleFileOptions::default())?;
//! # std::io::Write::write_all(&mut zip, b"A")?;
//! # zip.finish()?;
//! # let published = DigestAlgorithm::Md5.digest(&std::fs::read(&archive)?).to_string();
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
//!     required_paths: vec!["a.txt".into()],
//! };
//! // `archive` is on disk already; without `local_archives` it would be downloaded.
//! let installer = Installer { local_archives: vec![archive], ..Installer::default() };
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
mod retry_policy;
mod root_certificates;
mod space;
mod staging;
mod token;

pub use datasets::{PublishedDataset, datasets};
pub use digest::{Digest, DigestAlgorithm};
pub use download::Downloader;
pub use error::Error;
pub use extract::{Format, Limits, Unpacked, unpack};
pub use hub::{CachedFile, Hub, HubFile, HubFolders, ListedFile, Listing};
pub use install::{Convert, Installed, Installer, Readiness};
pub use package::{Archive, Package};
pub use proxy::Proxies;
pub use remote::{Event, Listener, Remote, Size, format_bytes};
pub use retry_policy::RetryPolicy;
pub use root_certificates::RootCertificates;
pub use space::{free_space, require_space};
pub use staging::{Lock, Staging};
pub use token::Token;
