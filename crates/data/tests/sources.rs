//! Each kind of source: its splits, its order and its errors.

mod common;

use std::fs;
use std::path::Path;

use common::*;
use fewshot_data::{Dataset, Error, SourceKind, SourceSpec, Split};

fn source(kind: SourceKind, files: &Files) -> (tempfile::TempDir, SourceSpec) {
    let folder = tempfile::tempdir().unwrap();
    write_folder(folder.path(), files);
    let spec = SourceSpec::new(kind, folder.path());
    (folder, spec)
}

fn names(dataset: &Dataset) -> Vec<String> {
    (0..dataset.len()).map(|i| dataset.image_name(i)).collect()
}

fn class_names(spec: &SourceSpec, split: Split) -> Vec<String> {
    spec.open(split).unwrap().class_names().to_vec()
}

#[test]
fn folders_without_splits_take_the_cub_rule() {
    let classes = ["f", "e", "d", "c", "b", "a"];
    let (_folder, mut spec) = source(SourceKind::Folders, &class_folders(&classes, 3));
    assert_eq!(class_names(&spec, Split::Base), ["a", "c", "e"]);
    assert_eq!(class_names(&spec, Split::Val), ["b", "f"]);
    assert_eq!(class_names(&spec, Split::Novel), ["d"]);
    assert_eq!(class_names(&spec, Split::All), ["a", "b", "c", "d", "e", "f"]);
    assert!(!spec.has_split(Split::BaseVal).unwrap());

    let base = spec.open(Split::Base).unwrap();
    assert_eq!(base.name(), "folders/base");
    assert_eq!(base.labels(), [0, 0, 0, 1, 1, 1, 2, 2, 2]);
    assert_eq!(base.image_name(3), "c/00.png");
    spec.images_per_class = Some(2);
    let base = spec.open(Split::Base).unwrap();
    assert_eq!(names(&base)[..3], ["a/00.png", "a/01.png", "c/00.png"]);
}

#[test]
fn images_of_base_classes_are_held_out() {
    let classes = ["a", "b", "c", "d"];
    let (_folder, mut spec) = source(SourceKind::Folders, &class_folders(&classes, 5));
    spec.hold_out = 2;
    let held_out = spec.open(Split::BaseVal).unwrap();
    assert_eq!(names(&held_out), ["a/03.png", "a/04.png", "c/03.png", "c/04.png"]);
    assert_eq!(held_out.labels(), [0, 0, 1, 1]);
    assert_eq!(held_out.name(), "folders/base-val");
    let base = spec.open(Split::Base).unwrap();
    assert_eq!(base.class_names(), held_out.class_names());
    assert_eq!(names(&base)[..4], ["a/00.png", "a/01.png", "a/02.png", "c/00.png"]);
    assert_eq!(spec.open(Split::Val).unwrap().len(), 5, "other classes keep all");

    spec.images_per_class = Some(3);
    assert_eq!(names(&spec.open(Split::Base).unwrap()), ["a/00.png", "c/00.png"]);
    assert_eq!(names(&spec.open(Split::BaseVal).unwrap())[..2], ["a/01.png", "a/02.png"]);

    spec.hold_out = 3;
    let error = spec.open(Split::Base).unwrap_err().to_string();
    assert!(error.contains("class `a` has 3 images"), "{error}");
    assert!(error.contains("fewer than 3"), "{error}");

    // In place of what the source itself holds out.
    let tree = class_folders(&["train/a", "base_val/a"], 2);
    let (_folder, mut spec) = source(SourceKind::Folders, &tree);
    spec.hold_out = 1;
    assert_eq!(names(&spec.open(Split::BaseVal).unwrap()), ["train/a/01.png"]);
}

