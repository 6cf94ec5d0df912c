//! No image vanishes without a word: it is read, counted as passed over, or refused.

mod common;

use std::fs;

use common::*;
use fewshot_data::{Error, SourceKind, SourceSpec, Split};
use image::ImageFormat;

fn source(kind: SourceKind, files: &Files) -> (tempfile::TempDir, SourceSpec) {
    let folder = tempfile::tempdir().unwrap();
    write_folder(folder.path(), files);
    let spec = SourceSpec::new(kind, folder.path());
    (folder, spec)
}

#[test]
fn images_of_every_kind_are_read() {
    let mut tree = class_folders(&["crow", "jay"], 1);
    let kinds = [
        ("bmp", ImageFormat::Bmp),
        ("webp", ImageFormat::WebP),
        ("GIF", ImageFormat::Gif),
        ("jfif", ImageFormat::Png),
    ];
    for (ending, format) in kinds {
        let grey =
            image::DynamicImage::from(image::RgbImage::from_pixel(9, 9, image::Rgb([90; 3])));
        let mut bytes = Vec::new();
        grey.write_to(&mut std::io::Cursor::new(&mut bytes), format).unwrap();
        tree.push((format!("wren/{ending}.{ending}"), bytes));
    }
    let (_folder, spec) = source(SourceKind::Folders, &tree);
    let all = spec.open(Split::All).unwrap();
    assert_eq!((all.len(), all.class_names().len()), (6, 3));
    for index in 2..6 {
        assert_eq!(
            all.load(index).unwrap().get_pixel(4, 4).0,
            [90; 3],
            "{}",
            all.image_name(index)
        );
    }
    assert!(all.notes().is_empty(), "{:?}", all.notes());
}

#[test]
fn a_class_without_an_image_is_refused() {
    for (path, what) in
        [("jay/a.heic", "1 file: 1 .heic"), ("jay/notes", "1 file: 1 without an ending")]
    {
        for prefix in ["", "train/"] {
            let classes = ["crow", "wren"].map(|class| format!("{prefix}{class}"));
            let mut tree = class_folders(&[&classes[0], &classes[1]], 2);
            tree.push((format!("{prefix}{path}"), b"none".to_vec()));
            let (folder, mut spec) = source(SourceKind::Folders, &tree);
            let text = spec.open(Split::Base).unwrap_err().to_string();
            assert!(
                text.contains("jay/: a class without an image") && text.contains(what),
                "{text}"
            );
            spec.allow_partial = true;
            let base = spec.open(Split::Base).unwrap();
            // Without folders of splits, jay takes its place in the order, and crow and wren are base.
            assert_eq!(base.class_names(), ["crow", "wren"]);
            assert!(base.notes().iter().any(|note| note.contains(what)), "{:?}", base.notes());

            spec.allow_partial = false;
            fs::remove_file(folder.path().join(format!("{prefix}{path}"))).unwrap();
            let text = spec.open(Split::Base).unwrap_err().to_string();
            assert!(text.contains("jay/: a class without an image (no file)"), "{text}");
            fs::remove_dir(folder.path().join(format!("{prefix}jay"))).unwrap();
            assert!(spec.open(Split::Base).is_ok());
        }
    }
}

#[test]
fn empty_class_folders_of_archives_are_refused() {
    let mut builder = tar::Builder::new(tar_of(&class_folders(&["crow"], 1))[..1024].to_vec());
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Directory);
    header.set_size(0);
    builder.append_data(&mut header, "jay/", &[][..]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let archive = folder.path().join("a.tar");
    fs::write(&archive, builder.into_inner().unwrap()).unwrap();
    let error = SourceSpec::new(SourceKind::Folders, &archive).open(Split::All).unwrap_err();
    assert!(
        matches!(&error, Error::EmptyClass { folder, .. } if folder.ends_with("jay/")),
        "{error}"
    );
}

#[test]
fn images_deeper_than_others_count_to_their_class() {
    for prefix in ["", "Train/"] {
        let mut tree = class_folders(&[&format!("{prefix}crow"), &format!("{prefix}jay/old")], 2);
        tree.push((format!("{prefix}jay/a.png"), png(9)));
        let (_folder, spec) = source(SourceKind::Folders, &tree);
        let all = spec.open(Split::All).unwrap();
        assert_eq!(all.class_names(), ["crow", "jay"]);
        assert_eq!(all.labels(), [0, 0, 1, 1, 1]);
        let note = all.notes().iter().find(|note| note.contains("deeper")).unwrap();
        assert!(note.contains("2 images lie deeper") && note.contains("jay/old/00.png"), "{note}");
    }
    let (_folder, spec) = source(SourceKind::Folders, &class_folders(&["a/b", "a/c", "d/e"], 2));
    let text = spec.open(Split::All).unwrap_err().to_string();
    assert!(text.contains("6 images lie deeper than CLASS/IMAGE"), "{text}");
    assert!(text.contains("a/b/00.png"), "{text}");
}

