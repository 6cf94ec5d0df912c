//! Labelled images of parquet files, as Hugging Face's `datasets` writes them: a column `image`
//! of `{bytes, path}`, a column `label` of integers, and the classes' names in the metadata.
//!
//! A [`ParquetShard`] is read a few rows at a time, so that memory holds a page (some megabytes), not
//! a file. Sizes in the file are checked before the `parquet` crate allocates memory for them; if
//! that crate panics nevertheless, the caller gets an [`Error`].
//!
//! ```no_run
//! let shard = fewshot_datasets::shards::ParquetShard::open("train-00000-of-00013.parquet".as_ref())?;
//! shard.for_each(&mut |row| {
//!     println!("{} bytes of class {}", row.bytes.len(), shard.names()[row.label]);
//!     Ok(())
//! })?;
//! # Ok::<(), fewshot_datasets::shards::Error>(())
//! ```

mod guard;
mod names;
mod shard;
mod thrift;

pub use shard::{Labelled, ParquetShard};

use std::path::{Path, PathBuf};

/// A file that cannot be read, with the reason.
#[derive(Debug, thiserror::Error)]
#[error("{}: {reason}", path.display())]
pub struct Error {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub reason: String,
}

impl Error {
    fn new(path: &Path, reason: impl ToString) -> Self {
        Self { path: path.to_owned(), reason: reason.to_string() }
    }
}
