//! Small copies in every form.

mod caches;

use std::collections::BTreeMap;
use std::fs;

use fewshot_data::{SourceSpec, mini_imagenet};
use fewshot_fetch::Lock;

use super::*;

/// Paths and contents.
type Files = BTreeMap<String, Vec<u8>>;

/// A class of each split.
const TRAIN: &str = "n01532829";
const VAL: &str = "n01855672";
const TEST: &str = "n01930112";
/// Of ILSVRC, but not of mini-ImageNet.
const OTHER: &str = "n01440764";

fn prepare(from: &[&Path], data: &Path, allow_partial: bool) -> Result<String, String> {
    let from = from.iter().map(|path| (*path).to_owned()).collect();
    let data = Some(data.to_owned());
    Prepare { from, data, allow_partial, yes: true, json: false }.run()
}

/// What a copy is made into; what lies beside it is an error.
fn made(from: &[&Path]) -> Result<Files, String> {
    let data = tempfile::tempdir().unwrap();
    let done = prepare(from, data.path(), true);
    let left: Vec<_> =
        fs::read_dir(data.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    if let Err(error) = done {
        assert!(left.is_empty(), "{left:?}");
        return Err(error);
    }
    assert_eq!(left, ["mini-imagenet"]);
    let mut files = Files::new();
    collect(&data.path().join(FOLDER), "", &mut files);
    Ok(files)
}

fn collect(folder: &Path, prefix: &str, files: &mut Files) {
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = format!("{prefix}{}", entry.file_name().to_str().unwrap());
        match entry.file_type().unwrap().is_dir() {
            true => collect(&entry.path(), &format!("{name}/"), files),
            false => drop(files.insert(name, fs::read(entry.path()).unwrap())),
        }
    }
}