#[test]
fn folders_named_as_splits_are_the_splits() {
    let tree = class_folders(&["train/b", "train/a", "val/c", "test/d", "base_val/a"], 2);
    let (_folder, spec) = source(SourceKind::Folders, &tree);
    assert_eq!(class_names(&spec, Split::Base), ["a", "b"]);
    assert_eq!(class_names(&spec, Split::Val), ["c"]);
    assert_eq!(class_names(&spec, Split::Novel), ["d"]);
    assert_eq!(class_names(&spec, Split::All), ["a", "b", "c", "d"]);
    let held_out = spec.open(Split::BaseVal).unwrap();
    assert_eq!(names(&held_out), ["base_val/a/00.png", "base_val/a/01.png"]);

    let (_folder, spec) = source(SourceKind::Folders, &class_folders(&["base/a"], 1));
    assert!(spec.has_split(Split::Base).unwrap());
    let error = spec.open(Split::Novel).unwrap_err();
    assert!(matches!(error, Error::NoSplit { .. }), "{error}");

    let (_folder, spec) = source(SourceKind::Folders, &class_folders(&["base/a", "train/b"], 1));
    let error = spec.open(Split::Base).unwrap_err();
    assert!(matches!(error, Error::Duplicate { .. }), "{error}");
}

#[test]
fn a_folder_around_the_classes_is_passed_over() {
    let tree = class_folders(&["birds/images/a", "birds/images/b"], 1);
    let (_folder, spec) = source(SourceKind::Folders, &tree);
    assert_eq!(class_names(&spec, Split::All), ["a", "b"]);
    let (_folder, spec) = source(SourceKind::Folders, &class_folders(&["birds/val/a"], 1));
    assert_eq!(class_names(&spec, Split::Val), ["a"]);
    let (_folder, spec) = source(SourceKind::Folders, &class_folders(&["a"], 2));
    assert_eq!(class_names(&spec, Split::All), ["a"]);
}

fn mini_lists() -> Files {
    files(&[
        (
            "train.csv",
            b"filename,label\nn0153282900000002.jpg,n01532829\nn0153282900000001.jpg,n01532829\n",
        ),
        ("val.csv", b"filename,label\nn0185567200000003.jpg,n01855672\n"),
        ("test.csv", b"filename,label\nn0193011200000001.jpg,n01930112\n"),
    ])
}

#[test]
fn mini_imagenet_in_class_folders_or_flat() {
    for folder in ["n01532829/", "images/"] {
        let mut tree = mini_lists();
        tree.push((format!("{folder}n0153282900000002.jpg"), jpeg(2)));
        tree.push((format!("{folder}n0153282900000001.jpg"), jpeg(1)));
        tree.push((format!("{folder}n0153282900000009.jpg"), jpeg(9)));
        let (_folder, spec) = source(SourceKind::MiniImageNet, &tree);
        let base = spec.open(Split::Base).unwrap();
        assert_eq!(base.class_names(), ["n01532829"]);
        let listed = [1, 2].map(|n| format!("{folder}n015328290000000{n}.jpg"));
        assert_eq!(names(&base), listed);
    }
}

#[test]
fn mini_imagenet_from_the_ilsvrc_training_set() {
    let mut tree = files(&[(
        "train.csv",
        b"filename,label\nn0153282900000001.jpg,n01532829\nn0153282900000003.jpg,n01532829\n",
    )]);
    // In ascending order of the number, not of the text: 7, 90, 1005.
    for (number, tag) in [(1005, 3), (7, 1), (90, 2)] {
        tree.push((format!("train/n01532829/n01532829_{number}.JPEG"), jpeg(tag)));
    }
    let (_folder, spec) = source(SourceKind::MiniImageNet, &tree);
    let mut found = names(&spec.open(Split::Base).unwrap());
    found.sort();
    let expected = [1005, 7].map(|n| format!("train/n01532829/n01532829_{n}.JPEG"));
    assert_eq!(found, expected);

    // The fourth image of a class of three is absent, and so is the zeroth.
    for rank in [0, 4] {
        let list = format!("filename,label\nn015328290000000{rank}.jpg,n01532829\n");
        tree[0].1 = list.into_bytes();
        let (_folder, spec) = source(SourceKind::MiniImageNet, &tree);
        let error = spec.open(Split::Base).unwrap_err();
        assert!(matches!(error, Error::MissingImages { missing: 1, .. }), "{error}");
    }
}

