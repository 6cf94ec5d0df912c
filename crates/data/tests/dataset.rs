//! Images in memory and sources of one's own go through everything that built-in sources do.

mod common;

use common::*;
use fewshot_data::{
    Dataset, Error, ImageData, ImageSource, Loader, LoaderOptions, OnBroken, SourceClass,
    SourceImage, SourceKind, SourceSpec, Split, Transform,
};

#[test]
fn images_in_memory_stay_in_their_order() {
    let images: [(ImageData, u32); 4] =
        [(png(1).into(), 1), (picture(2).into(), 0), (picture(3).into(), 1), (png(4).into(), 0)];
    let dataset = Dataset::from_images("mine", ["a", "b"], images).unwrap();
    assert_eq!((dataset.name(), dataset.labels()), ("mine", &[1, 0, 1, 0][..]));
    assert_eq!(dataset.image_name(2), "b/000001");
    for index in 0..4 {
        assert_eq!(dataset.load(index).unwrap(), picture(index as u8 + 1));
    }
    assert_eq!(dataset.bytes(0).unwrap(), png(1));
    assert!(dataset.bytes(1).unwrap_err().to_string().contains("a/000000"));
    let loader = Loader::new(dataset, Transform::eval(8), LoaderOptions::default()).unwrap();
    let batch = loader.epoch(0).next().unwrap().unwrap();
    assert_eq!((batch.labels, batch.indices), (vec![1, 0, 1, 0], vec![0, 1, 2, 3]));
}

#[test]
fn impossible_labels_are_refused() {
    let of = |names: &[&str], labels: &[u32]| {
        let images = labels.iter().map(|&label| (picture(0), label));
        Dataset::from_images("mine", names.iter().copied(), images).unwrap_err().to_string()
    };
    assert_eq!(of(&["a"], &[0, 1]), "label is 1; expected less than the 1 class names");
    assert!(of(&["a", "b"], &[0]).contains("class name is \"b\""));
}

/// Two classes of two images, of which one is drawn, one broken and one cannot be fetched.
struct Own;

impl ImageSource for Own {
    fn name(&self) -> String {
        "own".to_owned()
    }

    fn classes(&self, split: Split) -> Result<Vec<SourceClass>, Error> {
        if split == Split::Val {
            return Ok(Vec::new());
        }
        let class = |name: &str, images| SourceClass { name: name.into(), images, absent: vec![] };
        Ok(vec![
            class("empty", vec![]),
            class(
                "a",
                vec![
                    SourceImage::new("a/drawn", || Ok(picture(5).into())),
                    SourceImage::new("a/cut.png", || Ok(png(1)[..30].to_vec().into())),
                ],
            ),
            class(
                "b",
                vec![
                    SourceImage::new("b/whole.png", || Ok(png(6).into())),
                    SourceImage::new("b/absent.png", || {
                        let source = "connection refused".into();
                        Err(Error::Source { origin: "b/absent.png".into(), source })
                    }),
                ],
            ),
        ])
    }
}

#[test]
fn a_source_of_ones_own_is_a_dataset() {
    let dataset = Dataset::from_source(&Own, Split::Base).unwrap();
    assert_eq!((dataset.name(), dataset.len()), ("own/base", 4));
    assert_eq!(dataset.class_names(), ["a", "b"]);
    assert_eq!(dataset.load(0).unwrap(), picture(5));
    assert!(dataset.load(1).unwrap_err().to_string().starts_with("a/cut.png: broken image: "));
    assert_eq!(dataset.load(2).unwrap(), picture(6));
    assert_eq!(dataset.load(3).unwrap_err().to_string(), "b/absent.png: connection refused");

    let error = Dataset::from_source(&Own, Split::Val).unwrap_err();
    assert!(matches!(error, Error::EmptySplit { .. }), "{error}");
    assert!(error.to_string().starts_with("own: the `val` split"), "{error}");

    // A broken image can be skipped, an unreachable one is an error.
    let options = LoaderOptions { on_broken: OnBroken::Skip, ..LoaderOptions::default() };
    let loader = Loader::new(dataset, Transform::eval(8), options).unwrap();
    let error = loader.epoch(0).next().unwrap().unwrap_err();
    assert!(matches!(error, Error::Source { .. }), "{error}");
}

#[test]
fn an_image_cut_anywhere_is_an_error_that_names_it() {
    for (name, bytes) in [("cut.jpg", jpeg(1)), ("cut.png", png(1))] {
        let load = |bytes: &[u8]| {
            let folder = tempfile::tempdir().unwrap();
            write_folder(folder.path(), &files(&[(&format!("class/{name}"), bytes)]));
            let spec = SourceSpec::new(SourceKind::Folders, folder.path());
            spec.open(Split::All).unwrap().load(0)
        };
        assert!(load(&bytes).is_ok());
        for cut in (0..bytes.len() - 12).step_by(7) {
            let error = load(&bytes[..cut]).unwrap_err();
            assert!(matches!(&error, Error::Image { .. }), "{error}");
            assert!(error.to_string().contains(name), "{error}");
        }
    }
}