fn write(folder: &Path, files: &Files) {
    for (path, bytes) in files {
        let path = folder.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
}

fn tar_of(files: &Files) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (path, bytes) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, path, &bytes[..]).unwrap();
    }
    tar.into_inner().unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zip_of(files: &Files) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (path, bytes) in files {
        zip.start_file(path.as_str(), zip::write::SimpleFileOptions::default()).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

/// The listed names of some images of a class, and contents of their own.
fn listed(wnid: &str) -> impl Iterator<Item = (String, Vec<u8>)> {
    let names = mini_imagenet::class(wnid).unwrap().file_names();
    names.step_by(100).map(|name| (name.clone(), name.into_bytes()))
}

/// What is to be made of the listed images of three classes.
fn wanted() -> Files {
    let splits = [("train", TRAIN), ("val", VAL), ("test", TEST)];
    let of = |(split, wnid): (&'static str, &'static str)| {
        listed(wnid).map(move |(name, bytes)| (format!("{split}/{wnid}/{name}"), bytes))
    };
    splits.into_iter().flat_map(of).collect()
}

#[test]
fn listed_names_are_found_wherever_they_lie() {
    let flat: Files = [TRAIN, VAL, TEST]
        .into_iter()
        .flat_map(listed)
        .map(|(name, bytes)| (format!("images/{name}"), bytes))
        .chain([("train.csv".into(), b"not even a list".to_vec())])
        .collect();
    let renamed = |names: [&'static str; 3]| -> Files {
        let folders = ["train", "val", "test"].into_iter().zip(names);
        let rename = |(path, bytes): (String, Vec<u8>)| {
            let (split, rest) = path.split_once('/').unwrap();
            let (_, name) = folders.clone().find(|(known, _)| *known == split).unwrap();
            (format!("{name}/{rest}"), bytes)
        };
        wanted().into_iter().map(rename).collect()
    };
    let forms = [
        flat,
        wanted(),
        renamed(["base", "val", "novel"]),
        renamed(["copy/train", "copy/val", "copy/test"]),
        renamed(["all", "all", "all"]),
    ];
    for files in forms {
        let folder = tempfile::tempdir().unwrap();
        write(&folder.path().join("folder"), &files);
        for (name, bytes) in
            [("a.tar", tar_of(&files)), ("a.tgz", gzip(&tar_of(&files))), ("a.zip", zip_of(&files))]
        {
            fs::write(folder.path().join(name), bytes).unwrap();
        }
        for form in ["folder", "a.tar", "a.tgz", "a.zip"] {
            assert!(made(&[&folder.path().join(form)]).unwrap() == wanted(), "{form}");
        }
    }
    // Archives in a folder, and several paths.
    let folder = tempfile::tempdir().unwrap();
    let class = |wnid| tar_of(&listed(wnid).map(|(n, b)| (format!("{wnid}/{n}"), b)).collect());
    for wnid in [TRAIN, VAL, TEST] {
        fs::write(folder.path().join(format!("part-{wnid}.tar")), class(wnid)).unwrap();
    }
    assert!(made(&[folder.path()]).unwrap() == wanted());
    let parts = [TRAIN, VAL, TEST].map(|wnid| folder.path().join(format!("part-{wnid}.tar")));
    let parts: Vec<_> = parts.iter().map(|path| &**path).collect();
    assert!(made(&parts).unwrap() == wanted());
}

#[test]
fn images_of_other_names_keep_them() {
    let folder = tempfile::tempdir().unwrap();
    let files: Files = (0..600)
        .map(|n| (format!("x/{TRAIN}/{n}.png"), vec![n as u8]))
        .chain([(format!("x/{VAL}/{VAL}_17.JPEG"), b"of ILSVRC's name".to_vec())])
        .chain([(format!("x/{OTHER}/0.png"), b"of another class".to_vec())])
        .collect();
    write(folder.path(), &files);
    let made = made(&[folder.path()]).unwrap();
    assert_eq!(made.len(), 601);
    assert_eq!(made[&format!("train/{TRAIN}/599.png")], [599u16 as u8]);
    assert_eq!(made[&format!("val/{VAL}/{VAL}_17.JPEG")], b"of ILSVRC's name");

    write(folder.path(), &[(format!("x/{TRAIN}/600.png"), Vec::new())].into());
    let error = super::tests::made(&[folder.path()]).unwrap_err();
    assert!(error.contains("601 images") && error.contains(TRAIN), "{error}");
}

/// A copy for classifying its 100 classes: each has images in `train`, and others in `val`.
#[test]
fn a_copy_divided_by_images_is_sorted_by_classes() {
    let image = |split: &str, wnid: &str, name: String| {
        let bytes = format!("{split} {wnid} {name}").into_bytes();
        (format!("mini/{split}/{wnid}/{name}"), bytes)
    };
    let published: Vec<_> = mini_imagenet::classes().collect();
    for is_listed in [true, false] {
        let mut files = Files::new();
        for class in &published {
            for (index, listed) in class.file_names().enumerate().take(12) {
                let split = if index < 10 { "train" } else { "val" };
                // Names of its own begin anew in each folder.
                let own = format!("{}.jpg", if index < 10 { index } else { index - 10 });
                let name = if is_listed { listed } else { own };
                files.extend([image(split, class.wnid, name)]);
            }
        }
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), &files);
        fs::write(folder.path().join("a.tar"), tar_of(&files)).unwrap();
        for form in ["mini", "a.tar"] {
            let made = made(&[&folder.path().join(form)]).unwrap();
            assert_eq!(made.len(), 1_200);
            for class in &published {
                let of_class = format!("{}/{}/", class.folder(), class.wnid);
                let own: Vec<_> = made.keys().filter(|path| path.starts_with(&of_class)).collect();
                assert_eq!(own.len(), 12, "{of_class}");
            }
            // Nothing is lost where two files have one name.
            let contents: std::collections::BTreeSet<_> = made.values().collect();
            assert_eq!(contents.len(), 1_200);
        }
        // As it lies there, too.
        let mut spec = SourceSpec::new(SourceKind::MiniImageNet, folder.path().join("mini"));
        spec.allow_partial = true;
        for (split, classes) in [(Split::Base, 64), (Split::Val, 16), (Split::Novel, 20)] {
            let dataset = spec.open(split).unwrap();
            assert_eq!((dataset.class_count(), dataset.len()), (classes, 12 * classes));
            let is_right = |name: &String| mini_imagenet::split_of(name) == Some(split);
            assert!(dataset.class_names().iter().all(is_right));
        }
    }
    // A class that is in another split than the published one is still no matter of images.
    let folder = tempfile::tempdir().unwrap();
    let files = [("train", TRAIN), ("val", TRAIN), ("val", VAL), ("test", TEST)];
    let files = files.map(|(split, wnid)| image(split, wnid, "a.png".into()));
    write(folder.path(), &files.into());
    let error = made(&[folder.path()]).unwrap_err();
    assert!(error.contains("class n01532829 is in `train`; move it"), "{error}");
}

/// The ILSVRC training images of a class: numbers with gaps, written in any order.
fn ilsvrc(wnid: &str) -> Files {
    let number = |rank: usize| 7 * rank + rank % 5;
    let file = |rank| (format!("{wnid}_{}.JPEG", number(rank)), format!("{wnid} {rank}").into());
    (1..=1300).map(file).collect()
}

