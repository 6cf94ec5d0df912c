//! The legacy format: five pickles (a magic number, a protocol version, properties of the machine,
//! the object, and the list of its storages' keys), followed by the number of elements and the
//! elements of each storage.

use super::builder::Builder;
use super::storage::{Declarations, Storage};
use super::{Content, Object};
use crate::Error;
use crate::error::excerpt;
use crate::pickle::{self, Arena, Id, Node, PlainData, Reader};

const MAGIC: i128 = 0x1950_a86a_20f9_469c_fc6c;
const PROTOCOL_VERSION: i128 = 1001;

pub(super) fn parse(bytes: &[u8]) -> Result<Content, Error> {
    let mut reader = Reader::new(bytes, 0);
    check_header(&mut reader)?;

    let mut arena = Arena::<Object>::new();
    let mut builder = Builder::default();
    let root = pickle::load(&mut reader, &mut arena, &mut builder)?;

    let (keys, list) = load_plain(&mut reader)?;
    let Node::List(keys_in_order) = keys.get(list) else {
        let found = keys.get(list).kind();
        return Err(Error::storage(format!("the keys of the storages are {found}, not a list")));
    };
    let names = keys_in_order.iter().map(|key| keys.text(*key));
    let storages = read_storages(&mut reader, names, &builder.declarations)?;
    Ok(Content { arena, root, storages })
}

/// Runs a pickle of plain data.
fn load_plain(
    reader: &mut Reader,
) -> Result<(Arena<<PlainData as pickle::Builder>::Object>, Id), Error> {
    let mut arena = Arena::new();
    let root = pickle::load(reader, &mut arena, &mut PlainData)?;
    Ok((arena, root))
}

/// Checks the first three pickles.
fn check_header(reader: &mut Reader) -> Result<(), Error> {
    let magic = match load_plain(reader) {
        Ok((arena, root)) => arena.int(root),
        Err(error @ Error::Truncated { .. }) => return Err(error),
        Err(_) => None,
    };
    if magic != Some(MAGIC) {
        let found = "a pickle without the magic number of PyTorch".into();
        return Err(Error::NotACheckpoint { found });
    }
    let (arena, version) = load_plain(reader)?;
    match arena.int(version) {
        Some(PROTOCOL_VERSION) => {}
        Some(version) => {
            return Err(Error::storage(format!(
                "protocol version {version}; expected {PROTOCOL_VERSION}"
            )));
        }
        None => return Err(Error::storage("a protocol version that is no integer")),
    }
    let (arena, machine) = load_plain(reader)?;
    match arena.entry(machine, "little_endian").map(|(_, flag)| arena.get(flag)) {
        Some(Node::Bool(true)) => Ok(()),
        _ => Err(Error::storage("not noted as little-endian; save it on such a machine")),
    }
}

/// Reads the data of the storages, in the order of their keys.
fn read_storages<'k>(
    reader: &mut Reader,
    keys: impl Iterator<Item = Option<&'k str>>,
    declarations: &Declarations,
) -> Result<Vec<Storage>, Error> {
    let mut read: Vec<Option<Storage>> = declarations.list.iter().map(|_| None).collect();
    for key in keys {
        let key = key.ok_or_else(|| Error::storage("a key that is no string"))?;
        let Some(&index) = declarations.index_by_key.get(key) else {
            return Err(Error::storage(format!("`{}` is no tensor's", excerpt(key))));
        };
        let declared = &declarations.list[index as usize];
        let len = i64::from_le_bytes(reader.array()?);
        if u64::try_from(len).ok() != Some(declared.len) {
            return Err(Error::storage(format!(
                "`{}` has {len} elements where its data is, and {} where it is used",
                excerpt(key),
                declared.len
            )));
        }
        let start = reader.position();
        reader.take(declared.bytes()?)?;
        let storage = Storage { element: declared.element, data: start..reader.position() };
        if read[index as usize].replace(storage).is_some() {
            return Err(Error::storage(format!("`{}` is there twice", excerpt(key))));
        }
    }
    let complete: Option<Vec<_>> = read.into_iter().collect();
    complete.ok_or_else(|| Error::storage("the data of a tensor is missing"))
}
