//! Small copies of the datasets, from a server to an opened dataset.

#[path = "../../../fetch/tests/common/archives.rs"]
mod archives;
#[path = "../../../fetch/tests/common/mod.rs"]
pub(super) mod common;

use common::{MD5, Server, ranged, status};
use fewshot_fetch::{RetryPolicy, Size};
use image::RgbImage;

use super::*;

fn png(shade: u8) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    let image = RgbImage::from_pixel(8, 8, image::Rgb([shade; 3]));
    image.write_to(&mut bytes, image::ImageFormat::Png).unwrap();
    bytes.into_inner()
}

pub(super) fn arguments() -> Download {
    Download {
        data: None,
        from: Vec::new(),
        mirror: Vec::new(),
        offline: false,
        keep_archives: false,
        yes: false,
    }
}

/// A dataset of the table, made small: a server that breaks off has its archives.
fn small(name: &str, archives: Vec<Vec<u8>>, holds: (usize, usize)) -> (Server, PublishedDataset) {
    let mut dataset = datasets().into_iter().find(|dataset| dataset.name == name).unwrap();
    (dataset.classes, dataset.images) = holds;
    dataset.package.on_disk = 1 << 20;
    let sent = archives.clone();
    let server = Server::start(move |request| {
        let number: usize = request.path().trim_start_matches('/').parse().unwrap();
        let body = &sent[number];
        ranged(body, request, body.len() / 3 + 1, &["ETag: \"1\""])
    });
    assert_eq!(dataset.package.archives.len(), archives.len());
    for (number, bytes) in archives.iter().enumerate() {
        let remote = &mut dataset.package.archives[number].remote;
        remote.mirrors = vec![server.url(&format!("/{number}"))];
        remote.digest = MD5.digest(bytes);
        remote.size = Size::AtMost(1 << 20);
    }
    (server, dataset)
}

fn downloader() -> Downloader {
    Downloader { retry_policy: RetryPolicy::default().with_sleep(|_| {}), ..Downloader::default() }
}

fn cub() -> (Server, PublishedDataset) {
    let classes = b"1 001.Albatross\n2 002.Auklet\n3 003.Wren\n4 004.Crow\n";
    let images = ["001.Albatross/a.png", "002.Auklet/b.png", "003.Wren/c.png", "004.Crow/d.png"];
    let list: String =
        images.iter().enumerate().map(|(n, file)| format!("{} {file}\n", n + 1)).collect();
    let labels = b"1 1\n2 2\n3 3\n4 4\n";
    let pictures = [10, 20, 30, 40].map(png);
    let paths = images.map(|file| format!("CUB_200_2011/images/{file}"));
    let mut entries: Vec<archives::Entry<'_>> = vec![
        ("CUB_200_2011/", None),
        ("attributes.txt", Some(b"1 has_bill_shape::curved")),
        ("CUB_200_2011/classes.txt", Some(classes)),
        ("CUB_200_2011/images.txt", Some(list.as_bytes())),
        ("CUB_200_2011/image_class_labels.txt", Some(labels)),
        ("CUB_200_2011/attributes/", None),
    ];
    entries.extend(paths.iter().zip(&pictures).map(|(path, png)| (&**path, Some(&**png))));
    small("cub", vec![archives::tar_gz(&entries)], (4, 4))
}

#[test]
fn cub_lies_where_the_configurations_look_for_it() {
    let (server, dataset) = cub();
    let data = tempfile::tempdir().unwrap();
    let said = arguments().get(dataset.clone(), downloader(), data.path()).unwrap();
    assert!(said.contains("dataset.source=cub with 4 classes, 4 images"), "{said}");
    assert!(said.contains("dataset.root=CUB_200_2011 finds it"), "{said}");
    assert_eq!(server.log().len(), 3);

    let config = include_str!("../../../../configs/cub/neg-cosine-5shot.toml");
    assert!(config.contains("root = \"CUB_200_2011\"") && config.contains("source = \"cub\""));
    let root = data.path().join("CUB_200_2011");
    assert!(root.join("images.txt").exists() && root.join("attributes.txt").exists());
    let base = SourceSpec { allow_partial: true, ..SourceSpec::new(SourceKind::Cub, root) };
    let base = base.open(Split::Base).unwrap();
    assert_eq!((base.class_count(), base.len()), (2, 2));
    assert_eq!(base.load(1).unwrap().get_pixel(0, 0).0, [30; 3]);

    let said = arguments().get(dataset.clone(), downloader(), data.path()).unwrap();
    assert!(said.contains("is there already; opens"), "{said}");
    assert_eq!(server.log().len(), 3);
    // A folder that lost an image is found out.
    std::fs::remove_file(data.path().join("CUB_200_2011/images/003.Wren/c.png")).unwrap();
    let error = arguments().get(dataset, downloader(), data.path()).unwrap_err();
    assert!(error.contains("3 images, but cub has 4 and 4: move it away"), "{error}");
}