#[test]
fn absent_images_of_a_list_are_counted() {
    let mut tree = mini_lists();
    tree.push(("n01532829/n0153282900000001.jpg".into(), jpeg(0)));
    let (_folder, mut spec) = source(SourceKind::MiniImageNet, &tree);
    let text = spec.open(Split::Base).unwrap_err().to_string();
    assert!(text.contains("train.csv"), "{text}");
    assert!(text.contains("1 of its 2") && text.contains("n0153282900000002.jpg"), "{text}");

    spec.allow_partial = true;
    assert_eq!(spec.open(Split::Base).unwrap().len(), 1);
    assert_eq!(spec.open(Split::All).unwrap().class_names(), ["n01532829"]);
    let error = spec.open(Split::Novel).unwrap_err();
    assert!(matches!(error, Error::EmptySplit { .. }), "{error}");
    assert!(!spec.has_split(Split::Novel).unwrap());
}

#[test]
fn mini_imagenet_without_lists() {
    let tree = class_folders(&["train/n01532829", "val/n01855672"], 1);
    let (_folder, spec) = source(SourceKind::MiniImageNet, &tree);
    assert_eq!(class_names(&spec, Split::Base), ["n01532829"]);

    // All classes together: the published lists tell which are of the split.
    let tree = class_folders(&["x/n01532829", "x/n01855672", "x/n01440764"], 2);
    let (_folder, mut spec) = source(SourceKind::MiniImageNet, &tree);
    let error = spec.open(Split::Base).unwrap_err();
    assert!(matches!(error, Error::MissingImages { missing: 38_398, .. }), "{error}");
    spec.allow_partial = true;
    assert_eq!(class_names(&spec, Split::Base), ["n01532829"]);
    assert_eq!(class_names(&spec, Split::Val), ["n01855672"]);
    assert_eq!(class_names(&spec, Split::All), ["n01532829", "n01855672"]);

    let (_folder, spec) = source(SourceKind::MiniImageNet, &class_folders(&["a"], 1));
    let text = spec.open(Split::Base).unwrap_err().to_string();
    assert!(text.contains("train.csv"), "{text}");
    let (_folder, spec) = source(SourceKind::MiniImageNet, &mini_lists());
    assert!(!spec.has_split(Split::BaseVal).unwrap());
}

/// `classes` classes of `images` images each; an empty file will do where none is read.
fn cub(classes: usize, images: usize, folder: &str) -> Files {
    let (mut listed, mut labels, mut names) = (String::new(), String::new(), String::new());
    let mut tree = Files::new();
    let mut id = 0;
    for class in 1..=classes {
        let name = format!("{class:03}.Bird");
        names += &format!("{class} {name}\n");
        for image in 0..images {
            id += 1;
            listed += &format!("{id} {name}/Bird_{image:04}.jpg\n");
            labels += &format!("{id} {class}\n");
            tree.push((format!("{folder}images/{name}/Bird_{image:04}.jpg"), Vec::new()));
        }
    }
    for (file, text) in
        [("images.txt", listed), ("classes.txt", names), ("image_class_labels.txt", labels)]
    {
        tree.push((format!("{folder}{file}"), text.into_bytes()));
    }
    tree
}

#[test]
fn cub_divides_by_class_number() {
    for folder in ["CUB_200_2011/", ""] {
        let (_folder, mut spec) = source(SourceKind::Cub, &cub(6, 2, folder));
        spec.allow_partial = true;
        let base = spec.open(Split::Base).unwrap();
        assert_eq!(base.class_names(), ["001.Bird", "003.Bird", "005.Bird"]);
        assert_eq!(base.image_name(2), format!("{folder}images/003.Bird/Bird_0000.jpg"));
        assert_eq!(class_names(&spec, Split::Val), ["002.Bird", "006.Bird"]);
        assert_eq!(class_names(&spec, Split::Novel), ["004.Bird"]);
        assert_eq!(spec.open(Split::All).unwrap().class_count(), 6);
        assert!(!spec.has_split(Split::BaseVal).unwrap());
    }
}

