//! A pack opens as the source that it was made of, and a hostile one is an error.

mod common;

use std::fs;
use std::sync::LazyLock;

use common::*;
use fewshot_data::{Error, PackInfo, PackWriter, SourceKind, SourceSpec, Split};
use proptest::prelude::*;
use tempfile::TempDir;

/// Everything of a split that a training depends on; nothing if there is no such split.
type Content = Option<(Vec<String>, Vec<u32>, Vec<(String, Vec<u8>)>)>;

fn everything(spec: &SourceSpec, split: Split) -> Content {
    let dataset = match spec.open(split) {
        Ok(dataset) => dataset,
        Err(Error::NoSplit { .. } | Error::EmptySplit { .. }) => return None,
        Err(e) => panic!("{e}"),
    };
    let image = |i| (dataset.image_path(i).to_owned(), dataset.bytes(i).unwrap());
    let images = (0..dataset.len()).map(image).collect();
    Some((dataset.class_names().to_vec(), dataset.labels().to_vec(), images))
}

/// Packs the source and compares the pack, and each file of it alone, with the source.
fn compare(spec: &SourceSpec) {
    let folder = tempfile::tempdir().unwrap();
    write_folder(folder.path(), &packs_of(spec));
    let packed = SourceSpec { root: folder.path().to_owned(), ..spec.clone() };
    let mut compared = 0;
    for images_per_class in [None, Some(2)] {
        for split in Split::VARIANTS.iter().copied() {
            let limited = |spec: &SourceSpec| SourceSpec { images_per_class, ..spec.clone() };
            let expected = everything(&limited(spec), split);
            assert!(everything(&limited(&packed), split) == expected, "{} {split}", spec.kind);
            let alone = folder.path().join(format!("{split}.zip"));
            if alone.exists() {
                let alone = SourceSpec { root: alone, ..limited(&packed) };
                assert!(everything(&alone, split) == expected, "{} {split} alone", spec.kind);
                compared += usize::from(expected.is_some());
            }
        }
    }
    assert!(compared >= 4, "{}: {compared}", spec.kind);
    assert_eq!(packed.survey().unwrap().unlisted.len(), 0);
}

fn source(kind: SourceKind, files: &Files) -> (TempDir, SourceSpec) {
    let folder = tempfile::tempdir().unwrap();
    write_folder(folder.path(), files);
    let spec = SourceSpec::new(kind, folder.path());
    (folder, spec)
}

#[test]
fn a_pack_is_its_source() {
    let names = ["crow", "gull", "jay", "wren", "owl"];
    let (_folder, spec) = source(SourceKind::Folders, &class_folders(&names, 4));
    compare(&spec);
    // Folders that are splits; a class that is in two of them is one where all are opened.
    let mut files = Files::new();
    for (split, classes) in
        [("train", &names[..3]), ("val", &names[2..]), ("base_val", &names[1..2])]
    {
        let below = |(path, bytes)| (format!("{split}/{path}"), bytes);
        files.extend(class_folders(classes, 3).into_iter().map(below));
    }
    let (_folder, spec) = source(SourceKind::Folders, &files);
    compare(&spec);
    // Classes by their numbers, paths that lead out of the list's folder.
    let list = |files: &[&str], labels: &[usize]| {
        let list = serde_json::json!({
            "label_names": ["wren", "crow", "a"], "image_names": files, "image_labels": labels,
        });
        list.to_string().into_bytes()
    };
    let (_folder, mut spec) = source(
        SourceKind::Json,
        &vec![
            ("lists/base.json".into(), list(&["../x/b.png", "../x/a.png"], &[2, 1])),
            ("lists/novel.json".into(), list(&["../x/c.png", "./d.png"], &[0, 0])),
            ("x/a.png".into(), png(1)),
            ("x/b.png".into(), png(2)),
            ("x/c.png".into(), png(3)),
            ("lists/d.png".into(), png(4)),
        ],
    );
    spec.root.push("lists");
    compare(&spec);
}

