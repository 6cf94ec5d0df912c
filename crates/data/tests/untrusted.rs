//! Whatever is in a file, the answer is a dataset or an error.

mod common;

use std::fs;
use std::sync::LazyLock;

use common::*;
use fewshot_data::{SourceKind, SourceSpec, Split};
use proptest::prelude::*;

/// Opens the file as a source and loads what it finds. Only a panic is wrong.
fn exercise(kind: SourceKind, name: &str, bytes: &[u8]) {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join(name), bytes).unwrap();
    let mut spec = SourceSpec::new(kind, folder.path());
    spec.allow_partial = true;
    for split in Split::VARIANTS.iter().copied() {
        if let Ok(dataset) = spec.open(split) {
            for i in 0..dataset.len() {
                let _ = dataset.load(i);
            }
        }
    }
}

/// Overwrites bytes at positions given as fractions of the length.
fn damaged(bytes: &[u8], damage: &[(f64, u8)]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for &(position, value) in damage {
        let at = (position * bytes.len() as f64) as usize;
        bytes[at] = value;
    }
    bytes
}

fn damage() -> impl Strategy<Value = Vec<(f64, u8)>> {
    prop::collection::vec((0.0..1.0, any::<u8>()), 1..12)
}

static TREE: LazyLock<Files> = LazyLock::new(|| {
    let mut tree = class_folders(&["crow", "jay"], 1);
    tree.push(("wren/a.jpg".into(), jpeg(1)));
    tree
});
static TAR: LazyLock<Vec<u8>> = LazyLock::new(|| tar_of(&TREE));
static TGZ: LazyLock<Vec<u8>> = LazyLock::new(|| gzip(&TAR));
static ZIP: LazyLock<Vec<u8>> = LazyLock::new(|| zip_of(&TREE));
static NESTED: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let class = files(&[("n01532829_5.JPEG", &jpeg(1)), ("n01532829_7.JPEG", &jpeg(2))]);
    tar_of(&files(&[("n01532829.tar", &tar_of(&class)), ("train.csv", NESTED_LIST)]))
});
const NESTED_LIST: &[u8] = b"filename,label\nn0153282900000002.jpg,n01532829\n";

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        for name in ["a.tar", "a.tgz", "a.zip"] {
            exercise(SourceKind::Folders, name, &bytes);
        }
        exercise(SourceKind::MiniImageNet, "train.csv", &bytes);
        exercise(SourceKind::Json, "base.json", &bytes);
        exercise(SourceKind::Cub, "image_class_labels.txt", &bytes);
    }

    #[test]
    fn any_csv(text in "(filename,label\n)?([a-z0-9.\"/]{0,9},?[n0-9é]{0,9}\r?\n){0,6}") {
        exercise(SourceKind::MiniImageNet, "train.csv", text.as_bytes());
    }

    #[test]
    fn any_json(names in prop::collection::vec(".{0,12}", 0..4), labels in prop::collection::vec(any::<u64>(), 0..4)) {
        let list = serde_json::json!({
            "label_names": ["a", "b"], "image_names": names, "image_labels": labels,
        });
        exercise(SourceKind::Json, "base.json", list.to_string().as_bytes());
    }

    #[test]
    fn damaged_archives(damage in damage()) {
        exercise(SourceKind::Folders, "a.tar", &damaged(&TAR, &damage));
        exercise(SourceKind::Folders, "a.tgz", &damaged(&TGZ, &damage));
        exercise(SourceKind::Folders, "a.zip", &damaged(&ZIP, &damage));
        exercise(SourceKind::MiniImageNet, "a.tar", &damaged(&NESTED, &damage));
    }

    #[test]
    fn a_tar_in_a_tar_cut_short_or_undamaged(share in 0.0..1.0) {
        let cut = (share * NESTED.len() as f64) as usize;
        exercise(SourceKind::MiniImageNet, "a.tar", &NESTED[..cut]);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.tar");
        fs::write(&path, &*NESTED).unwrap();
        let base = SourceSpec::new(SourceKind::MiniImageNet, &path).open(Split::Base).unwrap();
        prop_assert_eq!(base.image_name(0), "a.tar!n01532829/n01532829_7.JPEG");
        prop_assert_eq!(base.load(0).unwrap().dimensions(), (24, 16));
    }

    #[test]
    fn damaged_images(damage in damage()) {
        let tree = files(&[
            ("crow/a.jpg", &damaged(&jpeg(1), &damage)),
            ("crow/b.png", &damaged(&png(1), &damage)),
        ]);
        exercise(SourceKind::Folders, "a.tar", &tar_of(&tree));
    }
}