#[test]
fn omniglot_opens_from_both_archives() {
    let archive = |set: &str, shade: u8| {
        let path = |n: u32, m: u32| format!("{set}/Latin{shade}/character0{n}/000{n}_0{m}.png");
        let paths: Vec<_> = (1..=2).flat_map(|n| (1..=3).map(move |m| (n, m))).collect();
        let paths: Vec<_> = paths.into_iter().map(|(n, m)| path(n, m)).collect();
        let picture = png(shade);
        archives::zip(&paths.iter().map(|path| (&**path, Some(&*picture))).collect::<Vec<_>>())
    };
    let archives = vec![archive("images_background", 1), archive("images_evaluation", 2)];
    let (_server, dataset) = small("omniglot", archives, (4, 12));
    let data = tempfile::tempdir().unwrap();
    let said = arguments().get(dataset, downloader(), data.path()).unwrap();
    assert!(said.contains("unpacked 12 files"), "{said}");
    let spec = SourceSpec::new(SourceKind::Omniglot, data.path().join("omniglot"));
    assert_eq!(spec.open(Split::Base).unwrap().class_count(), 2);
    assert_eq!(spec.open(Split::Novel).unwrap().len(), 3);
}

#[test]
fn cifar_fs_is_made_of_cifar_100() {
    let record = |class: u8| [vec![0, class], vec![class * 50; 3_072]].concat();
    let (train, test) = ([0, 1, 2, 0].map(record).concat(), [2, 1].map(record).concat());
    let archive = archives::tar_gz(&[
        ("cifar-100-binary/", None),
        ("cifar-100-binary/fine_label_names.txt", Some(b"apple\nbeaver\nbaby\n")),
        ("cifar-100-binary/train.bin", Some(&train)),
        ("cifar-100-binary/test.bin", Some(&test)),
    ]);
    let (_server, dataset) = small("cifar-fs", vec![archive], (3, 6));
    let data = tempfile::tempdir().unwrap();
    let said = arguments().get(dataset, downloader(), data.path()).unwrap();
    assert!(said.contains("dataset.source=folders with 3 classes, 6 images"), "{said}");
    let spec = SourceSpec::new(SourceKind::Folders, data.path().join("cifar-fs"));
    for (split, images, shade) in [(Split::Base, 2, 0), (Split::Val, 2, 50), (Split::Novel, 2, 100)]
    {
        let opened = spec.open(split).unwrap();
        assert_eq!((opened.class_count(), opened.len()), (1, images));
        assert_eq!(opened.load(0).unwrap().get_pixel(31, 31).0, [shade; 3]);
    }
    let left: Vec<_> = std::fs::read_dir(data.path()).unwrap().collect();
    assert_eq!(left.len(), 1, "{left:?}");
}

#[test]
fn an_own_mirror_is_asked_first() {
    let (server, dataset) = cub();
    let mine = Server::start(|_| status("404 Not Found", &[]));
    let data = tempfile::tempdir().unwrap();
    let mut own = arguments();
    own.mirror = vec![mine.url("/x/CUB_200_2011.tgz?download=1")];
    own.get(dataset.clone(), downloader(), data.path()).unwrap();
    assert_eq!((mine.log().len(), server.log().len()), (1, 3));
    own.mirror = vec![mine.url("/x/other.tgz")];
    let error = own.get(dataset, downloader(), data.path()).unwrap_err();
    assert!(error.contains("ends in `other.tgz`; expected is the address of CUB_200"), "{error}");
}

#[test]
fn every_state_is_listed() {
    let (_server, dataset) = cub();
    let data = tempfile::tempdir().unwrap();
    let listed = || {
        let list = List { data: Some(data.path().to_owned()), json: true };
        let rows: serde_json::Value = serde_json::from_str(&list.run().unwrap()).unwrap();
        let text = List { data: Some(data.path().to_owned()), json: false }.run().unwrap();
        (rows[0]["state"].as_str().unwrap().to_owned(), rows[0]["bytes_arrived"].clone(), text)
    };
    let (state, _, text) = listed();
    assert_eq!(state, "absent");
    for part in [
        "data.caltech.edu, then s3.amazonaws.com",
        "non-commercial",
        "1.15 GB",
        "MIT",
        "cargo xtask download-cub",
        "dataset.source=omniglot",
        "11788 images",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    std::fs::write(data.path().join("CUB_200_2011.tgz.part"), [0; 1_234]).unwrap();
    let (state, arrived, text) = listed();
    assert_eq!((&*state, arrived), ("downloading", 1_234.into()));
    assert!(text.contains("1.2 kB have arrived"), "{text}");
    std::fs::create_dir(data.path().join("CUB_200_2011")).unwrap();
    assert_eq!(listed().0, "incomplete");
    std::fs::remove_dir(data.path().join("CUB_200_2011")).unwrap();
    std::fs::remove_file(data.path().join("CUB_200_2011.tgz.part")).unwrap();
    arguments().get(dataset, downloader(), data.path()).unwrap();
    assert_eq!(listed().0, "ready");
}
