//! The published datasets, where `FEWSHOT_DATA` names a folder that holds them.

use std::path::PathBuf;

use fewshot_data::{
    Error, Loader, LoaderOptions, SourceKind, SourceSpec, Split, TrainTransform, Transform,
};

fn source(kind: SourceKind, name: &str) -> Option<SourceSpec> {
    let root = std::env::var_os("FEWSHOT_DATA").map(|data| PathBuf::from(data).join(name));
    match root {
        Some(root) if root.exists() => Some(SourceSpec::new(kind, root)),
        _ => {
            println!("skipped: FEWSHOT_DATA names no folder with {name}");
            None
        }
    }
}

#[test]
fn mini_imagenet() {
    let Some(mut spec) = source(SourceKind::MiniImageNet, "mini-imagenet-84") else {
        return;
    };
    let error = spec.open(Split::Base).unwrap_err();
    let Error::MissingImages { missing, listed, .. } = error else {
        panic!("{error}");
    };
    assert_eq!((missing, listed), (64 * 300, 64 * 600));

    spec.allow_partial = true;
    let base = spec.open(Split::Base).unwrap();
    assert_eq!((base.class_count(), base.len()), (64, 64 * 300));
    assert_eq!(base.image_name(0), "base-0.tar!n01532829/n0153282900000005.jpg");
    assert_eq!(base.load(0).unwrap().dimensions(), (84, 84));
    let val = spec.open(Split::Val).unwrap();
    assert_eq!((val.class_count(), val.len()), (16, 16 * 300));
    let error = spec.open(Split::Novel).unwrap_err();
    assert!(matches!(error, Error::EmptySplit { .. }), "{error}");

    let options = LoaderOptions { batch_size: 500, ..LoaderOptions::default() };
    let transform = Transform::train(TrainTransform::new(42));
    let loader = Loader::new(val, transform, options).unwrap();
    let seen: usize = loader.epoch(0).map(|batch| batch.unwrap().labels.len()).sum();
    assert_eq!(seen, 16 * 300);
}

#[test]
fn cub() {
    let Some(mut spec) = source(SourceKind::Cub, "cub-50") else {
        return;
    };
    let error = spec.open(Split::Base).unwrap_err();
    let Error::Incomplete { missing_classes, missing_images, .. } = error else {
        panic!("{error}");
    };
    assert_eq!((missing_classes, missing_images), (200 - 38, 11_788 - 2_204));

    spec.allow_partial = true;
    let all = spec.open(Split::All).unwrap();
    assert_eq!((all.class_count(), all.len()), (38, 2_204));
    let (base, val) = (spec.open(Split::Base).unwrap(), spec.open(Split::Val).unwrap());
    assert_eq!((base.class_count(), val.class_count()), (25, 13));
    assert!(!spec.has_split(Split::Novel).unwrap());
    for i in 0..all.len() {
        all.load(i).unwrap();
    }
    spec.root.push("CUB_200_2011.tar");
    assert_eq!(spec.open(Split::All).unwrap().class_names(), all.class_names());
}

#[test]
fn omniglot() {
    let Some(spec) = source(SourceKind::Omniglot, "omniglot") else {
        return;
    };
    let all = spec.open(Split::All).unwrap();
    assert!(all.class_names().is_sorted());
    assert_eq!(all.len(), 20 * all.class_count());
    let parts = [Split::Base, Split::Val, Split::Novel].map(|split| spec.open(split).unwrap());
    assert_eq!(parts.iter().map(|part| part.len()).sum::<usize>(), all.len());
    for i in (0..all.len()).step_by(97) {
        assert_eq!(all.load(i).unwrap().dimensions(), (105, 105));
    }
}
