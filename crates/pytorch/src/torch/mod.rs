//! PyTorch's use of pickles: what they may construct, and the two file formats, which store the
//! data of tensors outside the pickle.

mod builder;
mod global;
mod legacy;
mod numpy;
mod storage;
mod zip;
mod zip_end;

use self::builder::Builder;
use self::global::Global;
use self::numpy::NumpyDtype;
use crate::Error;
use crate::pickle::{Arena, Id, Reader};

pub(crate) use self::storage::{ElementType, Storage};

/// What a checkpoint may have beside plain data. The parts of a tensor remain nodes of the arena:
/// they are checked when the tensor is asked for, so that errors have its key.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Object {
    Global(Global),
    Dtype(NumpyDtype),
    /// `len` elements of a storage, the first of them at `start`.
    Storage {
        index: u32,
        start: u64,
        len: u64,
    },
    /// A string that was not copied from the file.
    StringInFile {
        start: usize,
        len: usize,
        encoding: StringEncoding,
    },
    /// A numpy array whose state has not been set yet.
    UninitializedArray,
    /// A numpy array; like those of a tensor, its parts are checked later.
    Array {
        element: NumpyDtype,
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

/// Encoding of a string in the file.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum StringEncoding {
    /// `str` of Python 2: text or bytes.
    Python2,
    /// Text in UTF-8, not yet validated.
    Utf8,
    /// Bytes as they are.
    Binary,
    /// Bytes, each as a character of Latin-1 in UTF-8.
    Latin1,
}

/// The parsed content of a file.
pub(crate) struct Content {
    pub(crate) arena: Arena<Object>,
    pub(crate) root: Id,
    /// Storages, by the index of [`Object::Storage`].
    pub(crate) storages: Vec<Storage>,
}

/// Parses a file that is a single pickle.
pub(crate) fn parse_pickle(bytes: &[u8]) -> Result<Content, Error> {
    let (mut arena, mut builder) = (Arena::new(), Builder::for_arrays());
    let root = crate::pickle::load(&mut Reader::new(bytes, 0), &mut arena, &mut builder)?;
    if !builder.declarations.list.is_empty() {
        return Err(Error::storage("a pickle alone, but with tensors"));
    }
    Ok(Content { arena, root, storages: Vec::new() })
}

/// Parses a file of `torch.save`, of either format.
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
