//! Archives that try to write outside their folder or to fill the disk.

#[path = "common/archives.rs"]
mod archives;

use std::fs;
use std::io::Write;
use std::path::Path;

use archives::{gzip, raw_tar, tar_gz, zip};
use fewshot_fetch::{Error, Format, Limits, Unpacked, unpack};
use proptest::prelude::*;
use tar::EntryType::{self, *};
use tempfile::TempDir;
use zip::write::SimpleFileOptions;

const LIMITS: Limits = Limits { bytes: 1_000, entries: 10 };

/// Unpacks into the subfolder `out`, and checks that nothing is written beside it.
fn unpacked(
    bytes: &[u8],
    format: Format,
    strip: Option<&str>,
) -> (TempDir, Result<Unpacked, Error>) {
    let folder = tempfile::tempdir().unwrap();
    let (archive, out) = (folder.path().join("archive"), folder.path().join("out"));
    fs::write(&archive, bytes).unwrap();
    fs::create_dir(&out).unwrap();
    let done = unpack(&archive, format, &out, strip, LIMITS, &mut |_| {});
    let mut beside: Vec<_> =
        fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    beside.sort();
    assert_eq!(beside, ["archive", "out"]);
    assert!(only_files_and_folders(&out));
    (folder, done)
}

fn only_files_and_folders(folder: &Path) -> bool {
    fs::read_dir(folder).unwrap().all(|entry| {
        let entry = entry.unwrap();
        let kind = entry.file_type().unwrap();
        kind.is_file() || kind.is_dir() && only_files_and_folders(&entry.path())
    })
}

fn refused(bytes: &[u8], format: Format) -> String {
    unpacked(bytes, format, None).1.unwrap_err().to_string()
}

fn tar_of(entries: &[(&[u8], EntryType, &[u8])]) -> Vec<u8> {
    gzip(&raw_tar(entries))
}

#[test]
fn valid_archives_are_unpacked() {
    let entries =
        [("top/", None), ("top/a/b.txt", Some(&b"bee"[..])), ("top/a/", None), ("c", Some(b""))];
    for (bytes, format) in [(tar_gz(&entries), Format::TarGz), (zip(&entries), Format::Zip)] {
        for strip in [None, Some("top")] {
            let (folder, done) = unpacked(&bytes, format, strip);
            assert_eq!(done.unwrap(), Unpacked { files: 2, bytes: 3 });
            let top = if strip.is_some() { "out" } else { "out/top" };
            assert_eq!(fs::read(folder.path().join(top).join("a/b.txt")).unwrap(), b"bee");
            assert_eq!(fs::read(folder.path().join("out/c")).unwrap(), b"");
        }
    }
}

#[test]
fn long_names_of_a_tar_are_read() {
    let name = ["x".repeat(200), "y".repeat(100)].join("/");
    let (folder, done) = unpacked(&tar_gz(&[(&name, Some(b"1"))]), Format::TarGz, None);
    done.unwrap();
    assert_eq!(fs::read(folder.path().join("out").join(name)).unwrap(), b"1");
}

#[test]
fn names_that_lead_out_are_refused() {
    for (name, why) in [
        (&b"../evil"[..], "`..`"),
        (b"a/../../evil", "`..`"),
        (b"/tmp/evil", "absolute"),
        (b"..\\evil", "backslash"),
        (b"c:/evil", "colon"),
        (b"a\xff", "not UTF-8"),
        (b"con.jpg", "device"),
        (b".", "in place of the folder"),
    ] {
        let error = refused(&tar_of(&[(name, Regular, b"x")]), Format::TarGz);
        assert!(error.contains(why) && error.contains("archive: entry `"), "{error}");
        if let Ok(name) = str::from_utf8(name) {
            let error = refused(&zip(&[(name, Some(b"x"))]), Format::Zip);
            assert!(error.contains(why) && error.contains("archive: entry `"), "{error}");
        }
    }
}

#[test]
fn what_is_neither_file_nor_folder_is_refused() {
    for kind in [Symlink, Link, Char, Block, Fifo, EntryType::new(b'Z')] {
        let error = refused(&tar_of(&[(b"a", kind, b"")]), Format::TarGz);
        assert!(error.contains("a link, a device or the like is refused"), "{kind:?}: {error}");
    }
    // A link first, and then a file through it.
    let through = tar_of(&[(b"a", Symlink, b""), (b"a/b", Regular, b"x")]);
    assert!(refused(&through, Format::TarGz).contains("entry `a`"));

    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    writer.add_symlink("a", "/etc/passwd", SimpleFileOptions::default()).unwrap();
    let link = writer.finish().unwrap().into_inner();
    assert!(refused(&link, Format::Zip).contains("a link, a device or the like is refused"));
}

#[test]
fn names_that_are_there_twice_are_refused() {
    let file = |name: &'static [u8]| (name, Regular, &b"x"[..]);
    let folder = |name: &'static [u8]| (name, Directory, &b""[..]);
    for (entries, why) in [
        ([file(b"a"), file(b"a")], "there twice"),
        ([file(b"a"), file(b"./a")], "there twice"),
        ([folder(b"a/"), folder(b"a")], "there twice"),
        ([folder(b"a/"), file(b"a")], "there twice"),
        ([file(b"a"), folder(b"a/")], "there twice"),
        ([file(b"a/b"), file(b"a")], "there twice"),
        ([file(b"a"), file(b"a/b")], "lies in a file"),
    ] {
        let error = refused(&tar_of(&entries), Format::TarGz);
        assert!(error.contains(why), "{entries:?}: {error}");
    }
    // Stripping may make two names equal.
    let twice = tar_of(&[file(b"top/a"), file(b"a")]);
    let error = unpacked(&twice, Format::TarGz, Some("top")).1.unwrap_err().to_string();
    assert!(error.contains("there twice"), "{error}");
    // The zip crate writes no duplicates, so the second name is changed in its output.
    let mut bytes = zip(&[("aa", Some(b"x")), ("ab", Some(b"y"))]);
    for at in 0..bytes.len() - 1 {
        if &bytes[at..at + 2] == b"ab" {
            bytes[at + 1] = b'a';
        }
    }
    assert!(refused(&bytes, Format::Zip).contains("the same name"));
}