#[test]
fn an_incomplete_cub_is_counted() {
    // As many classes and no fewer images than published, then without one class and one image more.
    let mut tree = cub(200, 59, "CUB_200_2011/");
    let folder = tempfile::tempdir().unwrap();
    let archive = folder.path().join("CUB_200_2011.tar");
    fs::write(&archive, tar_of(&tree)).unwrap();
    let spec = SourceSpec::new(SourceKind::Cub, &archive);
    assert_eq!(spec.open(Split::Base).unwrap().class_count(), 100);

    tree.retain(|(path, _)| {
        !path.contains("images/001.Bird/") && !path.ends_with("images/002.Bird/Bird_0000.jpg")
    });
    fs::write(&archive, tar_of(&tree)).unwrap();
    let error = spec.open(Split::Base).unwrap_err();
    let Error::Incomplete { missing_classes, missing_images, .. } = error else {
        panic!("{error}");
    };
    assert_eq!((missing_classes, missing_images), (1, 11_788 - (200 * 59 - 60)));
}

#[test]
fn malformed_cub_lists_are_named() {
    for (file, text) in [
        ("images.txt", "1\n"),
        ("images.txt", "1 a.jpg\n1 b.jpg\n"),
        ("images.txt", "99 a.jpg\n"),
        ("classes.txt", "0 a\n"),
        ("classes.txt", "4000000000 a\n"),
        ("classes.txt", "x a\n"),
        ("image_class_labels.txt", "1 9\n"),
        ("image_class_labels.txt", "1 -1\n"),
    ] {
        let mut tree = cub(2, 1, "");
        tree.iter_mut().find(|(path, _)| path == file).unwrap().1 = text.into();
        let (_folder, mut spec) = source(SourceKind::Cub, &tree);
        spec.allow_partial = true;
        let error = spec.open(Split::All).unwrap_err();
        assert!(matches!(error, Error::Index { .. }), "{file} {text}: {error}");
    }
    let (_folder, spec) = source(SourceKind::Cub, &Files::new());
    assert!(spec.open(Split::All).unwrap_err().to_string().contains("images.txt"));
}

#[test]
fn omniglot_characters_are_classes() {
    let characters =
        ["small1/Greek/character02", "small1/Greek/character01", "small2/Tagalog/character01"];
    let mut tree = class_folders(&characters, 2);
    tree.push(("small1/Greek/preview.png".into(), png(0)));
    let (folder, spec) = source(SourceKind::Omniglot, &tree);
    let all = class_names(&spec, Split::All);
    assert_eq!(all, ["Greek/character01", "Greek/character02", "Tagalog/character01"]);
    assert_eq!(class_names(&spec, Split::Val), ["Greek/character02"]);

    // A second copy counts once; another image under the same name is refused.
    let copy = "background/Greek/character02/00.png";
    let first = tree.iter().find(|(path, _)| path == "small1/Greek/character02/00.png");
    write_folder(folder.path(), &files(&[(copy, &first.unwrap().1)]));
    assert_eq!(spec.open(Split::All).unwrap().len(), 6);
    write_folder(folder.path(), &files(&[(copy, &png(99))]));
    let error = spec.open(Split::All).unwrap_err();
    assert!(matches!(error, Error::Duplicate { .. }), "{error}");
}

fn json_list(images: &[(&str, u32)]) -> Vec<u8> {
    let (names, labels): (Vec<_>, Vec<_>) = images.iter().copied().unzip();
    let labels_of_all = ["a", "b", "c", "d", "e"];
    serde_json::json!({
        "label_names": labels_of_all, "image_names": names, "image_labels": labels,
    })
    .to_string()
    .into_bytes()
}