#[test]
fn what_is_passed_over_is_counted() {
    let mut tree = class_folders(&["crow", "jay"], 2);
    for name in ["crow/a.HEIC", "jay/b.heic", "crow/notes.txt", "readme"] {
        tree.push((name.into(), b"none".to_vec()));
    }
    tree.push(("loose.png".into(), png(0)));
    let (_folder, spec) = source(SourceKind::Folders, &tree);
    let all = spec.open(Split::All).unwrap();
    assert_eq!(all.len(), 4);
    let notes = all.notes().join("\n");
    assert!(notes.contains("4 files: 2 .heic, 1 .txt, 1 without an ending"), "{notes}");
    assert!(
        notes.contains("1 images passed over that are in no class, such as `loose.png`"),
        "{notes}"
    );
}

#[test]
fn names_of_splits_may_be_in_capitals() {
    let (_folder, spec) =
        source(SourceKind::Folders, &class_folders(&["Train/a", "VAL/b", "Test/c"], 1));
    for (split, class) in [(Split::Base, "a"), (Split::Val, "b"), (Split::Novel, "c")] {
        assert_eq!(spec.open(split).unwrap().class_names(), [class]);
    }
}

#[test]
fn the_division_of_own_folders_is_told() {
    let names: Vec<_> = (0..12).map(|n| format!("class{n:02}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let (_folder, spec) = source(SourceKind::Folders, &class_folders(&names, 1));
    let base = spec.open(Split::Base).unwrap();
    let [note] = base.notes() else { panic!("{:?}", base.notes()) };
    assert!(note.contains("its 12 classes") && note.contains("6 base, 3 val, 3 novel"), "{note}");
    assert!(note.contains("train, val and test") && note.contains("--split all"), "{note}");
    // All of them are not divided, and folders divide as they say.
    assert!(spec.open(Split::All).unwrap().notes().is_empty());
    let (_folder, spec) = source(SourceKind::Folders, &class_folders(&["train/a", "val/b"], 1));
    assert!(spec.open(Split::Base).unwrap().notes().is_empty());
    // Too few classes for a novel one.
    let (_folder, spec) = source(SourceKind::Folders, &class_folders(&["a", "b"], 1));
    let text = spec.open(Split::Novel).unwrap_err().to_string();
    assert!(text.contains("1 base, 1 val, 0 novel"), "{text}");
}

#[test]
fn where_no_image_is_found_what_was_seen_is_told() {
    let (_folder, spec) =
        source(SourceKind::Folders, &files(&[("crow/a.heic", b""), ("list.txt", b"")]));
    let mut spec = spec;
    spec.allow_partial = true;
    let text = spec.open(Split::Base).unwrap_err().to_string();
    assert!(text.contains("no image at all; its root has 2 files: 1 .heic, 1 .txt"), "{text}");
}

fn list(images: &[(&str, u32)]) -> Vec<u8> {
    let (names, labels): (Vec<_>, Vec<_>) = images.iter().copied().unzip();
    let list = serde_json::json!({
        "label_names": ["a", "b"], "image_names": names, "image_labels": labels,
    });
    list.to_string().into_bytes()
}

#[test]
fn an_image_that_a_json_list_names_twice_is_refused() {
    let twice = ["images/0.png", "./images/0.png", "images/../images/0.png"];
    for again in twice {
        for label in [0, 1] {
            let listed = list(&[("images/0.png", 0), ("images/1.png", 0), (again, label)]);
            let tree = files(&[
                ("images/0.png", &png(0)),
                ("images/1.png", &png(1)),
                ("val.json", &listed),
            ]);
            let (folder, spec) = source(SourceKind::Json, &tree);
            let alone = SourceSpec::new(SourceKind::Json, folder.path().join("val.json"));
            for spec in [spec, alone] {
                let error = spec.open(Split::Val).unwrap_err();
                assert!(matches!(error, Error::Duplicate { .. }), "{error}");
                let text = error.to_string();
                assert!(text.contains("image_names[0], label `a`"), "{text}");
                let second = format!("image_names[2], label `{}`", ["a", "b"][label as usize]);
                assert!(text.contains(&second), "{text}");
            }
        }
    }
    // In two lists, when both are opened together.
    let one = list(&[("images/0.png", 0)]);
    let tree = files(&[("images/0.png", &png(0)), ("base.json", &one), ("val.json", &one)]);
    let (_folder, spec) = source(SourceKind::Json, &tree);
    assert!(spec.open(Split::Val).is_ok());
    assert!(matches!(spec.open(Split::All), Err(Error::Duplicate { .. })));
}

#[test]
fn a_list_may_have_a_byte_order_mark_and_names_in_either_normal_form() {
    let (composed, decomposed) = ("images/\u{e4}.png", "images/a\u{308}.png");
    for (listed, on_disk) in [(composed, decomposed), (decomposed, composed), (composed, composed)]
    {
        let marked = [b"\xef\xbb\xbf", &list(&[(listed, 0)])[..]].concat();
        let tree = files(&[(on_disk, &png(5)), ("val.json", &marked)]);
        let (folder, spec) = source(SourceKind::Json, &tree);
        let alone = SourceSpec::new(SourceKind::Json, folder.path().join("val.json"));
        for spec in [spec, alone] {
            assert_eq!(spec.open(Split::Val).unwrap().load(0).unwrap(), picture(5));
        }
    }
}
