//! Made-up and real copies that lack something.

use std::fs;

use report::Report;

use super::*;

/// A small CIFAR-FS: `images` of each of its first classes, no two alike.
fn cifar_fs(root: &Path, images: u8) {
    for (split, classes) in crate::download::CIFAR_FS_SPLITS {
        for (number, class) in (0u8..).zip(classes.split_whitespace().take(2)) {
            let folder = root.join(split).join(class);
            fs::create_dir_all(&folder).unwrap();
            for image in 0..images {
                let picture = picture(split.len() as u8, number, image);
                let bytes = crate::pack::shrink::jpeg(&picture).unwrap();
                fs::write(folder.join(format!("{image}.jpg")), bytes).unwrap();
            }
        }
    }
}

fn picture(a: u8, b: u8, c: u8) -> image::RgbImage {
    image::RgbImage::from_fn(32, 32, |x, y| {
        image::Rgb([
            a.wrapping_mul(20) ^ (x * 7) as u8,
            b.wrapping_mul(90) ^ (y * 7) as u8,
            c.wrapping_mul(40) ^ (x * y) as u8,
        ])
    })
}

#[test]
fn everything_amiss_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    cifar_fs(root, 3);
    let report = verify("cifar-fs", root).unwrap();
    assert_eq!(report.splits.iter().map(|row| row.images).collect::<Vec<_>>(), [6, 6, 6]);
    assert!(!report.whole && report.broken.is_empty() && report.duplicates.is_empty());
    assert_eq!((report.absent_classes.len(), report.short.len()), (94, 6));

    let train = root.join("train");
    // In val and train; in two classes of train; twice in a class of test.
    fs::copy(root.join("val/beaver/0.jpg"), train.join("apple/copy.jpg")).unwrap();
    fs::copy(train.join("apple/1.jpg"), train.join("aquarium_fish/copy.jpg")).unwrap();
    fs::copy(root.join("test/bed/2.jpg"), root.join("test/bed/copy.jpg")).unwrap();
    // Broken below the crop that a training might draw, after its end, before it, and no image.
    let whole = fs::read(train.join("apple/0.jpg")).unwrap();
    let cut = [&whole[..whole.len() * 3 / 4], &[0xff, 0xd9]].concat();
    fs::write(train.join("apple/cut.jpg"), cut).unwrap();
    fs::write(train.join("apple/long.jpg"), [&whole[..], b"garbage"].concat()).unwrap();
    fs::write(train.join("apple/short.jpg"), &whole[..whole.len() - 2]).unwrap();
    fs::write(train.join("apple/none.jpg"), b"nothing").unwrap();
    // A class of another split, notes, and an image that is nowhere.
    fs::create_dir(train.join("whale")).unwrap();
    picture(9, 9, 9).save(train.join("whale/0.png")).unwrap();
    fs::write(root.join("notes.txt"), "notes").unwrap();
    picture(8, 8, 8).save(root.join("stray.png")).unwrap();
    fs::copy(train.join("apple/2.jpg"), root.join("again.jpg")).unwrap();

    let report = verify("cifar-fs", root).unwrap();
    let of: Vec<_> = report.duplicates.iter().map(|group| group.across).collect();
    assert_eq!(of, ["splits", "classes", "nothing"], "{}", report.text(true));
    assert_eq!(
        report.duplicates[0].images,
        ["base: train/apple/copy.jpg", "val: val/beaver/0.jpg"]
    );
    let broken: Vec<_> =
        report.broken.iter().map(|b| format!("{}: {}", b.image, b.reason)).collect();
    assert_eq!(broken.len(), 4, "{broken:?}");
    assert!(broken[0].starts_with("train/apple/cut.jpg: its data is damaged"), "{broken:?}");
    assert_eq!(broken[1], "train/apple/long.jpg: 7 bytes follow the end of the image");
    assert_eq!(broken[3], "train/apple/short.jpg: truncated JPEG");
    assert_eq!(report.foreign_classes, ["base/whale"]);
    let strays: Vec<_> = report.strays.iter().map(|s| (&*s.image, s.copy_of.as_deref())).collect();
    assert_eq!(strays, [("again.jpg", Some("train/apple/2.jpg")), ("stray.png", None)]);
    let row = &report.splits[0];
    assert_eq!((row.images, row.broken, row.duplicates), (13, 4, 3));
    let text = report.text(false);
    for part in ["spoils every result", "… and", "val: 3 of 600 in 2 classes", "not whole"] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn a_whole_copy_is_whole() {
    let folder = tempfile::tempdir().unwrap();
    cifar_fs(folder.path(), 3);
    let survey = SourceSpec::new(source("cifar-fs").unwrap(), folder.path()).survey().unwrap();
    // As many of each as there are.
    let figures = crate::published::Published {
        splits: survey
            .splits
            .iter()
            .map(|split| crate::published::Expected {
                split: split.split,
                classes: 2,
                images: 6,
                names: Vec::new(),
            })
            .collect(),
        per_class: Some(3),
    };
    let mut report = Report::new("cifar-fs", "there");
    compare::counts(&mut report, &survey, &figures);
    assert!(report.is_whole(), "{}", report.text(true));
}

#[test]
fn what_is_not_there_cannot_be_verified() {
    let folder = tempfile::tempdir().unwrap();
    let error = root("cub", None, Some(folder.path())).unwrap_err();
    assert!(error.contains("CUB_200_2011: nothing there; name the folder"), "{error}");
    assert!(verify("cub", folder.path()).err().unwrap().contains("not one image of cub"));
}

fn real(name: &str) -> Option<PathBuf> {
    let root = std::env::var_os("FEWSHOT_DATA").map(|data| Path::new(&data).join(name));
    let root = root.filter(|root| root.exists());
    if root.is_none() {
        println!("skipped: FEWSHOT_DATA names no folder with {name}");
    }
    root
}

#[test]
fn exactly_what_a_partial_mini_imagenet_lacks_is_told() {
    let Some(root) = real("mini-imagenet-84") else { return };
    let report = verify("mini-imagenet", &root).unwrap();
    let rows =
        report.splits.iter().map(|r| (r.classes, r.expected_classes, r.images, r.expected_images));
    let expected = [(64, 64, 19_200, 38_400), (16, 16, 4_800, 9_600), (0, 20, 0, 12_000)];
    assert_eq!(rows.collect::<Vec<_>>(), expected);
    assert_eq!(report.short.len(), 80);
    assert!(report.short.iter().all(|class| (class.found, class.expected) == (300, 600)));
    assert_eq!(report.absent_classes.len(), 20);
    assert!(report.absent_classes.iter().all(|class| class.starts_with("novel/n")));
    assert_eq!(report.missing.len(), 60_000 - 24_000);
    assert!(report.broken.is_empty() && report.strays.is_empty(), "{}", report.text(false));
}

#[test]
fn exactly_what_a_partial_cub_lacks_is_told() {
    let Some(root) = real("cub-50") else { return };
    let report = verify("cub", &root).unwrap();
    let rows = report.splits.iter().map(|r| (r.classes, r.expected_classes));
    assert_eq!(rows.collect::<Vec<_>>(), [(25, 100), (13, 50), (0, 50)]);
    assert_eq!(report.splits.iter().map(|row| row.images).sum::<usize>(), 2_204);
    assert!(report.broken.is_empty() && report.missing.is_empty() && report.short.is_empty());
}
