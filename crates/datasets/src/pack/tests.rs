//! From a folder to a pack and back.

use std::fs;

use super::*;

fn arguments() -> Pack {
    Pack {
        dataset: "folders".into(),
        data: None,
        path: None,
        shorter_side: None,
        out: None,
        skip_broken: false,
    }
}

/// Four classes of three images of 40×30 pixels.
fn birds(root: &Path) {
    for (number, class) in (0u8..).zip(["crow", "gull", "jay", "wren"]) {
        fs::create_dir_all(root.join(class)).unwrap();
        for image in 0..3u8 {
            let picture = image::RgbImage::from_fn(40, 30, |x, y| {
                image::Rgb([number * 60, image * 80, (x * y) as u8])
            });
            let path = root.join(class).join(image.to_string());
            if image == 1 {
                picture.save(path.with_extension("png")).unwrap();
            } else {
                fs::write(path.with_extension("jpg"), shrink::jpeg(&picture).unwrap()).unwrap();
            }
        }
    }
}

fn pack(pack: &Pack, root: &Path, out: &Path) -> Result<String, String> {
    pack.pack(SourceKind::Folders, root, out)
}

#[test]
fn a_folder_becomes_a_pack_that_is_the_same_again() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("birds");
    birds(&root);
    let [first, second] = ["first.pack", "second.pack"].map(|name| folder.path().join(name));
    let said = pack(&arguments(), &root, &first).unwrap();
    assert!(
        said.contains("12 images, ") && said.contains("base.zip: 2 classes, 6 images"),
        "{said}"
    );
    pack(&arguments(), &root, &second).unwrap();
    for split in ["base", "val", "novel"] {
        let bytes = |pack: &Path| fs::read(pack.join(format!("{split}.zip"))).unwrap();
        assert!(bytes(&first) == bytes(&second), "{split}");
    }
    let open = |root: &Path| {
        SourceSpec::new(SourceKind::Folders, root).open(fewshot_data::Split::All).unwrap()
    };
    let (packed, source) = (open(&first), open(&root));
    assert_eq!(packed.class_names(), source.class_names());
    assert_eq!(packed.labels(), source.labels());
    for index in 0..source.len() {
        assert_eq!(packed.image_path(index), source.image_path(index));
        assert_eq!(packed.bytes(index).unwrap(), source.bytes(index).unwrap());
    }
    // Nothing else is left, and nothing is ever overwritten.
    let names = fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name());
    assert_eq!(names.count(), 3);
    let error = pack(&arguments(), &root, &first).unwrap_err();
    assert!(error.contains("it is there already"), "{error}");
    let error = pack(&arguments(), &first, &folder.path().join("third")).unwrap_err();
    assert!(error.contains("a pack already"), "{error}");
}

#[test]
fn broken_images_are_named_or_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let (root, out) = (folder.path().join("birds"), folder.path().join("birds.pack"));
    birds(&root);
    let whole = fs::read(root.join("crow/2.jpg")).unwrap();
    fs::write(root.join("crow/2.jpg"), &whole[..whole.len() / 2]).unwrap();
    let error = pack(&arguments(), &root, &out).unwrap_err();
    assert!(error.contains("1 broken images") && error.contains("crow/2.jpg"), "{error}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);

    let said = pack(&Pack { skip_broken: true, ..arguments() }, &root, &out).unwrap();
    assert!(said.contains("left out: crow/2.jpg: broken image: truncated JPEG"), "{said}");
    let mut spec = SourceSpec::new(SourceKind::Folders, &out);
    let error = spec.open(fewshot_data::Split::Base).unwrap_err().to_string();
    assert!(error.contains("1 broken images are left out"), "{error}");
    spec.allow_partial = true;
    assert_eq!(spec.open(fewshot_data::Split::Base).unwrap().len(), 5);
    assert_eq!(spec.open(fewshot_data::Split::Val).unwrap().len(), 3);
}

#[test]
fn an_image_in_two_splits_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let (root, out) = (folder.path().join("birds"), folder.path().join("birds.pack"));
    birds(&root);
    let said = pack(&arguments(), &root, &out).unwrap();
    assert!(!said.contains("warning"), "{said}");
    fs::remove_dir_all(&out).unwrap();
    // crow is base, gull is val; a second copy within gull is no matter here.
    fs::copy(root.join("crow/0.jpg"), root.join("gull/copy.jpg")).unwrap();
    fs::copy(root.join("gull/1.png"), root.join("gull/again.png")).unwrap();
    let said = pack(&arguments(), &root, &out).unwrap();
    assert!(said.contains("1 images are in several splits"), "{said}");
    assert!(said.contains("base: crow/0.jpg = val: gull/copy.jpg"), "{said}");
}

#[test]
fn larger_images_are_made_smaller() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("birds");
    birds(&root);
    for (side, expected) in [(20, (27, 20)), (30, (40, 30))] {
        let out = beside(&root, Some(side), None).unwrap();
        let smaller = Pack { shorter_side: Some(side), ..arguments() };
        let said = pack(&smaller, &root, &out).unwrap();
        assert_eq!(said.contains("12 images made smaller"), side == 20, "{said}");
        let base =
            SourceSpec::new(SourceKind::Folders, out).open(fewshot_data::Split::Base).unwrap();
        for index in 0..base.len() {
            assert_eq!(base.load(index).unwrap().dimensions(), expected);
        }
    }
    assert!(folder.path().join("birds-20.pack").is_dir());
}

#[test]
fn packs_lie_beside_what_they_are_made_of() {
    let place = |root: &str| beside(Path::new(root), None, None).unwrap();
    assert_eq!(place("/data/CUB_200_2011"), Path::new("/data/CUB_200_2011.pack"));
    assert_eq!(place("/data/CUB_200_2011.tgz"), Path::new("/data/CUB_200_2011.pack"));
    assert_eq!(place("birds.v2/"), Path::new("birds.v2.pack"));
}
