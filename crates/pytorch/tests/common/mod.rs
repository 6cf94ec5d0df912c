//! Builders of pickles and checkpoints, byte by byte.

#![allow(dead_code)]

pub mod exercise;

use std::io::{Cursor, Write};
use std::path::Path;

use fewshot_pytorch::{Checkpoint, Error};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

/// Makes a pickle of protocol 2 from its opcodes.
pub fn pickle(body: &[u8]) -> Vec<u8> {
    [b"\x80\x02", body, b"."].concat()
}

pub fn text(content: &str) -> Vec<u8> {
    [b"X", &(content.len() as u32).to_le_bytes()[..], content.as_bytes()].concat()
}

pub fn long(value: i128) -> Vec<u8> {
    [b"\x8a\x10", &value.to_le_bytes()[..]].concat()
}

pub fn tuple(items: &[Vec<u8>]) -> Vec<u8> {
    [b"(", &items.concat()[..], b"t"].concat()
}

pub fn naturals(values: &[i128]) -> Vec<u8> {
    tuple(&values.iter().map(|value| long(*value)).collect::<Vec<_>>())
}

pub fn call(global: &str, arguments: &[Vec<u8>]) -> Vec<u8> {
    [b"c", global.as_bytes(), b"\n", &tuple(arguments), b"R"].concat()
}

/// Makes a storage of `len` elements of a class.
pub fn storage_of(class: &str, key: &str, len: i128) -> Vec<u8> {
    let class = format!("ctorch\n{class}\n").into_bytes();
    let id = tuple(&[text("storage"), class, text(key), text("cpu"), long(len)]);
    [&id[..], b"Q"].concat()
}

/// Makes a storage of `len` floats.
pub fn storage(key: &str, len: i128) -> Vec<u8> {
    storage_of("FloatStorage", key, len)
}

pub fn tensor(storage: Vec<u8>, offset: i128, size: &[i128], stride: &[i128]) -> Vec<u8> {
    let hooks = call("collections\nOrderedDict", &[]);
    call(
        "torch._utils\n_rebuild_tensor_v2",
        &[storage, long(offset), naturals(size), naturals(stride), b"\x89".to_vec(), hooks],
    )
}

pub fn dict(entries: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let items: Vec<_> =
        entries.iter().map(|(key, value)| [&text(key)[..], value].concat()).collect();
    [b"}(", &items.concat()[..], b"u"].concat()
}

pub const LEGACY_START: &[u8] =
    b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.\x80\x02M\xe9\x03.";

/// Makes a legacy file from the object, and the key, declared length and data of each storage.
pub fn legacy(object: &[u8], storages: &[(&str, i64, &[u8])]) -> Vec<u8> {
    let machine = pickle(&dict(&[("little_endian", b"\x88".to_vec())]));
    let keys: Vec<u8> = storages.iter().flat_map(|(key, ..)| text(key)).collect();
    let keys = pickle(&[b"](", &keys[..], b"e"].concat());
    let mut file = [LEGACY_START, &machine, &pickle(object), &keys].concat();
    for (_, len, data) in storages {
        file.extend(len.to_le_bytes());
        file.extend(*data);
    }
    file
}

pub fn zip_of(entries: &[(&str, &[u8])], method: CompressionMethod) -> Vec<u8> {
    let options = SimpleFileOptions::default().compression_method(method);
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in entries {
        archive.start_file(*name, options).unwrap();
        archive.write_all(content).unwrap();
    }
    archive.finish().unwrap().into_inner()
}

/// Makes a zip file from the object, and the key and data of each storage.
pub fn zipped(object: &[u8], storages: &[(&str, &[u8])]) -> Vec<u8> {
    let object = pickle(object);
    let names: Vec<_> = storages.iter().map(|(key, _)| format!("a/data/{key}")).collect();
    let mut entries = vec![("a/data.pkl", &object[..]), ("a/byteorder", b"little")];
    entries.extend(names.iter().zip(storages).map(|(name, (_, data))| (&name[..], *data)));
    zip_of(&entries, CompressionMethod::Stored)
}

pub fn fixture(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
    std::fs::read(&path).unwrap_or_else(|e| panic!("{path:?}: {e}"))
}

/// Returns the error message of a file.
pub fn refusal(bytes: &[u8]) -> String {
    Checkpoint::from_bytes(bytes).expect_err("a refusal").to_string()
}

/// Returns the error message of a legacy file with an object.
pub fn refusal_of(object: &[u8]) -> String {
    refusal(&legacy(object, &[]))
}

pub fn opened(object: &[u8]) -> Result<Checkpoint, Error> {
    Checkpoint::from_bytes(legacy(object, &[]))
}
