//! The same batches whatever the number of threads; broken images; early ends.

mod common;

use std::time::{Duration, Instant};

use common::*;
use fewshot_data::{
    AugmentParams, Batch, Dataset, Error, Loader, LoaderOptions, OnBroken, Replica, SourceKind,
    SourceSpec, Split, TrainTransform, Transform, normalize,
};

/// 23 images, of which those in `broken` are cut JPEGs.
fn dataset(folder: &tempfile::TempDir, broken: &[usize]) -> Dataset {
    let tree = (0..23).map(|i| {
        let mut bytes = jpeg(i as u8 * 10);
        if broken.contains(&i) {
            bytes.truncate(bytes.len() / 2);
        }
        (format!("class{}/{i:02}.jpg", i / 6), bytes)
    });
    let folder = folder.path();
    std::fs::write(folder.join("a.tar"), tar_of(&tree.collect())).unwrap();
    SourceSpec::new(SourceKind::Folders, folder).open(Split::All).unwrap()
}

fn options() -> LoaderOptions {
    LoaderOptions { batch_size: 5, shuffle: true, seed: 7, ..LoaderOptions::default() }
}

fn train() -> Transform {
    Transform::train(TrainTransform::new(12))
}

fn batches(loader: &Loader, epoch: u64) -> Vec<Batch> {
    loader.epoch(epoch).collect::<Result<_, _>>().unwrap()
}

/// Plans applied to decoded images give the batches that the loader makes of the files.
#[test]
fn planned_batches_are_those_of_the_loader() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = dataset(&folder, &[4, 17]);
    let skip = LoaderOptions { on_broken: OnBroken::Skip, ..options() };
    let loader = Loader::new(dataset.clone(), train(), skip).unwrap();
    let decoded: Vec<_> = (0..dataset.len()).map(|index| dataset.load(index).ok()).collect();
    let size = |index: usize| decoded[index].as_ref().map(|image| image.dimensions());
    for from in [0, 2] {
        let mut epoch = loader.epoch_from(3, from);
        let mut skipped = 0;
        for planned in loader.plan_epoch_from(3, from, size) {
            let batch = epoch.next().unwrap().unwrap();
            assert_eq!((&planned.indices, &planned.labels), (&batch.indices, &batch.labels));
            let augment = |(&index, params): (&usize, &AugmentParams)| {
                normalize(&params.apply(decoded[index].as_ref().unwrap(), 12).unwrap())
            };
            let images: Vec<f32> =
                planned.indices.iter().zip(&planned.params).flat_map(augment).collect();
            assert_eq!(images, batch.images);
            skipped += planned.skipped;
            assert_eq!(skipped, epoch.skipped());
        }
        assert!(epoch.next().is_none());
        assert_eq!(skipped, epoch.skipped());
    }
}

/// The parts of a batch make up the batch, except for the last few images of an epoch.
#[test]
fn replicas_make_up_the_whole() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = dataset(&folder, &[]);
    let loader = |index, count| {
        let options = LoaderOptions {
            batch_size: 6,
            replica: Replica { rank: index, world_size: count },
            ..options()
        };
        Loader::new(dataset.clone(), train(), options)
    };
    let whole = batches(&loader(0, 1).unwrap(), 2);
    let parts: Vec<_> = (0..3).map(|index| loader(index, 3).unwrap()).collect();
    assert!(parts.iter().all(|part| part.len() == 7 && part.batches_per_epoch() == 4));
    let all: Vec<_> = parts.iter().map(|part| batches(part, 2)).collect();
    for (i, batch) in whole.iter().enumerate() {
        let indices: Vec<_> = all.iter().flat_map(|part| part[i].indices.clone()).collect();
        let images: Vec<_> = all.iter().flat_map(|part| part[i].images.clone()).collect();
        // 23 images: the last batch has 5, of which three replicas take one each.
        let count = if i == 3 { 3 } else { 6 };
        assert_eq!(indices, batch.indices[..count]);
        assert_eq!(images, batch.images[..count * batch.images.len() / batch.labels.len()]);
    }
    let later: Vec<_> = parts[1].epoch_from(2, 2).map(Result::unwrap).collect();
    assert_eq!(later, all[1][2..]);
    for (index, count) in [(0, 4), (2, 2), (0, 0)] {
        let refused = loader(index, count).map(|_| ()).unwrap_err().to_string();
        assert!(refused.contains("replica"), "{refused}");
    }
}

#[test]
fn threads_and_prefetch_change_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = dataset(&folder, &[]);
    let run = |threads, prefetch_bytes, epoch| {
        let options = LoaderOptions { threads: Some(threads), prefetch_bytes, ..options() };
        batches(&Loader::new(dataset.clone(), train(), options).unwrap(), epoch)
    };
    let expected = run(1, 0, 3);
    for threads in [1, 2, 5] {
        for prefetch in [0, 20_000, usize::MAX] {
            assert_eq!(run(threads, prefetch, 3), expected, "{threads} threads");
        }
    }
    assert_ne!(run(2, 0, 4), expected);
}

#[test]
fn an_epoch_has_every_image_once() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = dataset(&folder, &[]);
    let loader = Loader::new(dataset.clone(), train(), options()).unwrap();
    assert_eq!((loader.len(), loader.batches_per_epoch()), (23, 5));
    let batches = batches(&loader, 0);
    let sizes: Vec<_> = batches.iter().map(|batch| batch.labels.len()).collect();
    assert_eq!(sizes, [5, 5, 5, 5, 3]);
    let mut indices = Vec::new();
    for batch in &batches {
        assert_eq!(batch.images.len(), batch.indices.len() * 3 * 12 * 12);
        for (&index, &label) in batch.indices.iter().zip(&batch.labels) {
            assert_eq!(dataset.labels()[index], label);
            indices.push(index);
        }
    }
    assert!(!indices.is_sorted());
    indices.sort();
    assert_eq!(indices, (0..23).collect::<Vec<_>>());
}

