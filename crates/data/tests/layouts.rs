//! Layouts that users have, in every container: each is read as it is meant, or refused by what is
//! wrong with it.

mod common;

use common::*;
use fewshot_data::{SourceKind, SourceSpec, Split};

/// What is right for a layout.
enum Right {
    /// The images of each class, by their place in the list of paths.
    Classes(&'static [&'static [u8]]),
    /// The same of all classes, then of the base classes.
    Splits(&'static [&'static [u8]], &'static [&'static [u8]]),
    /// Refused, with this in the message.
    Refused(&'static str),
}
use Right::{Classes, Refused, Splits};

const PAIRS: Right = Classes(&[&[0, 1], &[2, 3]]);

/// A layout: its paths, and what is right. Files are images if their names say so.
type Layout = (&'static str, &'static [&'static str], Right);

const LAYOUTS: &[Layout] = &[
    ("classes", &["a/0.png", "a/1.png", "b/0.png", "b/1.png"], PAIRS),
    (
        "one folder around",
        &["birds/a/0.png", "birds/a/1.png", "birds/b/0.png", "birds/b/1.png"],
        PAIRS,
    ),
    (
        "two folders around",
        &[
            "birds/images/a/0.png",
            "birds/images/a/1.png",
            "birds/images/b/0.png",
            "birds/images/b/1.png",
        ],
        PAIRS,
    ),
    (
        "train, val, test",
        &["train/a/0.png", "train/b/0.png", "val/c/0.png", "test/d/0.png"],
        Splits(&[&[0], &[1], &[2], &[3]], &[&[0], &[1]]),
    ),
    (
        "base, val, novel",
        &["base/a/0.png", "base/b/0.png", "val/c/0.png", "novel/d/0.png"],
        Splits(&[&[0], &[1], &[2], &[3]], &[&[0], &[1]]),
    ),
    (
        "splits in capitals",
        &["Train/a/0.png", "TRAIN/b/0.png", "Val/c/0.png", "Test/d/0.png"],
        Refused("Train"),
    ),
    (
        "splits with a first capital",
        &["Train/a/0.png", "Train/b/0.png", "Val/c/0.png", "Test/d/0.png"],
        Splits(&[&[0], &[1], &[2], &[3]], &[&[0], &[1]]),
    ),
    (
        "splits in a folder",
        &["set/train/a/0.png", "set/train/b/0.png", "set/val/c/0.png", "set/test/d/0.png"],
        Splits(&[&[0], &[1], &[2], &[3]], &[&[0], &[1]]),
    ),
    (
        "one class in two splits",
        &["train/a/0.png", "train/b/0.png", "val/a/0.png", "test/c/0.png"],
        Splits(&[&[0, 2], &[1], &[3]], &[&[0], &[1]]),
    ),
    ("two names of a split", &["base/a/0.png", "train/b/0.png", "val/c/0.png"], Refused("train")),
    ("a class called as a split", &["train/0.png", "train/1.png", "b/0.png", "b/1.png"], PAIRS),
    ("endings in capitals", &["a/0.PNG", "a/1.JPG", "b/0.JPEG", "b/1.Png"], PAIRS),
    ("other endings", &["a/0.jpe", "a/1.jfif", "b/0.bmp", "b/1.tiff"], PAIRS),
    (
        "files of macOS and Windows",
        &[
            "a/0.png",
            "a/1.png",
            "b/0.png",
            "b/1.png",
            ".DS_Store",
            "a/.DS_Store",
            "a/._0.png",
            "b/Thumbs.db",
        ],
        PAIRS,
    ),
    (
        "a folder of macOS",
        &["a/0.png", "a/1.png", "b/0.png", "b/1.png", "__MACOSX/a/._0.png", "__MACOSX/._a"],
        PAIRS,
    ),
    (
        "checkpoints of notebooks",
        &["a/0.png", "a/1.png", "b/0.png", "b/1.png", "a/.ipynb_checkpoints/0-checkpoint.png"],
        PAIRS,
    ),
    (
        "texts beside",
        &["a/0.png", "a/1.png", "b/0.png", "b/1.png", "readme.txt", "a/notes.txt"],
        PAIRS,
    ),
    ("images beside the classes", &["a/0.png", "a/1.png", "b/0.png", "b/1.png", "c.png"], PAIRS),
    ("numbers", &["1/0.png", "1/1.png", "10/0.png", "10/1.png"], PAIRS),
    ("case alone differs", &["cat/0.png", "cat/1.png", "Cat/0.png", "Cat/1.png"], PAIRS),
    ("spaces", &["a b/0.png", "a b/1.png", "a  b/0 1.png", "a  b/1 1.png"], PAIRS),
    ("spaces at the end", &["a/0.png", "a/1.png", "a /0.png", "a /1.png"], PAIRS),
    ("dots", &["a.b/0.png", "a.b/1.png", "a.c/0.png", "a.c/1.x.png"], PAIRS),
    (
        "a class that ends as an image",
        &["a.png/0.png", "a.png/1.png", "b.png/0.png", "b.png/1.png"],
        PAIRS,
    ),
    (
        "a class that ends as an archive",
        &["a.tar/0.png", "a.tar/1.png", "b.zip/0.png", "b.zip/1.png"],
        PAIRS,
    ),
    ("signs", &["-a/0.png", "-a/1.png", "#%&!/0.png", "#%&!/1.png"], PAIRS),
    ("escaped names", &["%E4/0.png", "%E4/1.png", "%25E4/0.png", "%25E4/1.png"], PAIRS),
    ("line ends", &["a\n/0.png", "a\n/1.png", "a/0.png", "a/1.png"], PAIRS),
    ("escapes", &["\u{1b}[31ma/0.png", "\u{1b}[31ma/1.png", "\u{7}/0.png", "\u{7}/1.png"], PAIRS),
    (
        "both normal forms",
        &["\u{e9}/0.png", "\u{e9}/1.png", "e\u{301}/0.png", "e\u{301}/1.png"],
        PAIRS,
    ),
    ("one image deeper", &["a/0.png", "a/old/1.png", "b/0.png", "b/1.png"], PAIRS),
    (
        "every image deeper",
        &["a/x/0.png", "a/y/1.png", "b/x/0.png", "b/y/1.png"],
        Refused("deeper"),
    ),
    ("one image a class", &["a/0.png", "b/0.png"], Classes(&[&[0], &[1]])),
    ("one class", &["a/0.png", "a/1.png"], Classes(&[&[0, 1]])),
    ("no class", &["0.png", "1.png"], Refused("no image at all")),
    ("a class without an image", &["a/0.png", "a/1.png", "b/0.heic"], Refused("b/")),
    (
        "a class of a split without one",
        &["train/a/0.png", "train/b/0.txt", "val/c/0.png"],
        Refused("b/"),
    ),
    ("no image", &["a/0.txt", "b/0.heic"], Refused("a class without an image (1 file: 1 .txt)")),
    ("names without an ending", &["a/0", "b/0"], Refused("without an ending")),
];

fn check(what: &str, root: &std::path::Path, right: &Right) {
    let spec = SourceSpec::new(SourceKind::Folders, root);
    let all = spec.open(Split::All);
    let classes = |split| tags(&spec.open(split).unwrap_or_else(|e| panic!("{what}: {e}")));
    match right {
        Classes(expected) => assert_eq!(classes(Split::All), *expected, "{what}"),
        Splits(expected, base) => {
            assert_eq!(classes(Split::All), *expected, "{what}");
            assert_eq!(classes(Split::Base), *base, "{what}, base");
        }
        Refused(part) => {
            let message = all.err().unwrap_or_else(|| panic!("{what}: accepted")).to_string();
            assert!(message.contains(part), "{what}: {message}");
            assert!(message.contains(&root.display().to_string()), "{what}: {message}");
        }
    }
}

fn tree(paths: &[&str]) -> RawFiles {
    let files = (0..).zip(paths);
    files.map(|(tag, path)| (path.as_bytes().to_vec(), png(tag))).collect()
}

#[test]
fn of_every_container() {
    let mut inputs = 0;
    for (layout, paths, right) in LAYOUTS {
        for container in CONTAINERS {
            let (_folder, root) = container.hold(&tree(paths));
            check(&format!("{layout}, {container:?}"), &root, right);
            inputs += 1;
        }
    }
    println!("{inputs} inputs");
    assert_eq!(inputs, LAYOUTS.len() * CONTAINERS.len());
}

/// What only archives have.
#[test]
fn of_archives() {
    const ARCHIVES: &[Layout] = &[
        ("a dot before", &["./a/0.png", "./a/1.png", "./b/0.png", "./b/1.png"], PAIRS),
        ("dots within", &["a/./0.png", "a/./1.png", "b/0.png", "./b/./1.png"], PAIRS),
        ("double slashes", &["a//0.png", "a//1.png", "b/0.png", "b/1.png"], PAIRS),
        ("absolute", &["/a/0.png", "/b/1.png"], Refused("absolute")),
        ("a drive", &["C:/a/0.png", "C:/b/1.png"], Refused("absolute")),
        ("out of it", &["../a/0.png", "b/1.png"], Refused("`..`")),
        ("out of it and back", &["a/../b/0.png", "b/1.png"], Refused("`..`")),
        ("twice", &["a/0.png", "./a/0.png", "b/0.png"], Refused("twice")),
    ];
    let mut inputs = 0;
    for (layout, paths, right) in ARCHIVES {
        for container in [Container::Tar, Container::Tgz, Container::Zip] {
            let (_folder, root) = container.hold(&tree(paths));
            check(&format!("{layout}, {container:?}"), &root, right);
            inputs += 1;
        }
    }
    println!("{inputs} inputs");
    assert_eq!(inputs, 3 * ARCHIVES.len());
}

/// Windows writes zips with backslashes.
#[test]
fn of_zips_with_backslashes() {
    let mut inputs = 0;
    for (layout, paths, right) in LAYOUTS {
        let mut tree = tree(paths);
        for byte in tree.iter_mut().flat_map(|(path, _)| path) {
            *byte = if *byte == b'/' { b'\\' } else { *byte };
        }
        let (_folder, root) = Container::Zip.hold(&tree);
        check(&format!("{layout}, backslashes"), &root, right);
        inputs += 1;
    }
    println!("{inputs} inputs");
    assert_eq!(inputs, LAYOUTS.len());
}
