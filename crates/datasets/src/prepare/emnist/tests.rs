//! Small sets, right and wrong.

use std::io::Write;

use fewshot_data::SourceSpec;
use tempfile::TempDir;

use super::*;

/// An image that is white above and black below in upright position, in EMNIST's transposed form,
/// with `number` in its first pixel.
fn image(number: u8) -> Vec<u8> {
    let mut pixels = vec![0; PIXELS];
    for (at, pixel) in pixels.iter_mut().enumerate() {
        *pixel = if at % 28 < 14 { 200 } else { 0 };
    }
    pixels[0] = number;
    pixels
}

fn idx(sizes: &[u32], count: u32, data: &[u8]) -> Vec<u8> {
    let numbers = [0x0801 + sizes.len() as u32, count].into_iter().chain(sizes.iter().copied());
    numbers.flat_map(u32::to_be_bytes).chain(data.iter().copied()).collect()
}

/// A folder with the set `letters`: the given labels in `train`, one image of `c` in `test`.
fn letters(train: &[u8]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (part, labels) in [("train", train), ("test", &[3])] {
        let images: Vec<_> = (0..labels.len()).flat_map(|n| image(n as u8)).collect();
        let count = labels.len() as u32;
        write(&folder, &format!("{part}-images-idx3"), &idx(&[28, 28], count, &images));
        write(&folder, &format!("{part}-labels-idx1"), &idx(&[], count, labels));
    }
    folder
}

fn write(folder: &TempDir, name: &str, bytes: &[u8]) {
    fs::write(folder.path().join(format!("emnist-letters-{name}-ubyte")), bytes).unwrap();
}

fn arguments(from: &TempDir, data: &TempDir) -> PrepareEmnist {
    PrepareEmnist {
        from: from.path().to_owned(),
        set: Set::Letters,
        data: Some(data.path().to_owned()),
        images_per_class: None,
        yes: true,
        json: false,
    }
}

#[test]
fn files_become_upright_pngs_in_class_folders() {
    let (from, data) = (letters(&[1, 2, 2, 26, 1]), tempfile::tempdir().unwrap());
    // One file is compressed, in two members.
    let name = "emnist-letters-train-images-idx3-ubyte";
    let plain = fs::read(from.path().join(name)).unwrap();
    let mut packed = Vec::new();
    for part in [&plain[..1000], &plain[1000..]] {
        let mut encoder = flate2::write::GzEncoder::new(&mut packed, Default::default());
        encoder.write_all(part).unwrap();
        encoder.finish().unwrap();
    }
    fs::remove_file(from.path().join(name)).unwrap();
    fs::create_dir(from.path().join("gzip")).unwrap();
    fs::write(from.path().join("gzip").join(format!("{name}.gz")), packed).unwrap();

    // Chunks of two: the last one has images of `train` alone.
    let made = arguments(&from, &data).run_in_chunks(2).unwrap();
    let counts = "opens as dataset.source=folders with val 2 classes, 3 images; \
                  test 2 classes, 3 images";
    assert!(made.contains(counts), "{made}");
    for (path, first) in [
        ("val/01_a/train_000000.png", 0),
        ("test/02_b/train_000001.png", 1),
        ("test/02_b/train_000002.png", 2),
        ("test/26_z/train_000003.png", 3),
        ("val/01_a/train_000004.png", 4),
        ("val/03_c/test_000000.png", 0),
    ] {
        let image = image::open(data.path().join("emnist").join(path)).unwrap().into_luma8();
        let pixel = |x, y| image.get_pixel(x, y).0[0];
        assert_eq!(image.dimensions(), (28, 28));
        assert_eq!((pixel(0, 0), pixel(27, 0), pixel(0, 27)), (255 - first, 55, 255), "{path}");
    }
    let names: Vec<_> =
        fs::read_dir(data.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names, ["emnist"]);
    let all = SourceSpec::new(SourceKind::Folders, data.path().join("emnist"));
    assert_eq!(all.open(Split::All).unwrap().len(), 6);

    let again = arguments(&tempfile::tempdir().unwrap(), &data).run().unwrap();
    assert!(again.contains("is there already") && again.contains(counts), "{again}");
}

#[test]
fn the_first_images_of_each_class_can_be_taken() {
    let (from, data) = (letters(&[1, 2, 2, 2, 1]), tempfile::tempdir().unwrap());
    let few = PrepareEmnist { images_per_class: Some(1), ..arguments(&from, &data) };
    let made = PrepareEmnist { json: true, ..few }.run().unwrap();
    let report: serde_json::Value = serde_json::from_str(&made).unwrap();
    assert_eq!(report["splits"]["test"], serde_json::json!({ "classes": 1, "images": 1 }));
    assert_eq!(report["splits"]["val"], serde_json::json!({ "classes": 2, "images": 2 }));
}

#[test]
fn every_set_has_a_folder_name_for_each_class() {
    for (set, classes) in [(Set::Byclass, 62), (Set::Balanced, 47), (Set::Letters, 26)] {
        let characters = set.characters().0;
        assert_eq!((characters.len(), characters.is_ascii()), (classes, true));
    }
}

#[test]
fn files_are_not_trusted() {
    let huge = idx(&[28, 28], u32::MAX, &[]);
    let larger = idx(&[28, 1 << 20], 2, &[0; 56]);
    let images = [image(0), image(1)].concat();
    for (name, bytes, part) in [
        ("train-images-idx3", huge, "4294967295 items; expected at most"),
        ("train-images-idx3", larger, "a side of 1048576 pixels; expected 28"),
        ("train-images-idx3", idx(&[], 2, &images), "not an idx file"),
        ("train-images-idx3", b"\0\0".to_vec(), "no idx header"),
        ("train-images-idx3", idx(&[28, 28], 3, &images), "2 train labels of 3 images"),
        ("train-images-idx3", idx(&[28, 28], 2, &images[1..]), "it ends before its last item"),
        ("train-images-idx3", idx(&[28, 28], 2, &[&images[..], &[0]].concat()), "data follow"),
        ("train-labels-idx1", idx(&[], 2, &[1, 27]), "image 1 has label 27, which letters has not"),
        ("train-labels-idx1", idx(&[], 2, &[0, 1]), "image 0 has label 0"),
    ] {
        let (from, data) = (letters(&[1, 2]), tempfile::tempdir().unwrap());
        write(&from, name, &bytes);
        let error = arguments(&from, &data).run().unwrap_err();
        assert!(error.contains(part), "no `{part}`: {error}");
        assert_eq!(fs::read_dir(data.path()).unwrap().count(), 0, "something was left");
    }
    let (from, data) = (letters(&[1]), tempfile::tempdir().unwrap());
    let other = PrepareEmnist { set: Set::Byclass, ..arguments(&from, &data) };
    let error = other.run().unwrap_err();
    assert!(error.contains("expected emnist-byclass-train-images-idx3-ubyte or"), "{error}");
}