#[test]
fn the_ilsvrc_training_set_is_followed_by_rank() {
    let expected: Files = [("train", TRAIN), ("test", TEST)]
        .into_iter()
        .flat_map(|(split, wnid)| {
            let class = mini_imagenet::class(wnid).unwrap();
            let images = class.file_names().zip(class.ranks());
            images.map(move |(name, rank)| {
                (format!("{split}/{wnid}/{name}"), format!("{wnid} {rank}").into_bytes())
            })
        })
        .collect();
    assert_eq!(expected.len(), 1200);
    let folder = tempfile::tempdir().unwrap();
    let (folders, tars) = (folder.path().join("folders"), folder.path().join("tars"));
    let mut of_tars = Files::new();
    for wnid in [TRAIN, TEST] {
        write(&folders.join("train").join(wnid), &ilsvrc(wnid));
        of_tars.insert(format!("{wnid}.tar"), tar_of(&ilsvrc(wnid)));
    }
    // Nobody looks into other classes, or this would be noticed.
    let broken = b"no tar".repeat(1000);
    of_tars.insert(format!("{OTHER}.tar"), broken);
    write(&tars, &of_tars);
    let one = folder.path().join("ILSVRC2012_img_train.tar");
    fs::write(&one, tar_of(&of_tars)).unwrap();
    for form in [&folders, &folders.join("train"), &tars, &one] {
        assert!(made(&[form]).unwrap() == expected, "{form:?}");
    }

    // As it lies there, the same images in another order.
    let mut spec = SourceSpec::new(SourceKind::MiniImageNet, &one);
    spec.allow_partial = true;
    assert!(spec.open(Split::Base).unwrap_err().to_string().contains(OTHER));
    spec.root = folders;
    let base = spec.open(Split::Base).unwrap();
    assert_eq!((base.class_names(), base.len()), (&[TRAIN.to_owned()][..], 600));
    assert!(base.image_name(0).starts_with(&format!("train/{TRAIN}/{TRAIN}_")));

    // Cut off within the inner tar, and incomplete.
    let bytes = fs::read(&one).unwrap();
    fs::write(&one, &bytes[..bytes.len() / 2]).unwrap();
    let error = made(&[&one]).unwrap_err();
    assert!(error.contains("truncated"), "{error}");
    of_tars.insert(format!("{TRAIN}.tar"), tar_of(&ilsvrc(TRAIN))[..100_000].to_vec());
    fs::write(&one, tar_of(&of_tars)).unwrap();
    let error = made(&[&one]).unwrap_err();
    assert!(error.contains("truncated") && error.contains(&format!("{TRAIN}.tar")), "{error}");
    let incomplete = ilsvrc(TRAIN).into_iter().take(1000).collect();
    of_tars.insert(format!("{TRAIN}.tar"), tar_of(&incomplete));
    fs::write(&one, tar_of(&of_tars)).unwrap();
    let error = made(&[&one]).unwrap_err();
    assert!(error.contains("1000 images") && error.contains("1298"), "{error}");
}

#[test]
fn what_is_missing_is_told_exactly() {
    let (folder, data) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let names: Vec<_> = mini_imagenet::class(TRAIN).unwrap().file_names().collect();
    let kept = names.iter().enumerate().filter(|(n, _)| ![0, 3, 4, 5].contains(n));
    let file = |name: &String| (format!("{TRAIN}/{name}"), Vec::new());
    write(folder.path(), &kept.map(|(_, name)| file(name)).collect());
    write(folder.path(), &[(format!("{VAL}/a.png"), Vec::new())].into());
    let error = prepare(&[folder.path()], data.path(), false).unwrap_err();
    for part in [
        &folder.path().display().to_string(),
        "98 of 100 classes and 59403 of 60000 images are missing",
        "--allow-partial",
        "\n  train: all of n01558993 n01704323 ",
        "\n  test: all of n01930112 ",
        &format!(
            "\n  train/{TRAIN}: 4 of 600 images: {}, {} to {}\n",
            names[0], names[3], names[5]
        ),
        &format!("\n  val/{VAL}: 599 of 600 images"),
    ] {
        assert!(error.contains(part), "{part}\n{error}");
    }
    assert_eq!(fs::read_dir(data.path()).unwrap().count(), 0);
}