#[test]
fn archives_that_hold_too_much_are_refused() {
    let large = [("a", Some(&[7; 600][..])), ("b", Some(&[7; 600]))];
    let names: Vec<_> = (0..11).map(|n| format!("f{n}")).collect();
    let many: Vec<_> = names.iter().map(|name| (&**name, Some(&b""[..]))).collect();
    for (entries, why) in [(&large[..], "more than 1000 bytes"), (&many, "more than 10 entries")] {
        for (bytes, format) in [(tar_gz(entries), Format::TarGz), (zip(entries), Format::Zip)] {
            let error = refused(&bytes, format);
            assert!(error.contains(why), "{error}");
        }
    }
    // A name of 40 MB is not kept in memory, nor is what follows the end read.
    let long = vec![b'x'; 40 << 20];
    let error = refused(&tar_of(&[(b"././@LongLink", GNULongName, &long)]), Format::TarGz);
    assert!(error.contains("more than a megabyte of names"), "{error}");
    let mut behind = raw_tar(&[(b"a", Regular, b"x")]);
    behind.resize(40 << 20, 1);
    let error = refused(&gzip(&behind), Format::TarGz);
    assert!(error.contains("after the end"), "{error}");
}

#[test]
fn a_zip_that_lies_about_sizes_is_refused() {
    let good = zip(&[("a", Some(&[7; 400]))]);
    // Both headers have the sizes as little-endian numbers.
    let mut bytes = good.clone();
    let declared = 400u32.to_le_bytes();
    for at in 0..bytes.len() - 4 {
        if bytes[at..at + 4] == declared {
            bytes[at..at + 4].copy_from_slice(&100u32.to_le_bytes());
        }
    }
    assert_ne!(bytes, good);
    let (folder, done) = unpacked(&bytes, Format::Zip, None);
    let error = done.unwrap_err().to_string();
    assert!(error.contains("archive"), "{error}");
    assert!(fs::metadata(folder.path().join("out/a")).unwrap().len() <= 101);
}

#[test]
fn archives_that_are_cut_off_or_damaged_are_refused() {
    let entries = [("a", Some(&[7; 300][..])), ("b", Some(&[8; 300]))];
    for (bytes, format) in [(tar_gz(&entries), Format::TarGz), (zip(&entries), Format::Zip)] {
        for len in 0..bytes.len() {
            assert!(unpacked(&bytes[..len], format, None).1.is_err(), "{format:?} {len}");
        }
        assert!(refused(b"<html>Not found</html>", format).contains("not a readable archive"));
        let other = if format == Format::Zip { Format::TarGz } else { Format::Zip };
        assert!(refused(&bytes, other).contains("not a readable archive"));
    }
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(&raw_tar(&[(b"a", Regular, b"x")])).unwrap();
    let mut bytes = encoder.finish().unwrap();
    let checksum = bytes.len() - 8;
    bytes[checksum] ^= 1;
    assert!(refused(&bytes, Format::TarGz).contains("not a readable archive"));
}

#[test]
fn a_file_that_lies_there_is_not_written_over() {
    let folder = tempfile::tempdir().unwrap();
    let archive = folder.path().join("archive");
    fs::write(&archive, tar_gz(&[("a", Some(b"new"))])).unwrap();
    let out = folder.path().join("out");
    fs::create_dir(&out).unwrap();
    fs::write(out.join("a"), "old").unwrap();
    let done = unpack(&archive, Format::TarGz, &out, None, LIMITS, &mut |_| {});
    assert!(matches!(done, Err(Error::Io { .. })));
    assert_eq!(fs::read(out.join("a")).unwrap(), b"old");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn hostile_tars_stay_in_their_folder(
        entries in proptest::collection::vec(
            (
                prop_oneof!["(\\.\\./|/|\\./|a/|b/|\\\\|c:){0,3}[ab.]{0,2}".prop_map(String::into_bytes),
                    proptest::collection::vec(any::<u8>(), 0..20)],
                prop_oneof![Just(b'0'), Just(b'1'), Just(b'2'), Just(b'5'), Just(b'L'), any::<u8>()],
                proptest::collection::vec(any::<u8>(), 0..40),
            ),
            0..6,
        )
    ) {
        let entries: Vec<_> = entries
            .iter()
            .map(|(name, kind, content)| (&**name, EntryType::new(*kind), &**content))
            .collect();
        let _ = unpacked(&tar_of(&entries), Format::TarGz, Some("a"));
    }

    #[test]
    fn damaged_archives_are_errors(
        (at, value) in (any::<prop::sample::Index>(), any::<u8>()),
        format in prop_oneof![Just(Format::TarGz), Just(Format::Zip)],
    ) {
        let entries = [("a/b", Some(&b"content"[..])), ("c/", None)];
        let mut bytes = match format {
            Format::TarGz => raw_tar(&[(b"a/b", Regular, b"content"), (b"c/", Directory, b"")]),
            Format::Zip | Format::Plain => zip(&entries),
        };
        let at = at.index(bytes.len());
        bytes[at] = value;
        let bytes = if format == Format::TarGz { gzip(&bytes) } else { bytes };
        let _ = unpacked(&bytes, format, None);
    }
}
