//! Class names in any encoding stay apart, whatever holds them.

mod common;

use std::fs;
use std::path::Path;

use common::*;
use fewshot_data::{SourceKind, SourceSpec, Split};

/// Two names of the same length that differ in one letter, an encoding of both, and how they are shown
/// where nothing tells the encoding.
struct Names {
    raw: [&'static [u8]; 2],
    shown: [&'static str; 2],
    /// How a zip shows them that does not mark them as UTF-8.
    in_zip: [&'static str; 2],
}

const ENCODINGS: [(&str, Names); 5] = [
    (
        "UTF-8",
        Names {
            raw: ["B\u{e4}r".as_bytes(), "B\u{f6}r".as_bytes()],
            shown: ["B\u{e4}r", "B\u{f6}r"],
            in_zip: ["B\u{e4}r", "B\u{f6}r"],
        },
    ),
    (
        "UTF-8, decomposed",
        Names {
            raw: ["Ba\u{308}r".as_bytes(), "Bo\u{308}r".as_bytes()],
            shown: ["Ba\u{308}r", "Bo\u{308}r"],
            in_zip: ["Ba\u{308}r", "Bo\u{308}r"],
        },
    ),
    (
        "Latin-1",
        Names {
            raw: [b"B\xe4r", b"B\xf6r"],
            shown: ["B%E4r", "B%F6r"],
            in_zip: ["B\u{3a3}r", "B\u{f7}r"],
        },
    ),
    (
        "code page 437",
        Names {
            raw: [b"B\x84r", b"B\x94r"],
            shown: ["B%84r", "B%94r"],
            in_zip: ["B\u{e4}r", "B\u{f6}r"],
        },
    ),
    (
        "Shift JIS",
        Names {
            raw: [b"\x8cF", b"\x8cG"],
            shown: ["%8CF", "%8CG"],
            in_zip: ["\u{ee}F", "\u{ee}G"],
        },
    ),
];

/// The classes and their numbers of images, in the order of their names.
fn classes(root: &Path) -> Vec<(String, usize)> {
    let dataset = SourceSpec::new(SourceKind::Folders, root).open(Split::All).unwrap();
    let count = |label| dataset.labels().iter().filter(|l| **l == label).count();
    (0..dataset.len()).for_each(|index| drop(dataset.load(index).unwrap()));
    (0..).zip(dataset.class_names()).map(|(label, name)| (name.clone(), count(label))).collect()
}

fn expected(shown: [&str; 2]) -> Vec<(String, usize)> {
    let mut all = vec![("Cat".to_owned(), 2), ("Dog".to_owned(), 2)];
    all.extend(shown.map(|name| (name.to_owned(), 2)));
    all.sort();
    all
}

/// Two images of each of four classes, as raw paths.
fn tree(raw: [&[u8]; 2]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let classes: [&[u8]; 4] = [raw[0], b"Cat", raw[1], b"Dog"];
    let image = |class: usize, image: u8| {
        let path = [classes[class], b"/", &[b'a' + image], b".png"].concat();
        (path, png(class as u8 * 10 + image))
    };
    (0..4).flat_map(|class| [image(class, 0), image(class, 1)]).collect()
}

fn write(name: &str, bytes: &[u8]) -> (tempfile::TempDir, std::path::PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    fs::write(&path, bytes).unwrap();
    (folder, path)
}

#[cfg(unix)]
#[test]
fn of_folders() {
    use std::os::unix::ffi::OsStrExt;
    for (encoding, names) in ENCODINGS {
        let folder = tempfile::tempdir().unwrap();
        for (path, bytes) in tree(names.raw) {
            let path = folder.path().join(std::ffi::OsStr::from_bytes(&path));
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
        assert_eq!(classes(folder.path()), expected(names.shown), "{encoding}");
    }
}

#[test]
fn of_tars() {
    for (encoding, names) in ENCODINGS {
        let mut builder = tar::Builder::new(Vec::new());
        for (path, bytes) in tree(names.raw) {
            let mut header = tar::Header::new_gnu();
            header.as_old_mut().name[..path.len()].copy_from_slice(&path);
            header.set_entry_type(tar::EntryType::Regular);
            header.set_size(bytes.len() as u64);
            header.set_cksum();
            builder.append(&header, &bytes[..]).unwrap();
        }
        let tar = builder.into_inner().unwrap();
        for (name, bytes) in [("a.tar", tar.clone()), ("a.tgz", gzip(&tar))] {
            let (_folder, path) = write(name, &bytes);
            assert_eq!(classes(&path), expected(names.shown), "{encoding}, {name}");
        }
    }
}

/// A zip of raw names, none of which is marked as UTF-8.
fn unmarked_zip(tree: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
    // Names in ASCII first, which are then overwritten.
    let placeholder = |n: usize, len: usize| format!("{n:@>len$}");
    let files = tree.iter().enumerate();
    let files: Files =
        files.map(|(n, (path, bytes))| (placeholder(n, path.len()), bytes.clone())).collect();
    let mut zip = zip_of(&files);
    for (n, (path, _)) in tree.iter().enumerate() {
        let placeholder = placeholder(n, path.len());
        while let Some(at) = zip.windows(path.len()).position(|name| name == placeholder.as_bytes())
        {
            zip[at..at + path.len()].copy_from_slice(path);
        }
    }
    zip
}

#[test]
fn of_zips() {
    for (encoding, names) in ENCODINGS {
        let (_folder, path) = write("a.zip", &unmarked_zip(&tree(names.raw)));
        assert_eq!(classes(&path), expected(names.in_zip), "{encoding}");
    }
    let utf8 = &ENCODINGS[0].1;
    let files = tree(utf8.raw).into_iter();
    let files = files.map(|(path, bytes)| (String::from_utf8(path).unwrap(), bytes)).collect();
    let (_folder, path) = write("a.zip", &zip_of(&files));
    assert_eq!(classes(&path), expected(utf8.shown), "marked as UTF-8");
}

/// `ä` as UTF-8 and `ä` in code page 437 are different bytes of one archive: two classes.
#[test]
fn one_encoding_holds_for_all_unmarked_names_of_a_zip() {
    let (_folder, path) = write("a.zip", &unmarked_zip(&tree(["B\u{e4}r".as_bytes(), b"B\x84r"])));
    assert_eq!(classes(&path), expected(["B\u{251c}\u{f1}r", "B\u{e4}r"]));
}

#[cfg(unix)]
#[test]
fn a_name_that_reads_like_an_escaped_one_is_refused() {
    use std::os::unix::ffi::OsStrExt;
    let folder = tempfile::tempdir().unwrap();
    for (name, image) in [(&b"B\xe4r"[..], "a.png"), (b"B%E4r", "b.png"), (b"100%", "c.png")] {
        let class = folder.path().join(std::ffi::OsStr::from_bytes(name));
        fs::create_dir(&class).unwrap();
        fs::write(class.join(image), png(0)).unwrap();
    }
    let spec = SourceSpec::new(SourceKind::Folders, folder.path());
    let error = spec.open(Split::All).unwrap_err().to_string();
    assert!(error.contains("`B%E4r` is there twice"), "{error}");
    fs::remove_dir_all(folder.path().join("B%E4r")).unwrap();
    assert_eq!(spec.open(Split::All).unwrap().class_names(), ["100%", "B%E4r"]);
}