#[test]
fn published_data_packs_as_what_it_is() {
    let root = std::env::var_os("FEWSHOT_DATA").map(std::path::PathBuf::from).unwrap_or_default();
    if !root.join("cub-50").exists() {
        println!("skipped: FEWSHOT_DATA names no folder with cub-50");
        return;
    }
    let spec = SourceSpec::new(SourceKind::Cub, root.join("cub-50"));
    compare(&SourceSpec { allow_partial: true, ..spec });
    // A part of mini-ImageNet: its validation classes.
    let part = tempfile::tempdir().unwrap();
    for file in ["train.csv", "val.csv", "test.csv", "val.tar"] {
        fs::copy(root.join("mini-imagenet-84").join(file), part.path().join(file)).unwrap();
    }
    let spec = SourceSpec::new(SourceKind::MiniImageNet, part.path());
    let spec = SourceSpec { allow_partial: true, ..spec };
    let folder = tempfile::tempdir().unwrap();
    write_folder(folder.path(), &packs_of(&spec));
    let packed = SourceSpec { root: folder.path().to_owned(), ..spec.clone() };
    for split in [Split::Val, Split::All] {
        assert!(everything(&packed, split) == everything(&spec, split), "{split}");
    }
    assert_eq!(packed.open(Split::Val).unwrap().len(), 16 * 300);
    let error = SourceSpec { allow_partial: false, ..packed }.open(Split::Val).unwrap_err();
    assert!(error.to_string().contains("4800 of its 9600 images are absent"), "{error}");
}

#[test]
fn the_same_images_give_the_same_bytes() {
    let (_folder, spec) = source(SourceKind::Folders, &class_folders(&["crow", "jay"], 3));
    assert!(packs_of(&spec) == packs_of(&spec));
}

#[test]
fn a_pack_opens_as_what_it_is_alone() {
    let (_folder, spec) = source(SourceKind::Folders, &class_folders(&["crow", "jay"], 3));
    let folder = tempfile::tempdir().unwrap();
    write_folder(folder.path(), &packs_of(&spec));
    let error = SourceSpec::new(SourceKind::Cub, folder.path()).open(Split::Base).unwrap_err();
    assert!(error.to_string().contains("packed of a folders source, but opened as cub"), "{error}");
    let packed = SourceSpec::new(SourceKind::Folders, folder.path());
    let error = packed.open(Split::Novel).unwrap_err();
    assert!(matches!(&error, Error::NoSplit { .. }), "{error}");
    assert!(error.to_string().contains("this pack holds base, val"), "{error}");
}

/// A pack of two images, changed by `change`, opened as it is and read whole.
fn hostile(change: impl Fn(&mut Vec<u8>)) -> Result<(), Error> {
    let mut bytes = PACK.clone();
    change(&mut bytes);
    read(&bytes)
}

fn read(bytes: &[u8]) -> Result<(), Error> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("base.zip");
    fs::write(&path, bytes).unwrap();
    for root in [folder.path(), &path] {
        let dataset = SourceSpec::new(SourceKind::Folders, root).open(Split::Base)?;
        for i in 0..dataset.len() {
            dataset.load(i)?;
        }
    }
    Ok(())
}

static PACK: LazyLock<Vec<u8>> = LazyLock::new(|| pack(&["crow/a.png", "crow/b.png"]));

fn pack(paths: &[&str]) -> Vec<u8> {
    let (source, split) = (SourceKind::Folders, Split::Base);
    let info = PackInfo { source, split, partial: None, shorter_side: None };
    let mut pack = PackWriter::new(std::io::Cursor::new(Vec::new()), &info);
    pack.class("crow", 0);
    for (tag, path) in (0..).zip(paths) {
        pack.image(path, &png(tag)).unwrap();
    }
    pack.finish().unwrap().into_inner()
}

/// Returns where the central directory's record of entry `number` begins.
fn record(zip: &[u8], number: usize) -> usize {
    let records = zip.windows(4).enumerate().filter(|(_, bytes)| bytes == b"PK\x01\x02");
    records.map(|(at, _)| at).nth(number).unwrap()
}