#[test]
fn json_lists_of_sparse_labels() {
    let outside = tempfile::tempdir().unwrap();
    let absolute = outside.path().join("far.png");
    fs::write(&absolute, png(7)).unwrap();
    let absolute = absolute.to_str().unwrap();
    let mut tree = files(&[
        ("images/0.png", &png(0)),
        ("images/2.png", &png(2)),
        ("images/4.png", &png(4)),
        ("images/1.png", &png(1)),
        ("val.json", &json_list(&[("images/1.png", 1)])),
    ]);
    let base =
        json_list(&[("images/4.png", 4), (absolute, 0), ("images/2.png", 2), ("images/0.png", 0)]);
    tree.push(("base.json".into(), base));
    let (folder, spec) = source(SourceKind::Json, &tree);
    let dataset = spec.open(Split::Base).unwrap();
    assert_eq!(dataset.class_names(), ["a", "c", "e"]);
    assert_eq!(dataset.labels(), [0, 0, 1, 2]);
    assert_eq!(names(&dataset), [absolute, "images/0.png", "images/2.png", "images/4.png"]);
    assert_eq!(dataset.load(0).unwrap(), picture(7));
    assert_eq!(class_names(&spec, Split::All), ["a", "b", "c", "e"]);
    assert!(!spec.has_split(Split::Novel).unwrap());

    let single = SourceSpec::new(SourceKind::Json, folder.path().join("val.json"));
    assert_eq!(class_names(&single, Split::All), ["b"]);
    assert_eq!(class_names(&single, Split::Val), ["b"]);
    assert!(!single.has_split(Split::Base).unwrap());
}

#[test]
fn json_lists_in_an_archive_reach_only_into_it() {
    let outside = tempfile::tempdir().unwrap();
    let absolute = outside.path().join("far.png");
    fs::write(&absolute, png(7)).unwrap();
    let archive = outside.path().join("lists.tar");
    let spec = SourceSpec::new(SourceKind::Json, &archive);
    let inside = ("images/0.png", png(0));
    for (name, found) in
        [("images/0.png", true), ("../far.png", false), (absolute.to_str().unwrap(), false)]
    {
        let tree = files(&[(inside.0, &inside.1), ("base.json", &json_list(&[(name, 0)]))]);
        fs::write(&archive, tar_of(&tree)).unwrap();
        assert_eq!(spec.open(Split::Base).is_ok(), found, "{name}");
    }
}

#[test]
fn json_faults_are_named() {
    let (_folder, spec) = source(
        SourceKind::Json,
        &files(&[
            ("base.json", &json_list(&[("absent.png", 0)])),
            ("val.json", &json_list(&[("val.json", 9)])),
            ("novel.json", b"{"),
        ]),
    );
    let error = spec.open(Split::Base).unwrap_err();
    assert!(matches!(error, Error::MissingImages { missing: 1, .. }), "{error}");
    for split in [Split::Val, Split::Novel] {
        let error = spec.open(split).unwrap_err();
        assert!(matches!(error, Error::Index { .. }), "{error}");
    }
    let absent = SourceSpec::new(SourceKind::Json, Path::new("absent.json"));
    assert!(absent.open(Split::All).unwrap_err().to_string().contains("absent.json"));
}

#[test]
fn glyphs_have_their_splits() {
    let mut spec = SourceSpec::new(SourceKind::Glyphs, "");
    spec.glyphs.images_per_class = 10;
    let counts = |split| {
        let dataset = spec.open(split).unwrap();
        (dataset.class_count(), dataset.len())
    };
    assert_eq!(counts(Split::Base), (64, 640));
    assert_eq!(counts(Split::BaseVal), (64, 128));
    assert_eq!(counts(Split::Val), (16, 160));
    assert_eq!(counts(Split::Novel), (20, 200));
    assert_eq!(counts(Split::All), (100, 1000));
    let (base, held_out) = (spec.open(Split::Base).unwrap(), spec.open(Split::BaseVal).unwrap());
    assert_eq!(base.class_names(), held_out.class_names());
    assert!((0..10).all(|i| base.load(i).unwrap() != held_out.load(0).unwrap()));
    assert!(base.load(640).is_err());
}