#[test]
fn evaluation_keeps_the_order_and_each_row_its_image() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = dataset(&folder, &[]);
    let options = LoaderOptions { shuffle: false, ..options() };
    let loader = Loader::new(dataset.clone(), Transform::eval(12), options).unwrap();
    let mut rng = fewshot_seed::stream(0, "augment", &[]);
    let mut next = 0;
    for batch in batches(&loader, 0) {
        for (row, &index) in batch.images.chunks(3 * 12 * 12).zip(&batch.indices) {
            assert_eq!(index, next);
            next += 1;
            let image = dataset.load(index).unwrap();
            let image = Transform::eval(12).apply(&image, &mut rng).unwrap();
            assert_eq!(row, fewshot_data::normalize(&image));
        }
    }
    assert_eq!(next, 23);
}

#[test]
fn a_broken_image_ends_the_epoch_with_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let options = LoaderOptions { shuffle: false, ..options() };
    let loader = Loader::new(dataset(&folder, &[7, 8]), train(), options).unwrap();
    let mut epoch = loader.epoch(0);
    assert!(epoch.next().unwrap().is_ok());
    let error = epoch.next().unwrap().unwrap_err();
    assert!(matches!(error, Error::Image { .. }), "{error}");
    assert!(error.to_string().contains("a.tar!class1/07.jpg"), "{error}");
    assert!(epoch.next().is_none());
}

#[test]
fn broken_images_can_be_skipped() {
    let folder = tempfile::tempdir().unwrap();
    // All of the third batch, and one of the second.
    let broken = [6, 10, 11, 12, 13, 14];
    let options = LoaderOptions { shuffle: false, on_broken: OnBroken::Skip, ..options() };
    let dataset = dataset(&folder, &broken);
    let loader = Loader::new(dataset.clone(), Transform::eval(12), options).unwrap();
    let mut epoch = loader.epoch(0);
    let mut batches = Vec::new();
    let mut positions = Vec::new();
    while let Some(batch) = epoch.next() {
        batches.push(batch.unwrap());
        positions.push((epoch.batches(), epoch.skipped()));
    }
    assert_eq!(positions, [(1, 0), (2, 1), (4, 6), (5, 6)]);
    // Whoever stops after a batch goes on with the next.
    for (index, (position, _)) in positions.iter().enumerate() {
        let rest: Vec<_> = loader.epoch_from(0, *position).map(Result::unwrap).collect();
        assert_eq!(rest, batches[index + 1..]);
    }
    let mut only_broken = loader.epoch_from(0, 2);
    only_broken.next();
    assert_eq!((only_broken.batches(), only_broken.skipped()), (2, 5));
    let indices: Vec<_> = batches.iter().map(|batch| batch.indices.clone()).collect();
    let expected: [&[usize]; 4] =
        [&[0, 1, 2, 3, 4], &[5, 7, 8, 9], &[15, 16, 17, 18, 19], &[20, 21, 22]];
    assert_eq!(indices, expected);
    let mut rng = fewshot_seed::stream(0, "augment", &[]);
    let image = dataset.load(9).unwrap();
    let image = Transform::eval(12).apply(&image, &mut rng).unwrap();
    assert_eq!(batches[1].images[3 * 3 * 144..], fewshot_data::normalize(&image));
}

#[test]
fn a_dropped_epoch_stops_at_once() {
    let mut spec = SourceSpec::new(SourceKind::Glyphs, "");
    spec.glyphs.images_per_class = 100_000;
    let dataset = spec.open(Split::Val).unwrap();
    let loader = Loader::new(dataset, train(), options()).unwrap();
    for taken in 0..6 {
        let mut epoch = loader.epoch(taken);
        for _ in 0..taken {
            epoch.next().unwrap().unwrap();
        }
        let start = Instant::now();
        drop(epoch);
        assert!(start.elapsed() < Duration::from_secs(2));
    }
    // The next may begin before the last is gone.
    let first = loader.epoch(0);
    let mut second = loader.epoch(1);
    drop(first);
    assert!(second.next().unwrap().is_ok());
}

#[test]
fn senseless_options_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = dataset(&folder, &[]);
    let refused = |transform, options| {
        let error = Loader::new(dataset.clone(), transform, options).unwrap_err();
        assert!(matches!(error, Error::Parameter { .. }), "{error}");
    };
    refused(train(), LoaderOptions { batch_size: 0, ..options() });
    refused(train(), LoaderOptions { threads: Some(0), ..options() });
    refused(Transform::eval(0), options());
    refused(Transform::eval(1 << 40), options());
    let jitter = f64::NAN;
    refused(Transform::train(TrainTransform { jitter, ..TrainTransform::new(8) }), options());
}

#[test]
fn an_epoch_can_begin_within() {
    let folder = tempfile::tempdir().unwrap();
    let loader = Loader::new(dataset(&folder, &[]), train(), options()).unwrap();
    let whole = batches(&loader, 2);
    for done in [0, 1, whole.len() - 1, whole.len(), whole.len() + 3] {
        let rest: Vec<_> = loader.epoch_from(2, done).collect::<Result<_, _>>().unwrap();
        assert_eq!(rest, whole[done.min(whole.len())..], "{done} batches behind");
    }
}