#[test]
fn hostile_packs_are_errors_that_name_file_and_entry() {
    hostile(|_| ()).unwrap();
    let put = |at: usize, value: u32| {
        move |zip: &mut Vec<u8>| {
            let at = record(zip, 1) + at;
            zip[at..at + 4].copy_from_slice(&value.to_le_bytes());
        }
    };
    let size = png(0).len() as u32;
    let cases: Vec<(&str, Result<(), Error>, &str)> = vec![
        ("offset beyond the file", hostile(put(42, 0x7fff_0000)), "base/crow/b.png"),
        ("offset of another entry", hostile(put(42, 0)), "base/crow/"),
        ("size beyond the file", hostile(put(20, 0x7fff_0000)), "base/crow/b.png"),
        ("size into the next entry", hostile(put(20, size + 40)), "base/crow/b.png"),
        ("size in zip64 that is not there", hostile(put(20, u32::MAX)), "base.zip"),
        ("wrong CRC", hostile(put(16, 1)), "base/crow/b.png"),
        (
            "a changed byte",
            hostile(|zip| {
                let at = zip.windows(4).position(|bytes| bytes == b"IDAT").unwrap();
                zip[at + 9] ^= 1;
            }),
            "base/crow/a.png",
        ),
        (
            "compressed, of a huge claimed size",
            hostile(|zip| {
                let at = record(zip, 1);
                zip[at + 10..at + 12].copy_from_slice(&8u16.to_le_bytes());
                zip[at + 24..at + 28].copy_from_slice(&0x7000_0000u32.to_le_bytes());
            }),
            "base/crow/b.png",
        ),
        (
            "a name twice",
            hostile(|zip| {
                while let Some(at) = zip.windows(10).position(|name| name == b"crow/b.png") {
                    zip[at + 5] = b'a';
                }
            }),
            "base.zip",
        ),
        (
            "a path out of it",
            hostile(|zip| {
                while let Some(at) = zip.windows(6).position(|name| name == b"base/c") {
                    zip[at..at + 4].copy_from_slice(b"a/..");
                }
            }),
            "a/../crow/",
        ),
        (
            "an image that is absent",
            hostile(|zip| {
                // Its names in both headers, not the one in the manifest.
                while let Some(at) = zip.windows(15).position(|name| name == b"base/crow/b.png") {
                    zip[at + 10] = b'z';
                }
            }),
            "it names `base/crow/b.png`, which is absent",
        ),
    ];
    for (what, outcome, named) in cases {
        let error = outcome.expect_err(what).to_string();
        assert!(error.contains("base.zip") && error.contains(named), "{what}: {error}");
    }
}

#[test]
fn one_image_is_not_packed_twice() {
    let info = PackInfo {
        source: SourceKind::Folders,
        split: Split::Base,
        partial: None,
        shorter_side: None,
    };
    let mut pack = PackWriter::new(std::io::Cursor::new(Vec::new()), &info);
    assert!(pack.image("a.png", &png(0)).is_err());
    pack.class("crow", 0);
    pack.image("crow/a.png", &png(0)).unwrap();
    assert!(pack.image("crow/./a.png", &png(0)).is_err());
}

#[test]
fn a_pack_cut_anywhere_is_an_error() {
    for cut in (0..PACK.len()).step_by(7) {
        let error = read(&PACK[..cut]).unwrap_err();
        assert!(error.to_string().contains("base.zip"), "{error}");
    }
}

#[test]
fn what_is_there_beside_the_images_listed_is_found() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("base.zip"), &*PACK).unwrap();
    write_folder(folder.path(), &files(&[("other/x.png", &png(9)), ("notes.txt", b"notes")]));
    let survey = SourceSpec::new(SourceKind::Folders, folder.path()).survey().unwrap();
    assert_eq!((survey.unlisted.len(), survey.unlisted.image_name(0)), (1, "other/x.png".into()));
    assert_eq!(survey.splits[0].sha256.as_ref().map(String::len), Some(64));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Any damage is an error, or leaves the images what they are: there is a CRC.
    #[test]
    fn damaged_packs(damage in prop::collection::vec((0.0..1.0, any::<u8>()), 1..6)) {
        let mut bytes = PACK.clone();
        for (position, value) in damage {
            let at = (position * bytes.len() as f64) as usize;
            bytes[at] = value;
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("base.zip");
        fs::write(&path, &bytes).unwrap();
        if let Ok(dataset) = SourceSpec::new(SourceKind::Folders, &path).open(Split::Base) {
            for i in 0..dataset.len() {
                if let Ok(image) = dataset.load(i) {
                    let tag = u8::from(dataset.image_path(i).ends_with("b.png"));
                    prop_assert!(image == picture(tag));
                }
            }
        }
    }
}
