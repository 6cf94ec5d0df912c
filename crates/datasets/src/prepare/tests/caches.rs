//! Pickled caches, as Python writes them and as nobody should.

use proptest::prelude::*;

use super::*;
use crate::prepare::cache::Cache;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/prepare/fixtures").join(name)
}

/// What the fixtures' pixels are.
fn pixel(image: usize, x: u32, y: u32) -> image::Rgb<u8> {
    let channel = |c: u32| (97 * image as u32 + 31 * y + 7 * x + 3 * c) as u8;
    image::Rgb([channel(0), channel(1), channel(2)])
}

fn assert_made_of_cache(from: &Path) {
    let made = made(&[from]).unwrap();
    assert_eq!(made.len(), 7);
    for (index, name) in [
        (0, "train/n01532829/n0153282900000001.png"),
        (2, "train/n01532829/n0153282900000002.png"),
        (6, "train/n01532829/n0153282900000004.png"),
        (1, "val/n01855672/n0185567200000001.png"),
        (5, "val/n01855672/n0185567200000003.png"),
    ] {
        let found = image::load_from_memory(&made[name]).unwrap().into_rgb8();
        let expected = image::RgbImage::from_fn(16, 16, |x, y| pixel(index, x, y));
        assert!(found == expected, "{from:?} {name}");
    }
}

#[test]
fn pickled_caches_of_every_protocol() {
    for protocol in 2..=5 {
        assert_made_of_cache(&fixture(&format!("protocol{protocol}.pkl")));
    }
    assert_made_of_cache(&fixture("labels.pickle"));
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("cache"), python_2()).unwrap();
    assert_made_of_cache(&folder.path().join("cache"));

    // A folder of caches, of which two have the same classes; and a folder that has them, too.
    for name in ["protocol2.pkl", "protocol3.pkl"] {
        fs::copy(fixture(name), folder.path().join(name)).unwrap();
    }
    let error = made(&[folder.path()]).unwrap_err();
    assert!(error.contains("protocol3.pkl: class n01532829 is in "), "{error}");
    let images = tempfile::tempdir().unwrap();
    write(images.path(), &wanted());
    let error = made(&[images.path(), &fixture("protocol2.pkl")]).unwrap_err();
    assert!(error.contains("n01532829/n0153282900000005.jpg, too"), "{error}");
}

/// The fixture as Python 2 and the numpy of its time write it: every string is a byte string.
fn python_2() -> Vec<u8> {
    let pixels: Vec<u8> = (0..7)
        .flat_map(|n| (0..16).flat_map(move |y| (0..16).flat_map(move |x| pixel(n, x, y).0)))
        .collect();
    let array = [
        &b"cnumpy.core.multiarray\n_reconstruct\nq\x01cnumpy\nndarray\nq\x02K\x00\x85U\x01b\x87R"[..],
        b"(K\x01(K\x07K\x10K\x10K\x03tcnumpy\ndtype\nU\x02u1K\x00K\x01\x87R",
        b"(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89T",
        &(pixels.len() as u32).to_le_bytes(),
        &pixels,
        b"tb",
    ]
    .concat();
    let classes = b"}q\x03(U\x09n01855672](K\x01K\x03K\x05eU\x09n01532829](K\x00K\x02K\x04K\x06eu";
    let start = b"\x80\x02}q\x00(U\x0aclass_dict";
    [&start[..], classes, b"U\x0aimage_data", &array, b"u."].concat()
}

fn with_classes(classes: &[u8]) -> Vec<u8> {
    let file = python_2();
    let at = |part: &[u8]| file.windows(part.len()).position(|window| window == part).unwrap();
    let (start, end) = (at(b"}q\x03"), at(b"U\x0aimage_data"));
    [&file[..start], classes, &file[end..]].concat()
}

#[test]
fn caches_are_not_trusted() {
    let refused = |bytes: Vec<u8>| Cache::from_bytes(bytes).err().expect("a refusal");
    for (classes, part) in [
        (&b"}U\x09n01440764]s"[..], "`n01440764` is no class of mini-ImageNet"),
        (b"}U\x0f../../../../etc]s", "`../../../../etc` is no class"),
        (b"}U\x09n01532829](K\x07es", "image 7 of n01532829, but there are 7"),
        (b"}U\x09n01532829](J\xff\xff\xff\xffes", "-1; expected the number of an image"),
        (b"}U\x09n01532829](K\x01K\x01es", "image 1 is listed twice"),
        (b"}U\x09n01532829Ns", "`n01532829` is None; expected a list or tuple"),
        (b"cos\nsystem\nU\x02id\x85R", "refuses to construct `os.system`"),
        (b"N", "`class_dict` is None; expected a dict"),
    ] {
        let error = refused(with_classes(classes));
        assert!(error.contains(part), "{error}");
    }
    let many = [&b"}U\x09n01532829]("[..], &b"K\x00".repeat(601), b"es"].concat();
    assert!(refused(with_classes(&many)).contains("601 images of n01532829"));
    let huge = [&b"}U\x09n01532829]("[..], &b"N0".repeat(9 << 20), b"es"].concat();
    assert!(refused(with_classes(&huge)).contains("more than 16777216 bytes beside its arrays"));

    // Another shape than there are bytes, another type, Fortran order.
    let replaced = |from: &[u8], to: &[u8]| {
        let mut file = python_2();
        let at = file.windows(from.len()).position(|window| window == from).unwrap();
        file.splice(at..at + from.len(), to.iter().copied());
        file
    };
    for (from, to, part) in [
        (&b"K\x07K\x10"[..], &b"K\x08K\x10"[..], "shape [8, 16, 16, 3]"),
        (b"K\x07K\x10", b"J\xff\xff\xff\x7fJ\xff\xff\xff\x7f", "but 5376 bytes in all"),
        (b"K\x10K\x10K\x03t", b"K\x30K\x10t", "expected u1 and [images, height, width, 3]"),
        (b"U\x02u1", b"U\x02i1", "array of type i1"),
        (b"tb\x89T", b"tb\x88T", "not in C order"),
        (b"image_data", b"image_dota", "has no entry `data`"),
    ] {
        let error = refused(replaced(from, to));
        assert!(error.contains(part), "{error}");
    }
    let file = python_2();
    for len in 0..file.len() {
        refused(file[..len].to_vec());
    }
}

fn exercise(bytes: Vec<u8>) {
    let Ok(cache) = Cache::from_bytes(bytes) else { return };
    let listed: usize = cache.classes().values().map(Vec::len).sum();
    let mut seen = 0;
    cache
        .for_each(|image| {
            assert_eq!(image.pixels.len(), image.height * image.width * 3);
            seen += 1;
            Ok(())
        })
        .unwrap();
    assert_eq!(seen, listed);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn damaged_caches_do_no_harm(form in 0..6usize, edits in prop::collection::vec((0.0..1.0, any::<u8>()), 1..6)) {
        let mut bytes = match form {
            0 => python_2(),
            1 => fs::read(fixture("labels.pickle")).unwrap(),
            protocol => fs::read(fixture(&format!("protocol{protocol}.pkl"))).unwrap(),
        };
        // Most of it are pixels, which may be anything.
        let (head, tail) = (700, bytes.len() - 700);
        for (place, value) in edits {
            let place: f64 = place;
            let at = (place * 1400.0) as usize;
            bytes[if at < head { at } else { tail + at - head }] = value;
        }
        exercise(bytes);
    }

    #[test]
    fn any_classes_do_no_harm(classes in prop::collection::vec(any::<u8>(), 0..60)) {
        exercise(with_classes(&classes));
    }
}
