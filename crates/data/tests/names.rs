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
fn tree(raw: [&[u8]; 2]) -> RawFiles {
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
    for (encoding, names) in ENCODINGS {
        let folder = tempfile::tempdir().unwrap();
        write_raw_folder(folder.path(), &tree(names.raw));
        assert_eq!(classes(folder.path()), expected(names.shown), "{encoding}");
    }
}

#[test]
fn of_tars() {
    for (encoding, names) in ENCODINGS {
        let tar = raw_tar(&tree(names.raw));
        for (name, bytes) in [("a.tar", tar.clone()), ("a.tgz", gzip(&tar))] {
            let (_folder, path) = write(name, &bytes);
            assert_eq!(classes(&path), expected(names.shown), "{encoding}, {name}");
        }
    }
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

/// The two names at every place of a path: which images belong together depends on none of them.
#[test]
fn at_every_place_of_a_path() {
    // The names are `<` and `>`; two images a class, told apart by their pixels.
    type Place = (&'static str, [&'static str; 6], &'static [&'static [u8]]);
    let places: [Place; 6] = [
        (
            "a class of a split",
            ["train/</a", "train/</b", "train/>/a", "train/>/b", "val/</a", "val/</b"],
            &[&[0, 1, 4, 5], &[2, 3]],
        ),
        (
            "an image",
            ["Cat/<", "Cat/>", "Dog/<", "Dog/>", "Dog/a", "Cat/a"],
            &[&[0, 1, 5], &[2, 3, 4]],
        ),
        (
            "a folder around all",
            ["</Cat/a", "</Cat/b", "</Dog/a", "</Dog/b", "</>/a", "</>/b"],
            &[&[0, 1], &[2, 3], &[4, 5]],
        ),
        (
            "a class and its images",
            ["</<", "</>", ">/<", ">/>", "Cat/<", "Cat/>"],
            &[&[0, 1], &[2, 3], &[4, 5]],
        ),
        (
            "a folder within a class",
            ["Cat/</a", "Cat/>/a", "Cat/b", "Dog/>/a", "Dog/>/b", "Dog/c"],
            &[&[0, 1, 2], &[3, 4, 5]],
        ),
        (
            "the middle of a name",
            ["a<z/a", "a<z/b", "a>z/a", "a>z/b", "a<>z/a", "a<>z/b"],
            &[&[0, 1], &[2, 3], &[4, 5]],
        ),
    ];
    let mut inputs = 0;
    for (encoding, names) in ENCODINGS {
        for (place, paths, classes) in places {
            let raw = |path: &str| -> Vec<u8> {
                let bytes = path.bytes().map(|byte| match byte {
                    b'<' => names.raw[0].to_vec(),
                    b'>' => names.raw[1].to_vec(),
                    byte => vec![byte],
                });
                [bytes.flatten().collect::<Vec<_>>(), b".png".to_vec()].concat()
            };
            let tree: RawFiles =
                (0..).zip(paths).map(|(tag, path)| (raw(path), png(tag))).collect();
            for container in CONTAINERS {
                let (_folder, root) = container.hold(&tree);
                let dataset = SourceSpec::new(SourceKind::Folders, &root).open(Split::All).unwrap();
                let what = format!("{encoding}, {place}, {container:?}");
                assert_eq!(tags(&dataset), classes, "{what}");
                for shown in dataset.class_names() {
                    assert!(!shown.contains('\u{fffd}'), "{what}: {shown}");
                }
                inputs += 1;
            }
        }
    }
    println!("{inputs} inputs");
    assert_eq!(inputs, 5 * 6 * CONTAINERS.len());
}