#[test]
fn contradictions_are_refused() {
    let image = |path: &str| (path.to_owned(), b"image".to_vec());
    let cases: [(&[String], &str); 4] = [
        (&[format!("val/{TRAIN}/a.png")], "class n01532829 is in `train`; move it"),
        (&[format!("x/{TRAIN}/a.png"), format!("y/{TRAIN}/a.png")], "is there twice"),
        (&["x/a.png".into()], "no image of mini-ImageNet"),
        (&[format!("{OTHER}/a.png")], "no image of mini-ImageNet"),
    ];
    for (paths, part) in cases {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), &paths.iter().map(|path| image(path)).collect());
        let error = made(&[folder.path()]).unwrap_err();
        assert!(error.contains(part), "{error}");
    }
    let mut up = tar::Header::new_gnu();
    let name = format!("../{TRAIN}/a.png");
    up.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
    up.set_size(0);
    up.set_cksum();
    let mut tar = tar::Builder::new(Vec::new());
    tar.append(&up, &b""[..]).unwrap();
    let hostile = tar.into_inner().unwrap();
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.tar"), &hostile).unwrap();
    let nested = tar_of(&[(format!("{TRAIN}.tar"), hostile)].into());
    fs::write(folder.path().join("b.tar"), nested).unwrap();
    for file in ["a.tar", "b.tar"] {
        let error = made(&[&folder.path().join(file)]).unwrap_err();
        assert!(error.contains("a path with `..`"), "{error}");
    }
    assert!(made(&[Path::new("no/such")]).unwrap_err().contains("no/such: nothing there"));
}

#[test]
fn what_is_there_is_left_alone_and_a_second_process_kept_out() {
    let (folder, data) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    write(folder.path(), &wanted());
    let lock = Lock::acquire(data.path().join(".mini-imagenet.lock")).unwrap();
    let error = prepare(&[folder.path()], data.path(), true).unwrap_err();
    assert!(error.contains("another process"), "{error}");
    drop(lock);
    // What a killed process left.
    write(data.path(), &[(".mini-imagenet.making/train/x".into(), Vec::new())].into());
    let done = prepare(&[folder.path()], data.path(), true).unwrap();
    let counts = "train 1 classes, 6 images; val 1 classes, 6 images; test 1 classes, 6 images";
    assert!(done.contains("made") && done.contains(counts), "{done}");
    let again = prepare(&[Path::new("no/such")], data.path(), false).unwrap();
    assert!(again.contains("is there already") && again.contains(counts), "{again}");
    assert_eq!(fs::read_dir(data.path()).unwrap().count(), 1);
}

#[test]
fn the_partial_copy_at_hand_gives_the_same_images_in_the_same_order() {
    let source = std::env::var_os("FEWSHOT_DATA").map(PathBuf::from).unwrap_or_default();
    let source = source.join("mini-imagenet-84");
    if !source.exists() {
        println!("skipped: FEWSHOT_DATA names no folder with mini-imagenet-84");
        return;
    }
    let data = tempfile::tempdir().unwrap();
    let error = prepare(&[&source], data.path(), false).unwrap_err();
    assert!(error.contains("20 of 100 classes and 36000 of 60000 images"), "{error}");
    let done = prepare(&[&source], data.path(), true).unwrap();
    assert!(done.contains("train 64 classes, 19200 images; val 16 classes, 4800 images"), "{done}");

    let target = data.path().join(FOLDER);
    for (split, folder) in [(Split::Base, "train"), (Split::Val, "val")] {
        let open = |root: &Path| {
            let mut spec = SourceSpec::new(SourceKind::MiniImageNet, root);
            spec.allow_partial = true;
            spec.open(split).unwrap()
        };
        let (theirs, ours) = (open(&source), open(&target));
        assert_eq!(theirs.class_names(), ours.class_names());
        assert_eq!(theirs.labels(), ours.labels());
        for index in 0..theirs.len() {
            let name = theirs.image_name(index);
            let name = name.split_once('!').unwrap().1;
            assert_eq!(ours.image_name(index), format!("{folder}/{name}"));
        }
    }
    let mut compared = 0;
    for archive in ["base-0", "base-1", "base-2", "base-3", "val"] {
        let split = if archive == "val" { "val" } else { "train" };
        let file = File::open(source.join(format!("{archive}.tar"))).unwrap();
        for entry in tar::Archive::new(file).entries().unwrap() {
            let mut entry = entry.unwrap();
            if !entry.header().entry_type().is_file() {
                continue;
            }
            let path = target.join(split).join(entry.path().unwrap());
            let mut bytes = Vec::new();
            std::io::Read::read_to_end(&mut entry, &mut bytes).unwrap();
            assert!(fs::read(&path).unwrap() == bytes, "{path:?}");
            compared += 1;
        }
    }
    assert_eq!(compared, 80 * 300);
}
