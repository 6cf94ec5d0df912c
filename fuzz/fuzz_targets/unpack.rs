//! Unpacks arbitrary bytes as an archive. The first byte chooses the format: a tar (which is
//! compressed first, as the unpacker expects), a compressed tar, or a zip.

#![no_main]

use std::io::Write;
use std::path::Path;

use fewshot_fetch::{Format, Limits, unpack};
use flate2::{Compression, write::GzEncoder};

const LIMITS: Limits = Limits { bytes: 1 << 20, entries: 200 };

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some((&form, content)) = bytes.split_first() else { return };
    let (format, content) = match form % 3 {
        0 => (Format::TarGz, compressed(content)),
        1 => (Format::TarGz, content.to_vec()),
        _ => (Format::Zip, content.to_vec()),
    };
    let outer = tempfile::tempdir().unwrap();
    let (archive, folder) = (outer.path().join("archive"), outer.path().join("folder"));
    std::fs::write(&archive, content).unwrap();
    std::fs::create_dir(&folder).unwrap();
    let strip = (form & 0x80 != 0).then_some("a");
    let unpacked = unpack(&archive, format, &folder, strip, LIMITS, &mut |_| {});
    // Nothing was written beside the folder, and only files and folders in it.
    assert_eq!(std::fs::read_dir(outer.path()).unwrap().count(), 2);
    let (mut files, mut total) = (0, 0);
    count(&folder, &mut files, &mut total);
    assert!(total <= LIMITS.bytes + 1, "{total} bytes");
    if let Ok(unpacked) = unpacked {
        assert_eq!((unpacked.files, unpacked.bytes), (files, total));
    }
});

fn compressed(tar: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(tar).unwrap();
    encoder.finish().unwrap()
}

fn count(folder: &Path, files: &mut u64, total: &mut u64) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let meta = entry.path().symlink_metadata().unwrap();
        assert!(meta.is_dir() || meta.is_file());
        if meta.is_dir() {
            count(&entry.path(), files, total);
        } else {
            *files += 1;
            *total += meta.len();
        }
    }
}
