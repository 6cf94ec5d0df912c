//! What PyTorch makes of pickles: the list of what they may construct, and the two formats
//! that put the data of the storages beside them.

mod builder;
mod global;
mod legacy;
mod numpy;
mod storage;
mod zip;
mod zip_end;

use self::builder::Builder;
use self::global::Global;
use self::numpy::Scalar;
use crate::Error;
use crate::pickle::{Arena, Id, Reader};

pub(crate) use self::storage::{ElementType, Storage};

/// What a checkpoint may hold beside plain data. The parts of a tensor stay where they are in
/// the arena: they are checked when the tensor is asked for, by its name.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Object {
    Global(Global),
    Scalar(Scalar),
    /// `len` elements of a storage, from `start` on.
    Storage {
        index: u32,
        start: u64,
        len: u64,
    },
    /// A string that stays in its place in the file.
    InPlace {
        start: usize,
        len: usize,
        place: Place,
    },
    /// An array of numpy that has no state yet.
    NewArray,
    /// Its parts are checked when it is asked for.
    Array {
        element: Scalar,
        shape: Id,
        data: Id,
    },
    Tensor {
        storage: Id,
        offset: Id,
        size: Id,
        stride: Id,
    },
}

/// What the string in its place is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Place {
    /// Of Python 2: text or bytes.
    String,
    Text,
    Bytes,
    /// Bytes as a text in Latin-1, which is in UTF-8.
    Latin1,
}

/// Everything that a file holds.
pub(crate) struct Content {
    pub(crate) arena: Arena<Object>,
    pub(crate) root: Id,
    /// By the index in [`Object::Storage`].
    pub(crate) storages: Vec<Storage>,
}

/// Reads a pickle that is the whole file.
pub(crate) fn parse_pickle(bytes: &[u8]) -> Result<Content, Error> {
    let (mut arena, mut builder) = (Arena::new(), Builder::of_arrays());
    let root = crate::pickle::load(&mut Reader::new(bytes, 0), &mut arena, &mut builder)?;
    if !builder.declarations.list.is_empty() {
        return Err(Error::storage("a pickle alone, but with tensors"));
    }
    Ok(Content { arena, root, storages: Vec::new() })
}

/// Reads either format.
pub(crate) fn parse(bytes: &[u8]) -> Result<Content, Error> {
    const PICKLE_WITH_PROTOCOL: u8 = 0x80;
    if bytes.starts_with(b"PK\x03\x04") {
        zip::parse(bytes)
    } else if bytes.first() == Some(&PICKLE_WITH_PROTOCOL) {
        legacy::parse(bytes)
    } else if bytes.is_empty() {
        Err(Error::NotACheckpoint { found: "it is empty".into() })
    } else {
        let start = bytes[..bytes.len().min(8)].escape_ascii();
        Err(Error::NotACheckpoint { found: format!("it starts with `{start}`") })
    }
}
