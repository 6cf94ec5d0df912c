//! Archives give what a folder gives, and hostile ones an error.

mod common;

use std::fs;
use std::path::Path;

use common::*;
use fewshot_data::{Dataset, Error, SourceKind, SourceSpec, Split};
use tar::EntryType;

fn open(root: &Path) -> Result<Dataset, Error> {
    SourceSpec::new(SourceKind::Folders, root).open(Split::All)
}

/// Opens the bytes as an archive of this name, and loads every image.
fn read_archive(name: &str, bytes: &[u8]) -> Result<Dataset, Error> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    fs::write(&path, bytes).unwrap();
    let dataset = open(&path)?;
    for i in 0..dataset.len() {
        dataset.load(i)?;
    }
    Ok(dataset)
}

#[test]
fn every_form_gives_the_same_dataset() {
    let long = "l".repeat(150);
    let mut tree = class_folders(&["wren", "crow", "jay", &long], 3);
    tree.push(("crow/.hidden.png".into(), b"no image".to_vec()));
    tree.push(("__MACOSX/crow/._00.png".into(), b"no image".to_vec()));
    tree.push(("crow/notes.txt".into(), b"no image".to_vec()));
    let folder = tempfile::tempdir().unwrap();
    write_folder(folder.path(), &tree);
    let expected = content(&open(folder.path()).unwrap());
    assert_eq!(expected.len(), 12);

    let tar = tar_of(&tree);
    for (name, bytes) in [
        ("a.tar", tar.clone()),
        ("a.tgz", gzip(&tar)),
        ("a.TAR.GZ", gzip(&tar)),
        ("a.zip", zip_of(&tree)),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let archive = folder.path().join(name);
        fs::write(&archive, bytes).unwrap();
        let dataset = open(&archive).unwrap();
        assert_eq!(content(&dataset), expected, "{name} as the root");
        assert!(dataset.image_name(0).starts_with(&format!("{name}!crow/")));
        assert_eq!(content(&open(folder.path()).unwrap()), expected, "{name} in the root");
    }
}

#[test]
fn many_threads_read_an_archive() {
    let tree = class_folders(&["crow", "jay", "wren"], 9);
    for (name, bytes) in [("a.tar", tar_of(&tree)), ("a.zip", zip_of(&tree))] {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(name), bytes).unwrap();
        let dataset = open(folder.path()).unwrap();
        let expected = content(&dataset);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| assert_eq!(content(&dataset), expected));
            }
        });
    }
}

#[test]
fn archives_of_a_root_lie_over_each_other() {
    let (first, second) = (class_folders(&["crow", "jay"], 2), class_folders(&["wren"], 2));
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("1.tar"), tar_of(&first)).unwrap();
    fs::write(folder.path().join("2.zip"), zip_of(&second)).unwrap();
    write_folder(folder.path(), &class_folders(&["gull"], 2));
    let dataset = open(folder.path()).unwrap();
    assert_eq!(dataset.class_names(), ["crow", "gull", "jay", "wren"]);

    fs::write(folder.path().join("3.tar"), tar_of(&second)).unwrap();
    let error = open(folder.path()).unwrap_err();
    assert!(matches!(&error, Error::Duplicate { .. }), "{error}");
    let text = error.to_string();
    assert!(text.contains("2.zip!wren/") && text.contains("3.tar!wren/"), "{text}");
}

#[test]
fn paths_out_of_the_archive_are_refused() {
    for name in ["../a/b.png", "a/../../b.png", "/a/b.png", "C:/a/b.png", "a\\..\\b.png"] {
        let raw = tar_of_raw_name(name, EntryType::Regular, &png(0));
        for (archive, bytes) in [
            ("a.tar", raw.clone()),
            ("a.tgz", gzip(&raw)),
            ("a.zip", zip_of(&files(&[(name, &png(0))]))),
        ] {
            let error = read_archive(archive, &bytes).unwrap_err();
            assert!(matches!(&error, Error::Entry { entry, .. } if entry == name), "{error}");
        }
    }
}

#[test]
fn links_and_devices_are_not_followed() {
    for kind in [EntryType::Symlink, EntryType::Link, EntryType::Char, EntryType::Fifo] {
        let bytes = tar_of_raw_name("crow/a.png", kind, b"");
        let error = read_archive("a.tar", &bytes).unwrap_err();
        assert!(error.to_string().contains("link"), "{error}");

        // One that is no image costs nothing.
        let mut bytes = tar_of_raw_name("latest", kind, b"");
        bytes.truncate(512);
        bytes.extend(tar_of(&class_folders(&["crow"], 1)));
        assert_eq!(read_archive("a.tar", &bytes).unwrap().len(), 1);
    }
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default();
    writer.add_symlink("crow/a.png", "/etc/passwd", options).unwrap();
    let bytes = writer.finish().unwrap().into_inner();
    assert!(read_archive("a.zip", &bytes).is_err());
}

#[test]
fn entries_that_are_there_twice_are_refused() {
    let twice = files(&[("crow/a.png", &png(0)), ("./crow/a.png", &png(1))]);
    let error = read_archive("a.tar", &tar_of(&twice)).unwrap_err();
    assert!(matches!(error, Error::Duplicate { .. }), "{error}");

    let other = files(&[("crow/a.png", &png(0)), ("crow/b.png", &png(1))]);
    let mut zip = zip_of(&other);
    while let Some(at) = zip.windows(10).position(|name| name == b"crow/b.png") {
        zip[at + 5] = b'a';
    }
    assert!(read_archive("a.zip", &zip).is_err());
}

#[test]
fn a_tar_cut_anywhere_is_an_error_that_says_where() {
    let tree = class_folders(&["crow", &"l".repeat(120)], 2);
    let whole = tar_of(&tree);
    let end = whole.len() - 1024;
    assert!(read_archive("a.tar", &whole).is_ok());
    for cut in (0..=end).step_by(512).flat_map(|at| [at, at + 1, at + 300]) {
        if cut > end {
            continue;
        }
        let error = read_archive("a.tar", &whole[..cut]).unwrap_err();
        let at = matches!(&error, Error::Truncated { offset, .. } if *offset == cut as u64);
        assert!(at, "cut at {cut}: {error}");
        assert!(error.to_string().contains("a.tar"), "{error}");
    }
    // The second block of zeros adds nothing.
    assert!(read_archive("a.tar", &whole[..end + 512]).is_ok());
}

#[test]
fn a_tar_behind_another_is_read() {
    let first = class_folders(&["crow", "jay"], 2);
    let second = class_folders(&["wren"], 3);
    let both = [tar_of(&first), tar_of(&second)].concat();
    for (name, bytes) in [("a.tar", both.clone()), ("a.tgz", gzip(&both))] {
        let dataset = read_archive(name, &bytes).unwrap();
        assert_eq!(dataset.class_names(), ["crow", "jay", "wren"], "{name}");
        assert_eq!(dataset.len(), 7, "{name}");
        // Tars are filled up with zeros, to records of 10 KiB, say.
        let padded = [&both[..], &[0; 9_000]].concat();
        assert_eq!(read_archive("a.tar", &padded).unwrap().len(), 7);
    }
    let members = [gzip(&tar_of(&first)), gzip(&tar_of(&second))].concat();
    assert_eq!(read_archive("a.tgz", &members).unwrap().len(), 7);
    let error = read_archive("a.tar", &both[..both.len() - 1024 - 300]).unwrap_err();
    assert!(matches!(error, Error::Truncated { .. }), "{error}");
    let error = read_archive("a.tar", &[&both[..], &[7; 600]].concat()).unwrap_err();
    assert!(error.to_string().contains("a.tar"), "{error}");
}

#[test]
fn what_an_archive_is_tell_its_first_bytes() {
    let tree = class_folders(&["crow"], 2);
    let tar = tar_of(&tree);
    for (name, bytes) in [
        ("a.tar", gzip(&tar)),
        ("a.tar", zip_of(&tree)),
        ("a.zip", gzip(&tar)),
        ("a.tgz", zip_of(&tree)),
    ] {
        assert_eq!(read_archive(name, &bytes).unwrap().len(), 2, "{name}");
    }
}

#[test]
fn backslashes_divide_the_folders_of_a_zip() {
    let mut tree = class_folders(&["train/crow", "val/jay", "test/wren"], 2);
    tree.iter_mut().for_each(|(path, _)| *path = path.replace('/', "\\"));
    let dataset = read_archive("a.zip", &zip_of(&tree)).unwrap();
    assert_eq!(dataset.class_names(), ["crow", "jay", "wren"]);
    assert_eq!(dataset.len(), 6);
}

/// Pipes would wait for a writer for ever, and `/dev/zero` has no end.
#[cfg(unix)]
#[test]
fn pipes_and_devices_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = |name: &str| {
        let path = folder.path().join(name);
        let made = std::process::Command::new("mkfifo").arg(&path).status().unwrap();
        assert!(made.success());
        path
    };
    let zero = folder.path().join("zero.tgz");
    std::os::unix::fs::symlink("/dev/zero", &zero).unwrap();
    for root in [pipe("a.tar"), pipe("a.tgz"), pipe("a.zip"), zero.clone()] {
        let error = open(&root).unwrap_err();
        assert!(matches!(&error, Error::Root { path, .. } if *path == root), "{error}");
    }
    let list = SourceSpec::new(SourceKind::Json, pipe("list.json")).open(Split::All).unwrap_err();
    assert!(list.to_string().contains("list.json"), "{list}");
    write_folder(folder.path(), &class_folders(&["crow"], 2));
    pipe("crow/b.png");
    let error = SourceSpec::new(SourceKind::Folders, folder.path()).open(Split::All).unwrap_err();
    assert!(matches!(&error, Error::Unreadable { .. }), "{error}");
}

/// The test runs itself once more, with a folder for temporary files that is not there.
#[test]
fn no_room_for_temporary_files_is_not_blamed_on_the_archive() {
    const NAME: &str = "no_room_for_temporary_files_is_not_blamed_on_the_archive";
    let child = std::env::var_os("FEWSHOT_ARCHIVE");
    if let Some(archive) = child {
        let error = open(Path::new(&archive)).unwrap_err();
        assert!(matches!(&error, Error::NoRoom { .. }), "{error}");
        let text = error.to_string();
        assert!(text.starts_with("/nowhere/at/all: ") && text.contains("TMPDIR"), "{text}");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let archive = folder.path().join("a.tgz");
    fs::write(&archive, gzip(&tar_of(&class_folders(&["crow"], 1)))).unwrap();
    let mut again = std::process::Command::new(std::env::current_exe().unwrap());
    again.args(["--exact", NAME]).env("TMPDIR", "/nowhere/at/all").env("FEWSHOT_ARCHIVE", &archive);
    let output = again.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

#[test]
fn other_archives_cut_short_are_errors() {
    let tree = class_folders(&["crow"], 2);
    let tgz = gzip(&tar_of(&tree));
    for cut in (0..tgz.len()).step_by(37) {
        let error = read_archive("a.tgz", &tgz[..cut]).unwrap_err();
        assert!(error.to_string().contains("a.tgz"), "{error}");
    }
    let zip = zip_of(&tree);
    for cut in (0..zip.len()).step_by(37) {
        let error = read_archive("a.zip", &zip[..cut]).unwrap_err();
        assert!(error.to_string().contains("a.zip"), "{error}");
    }
}

#[test]
fn bombs_are_defused() {
    let zeros = vec![0; 64 << 20];
    let error = read_archive("a.tgz", &gzip(&zeros)).unwrap_err();
    assert!(matches!(error, Error::Limit { .. }), "{error}");

    // An entry that is far larger than it declares: 64 MiB behind the claim of 100 bytes.
    let mut zip = zip_of(&files(&[("crow/a.png", &zeros)]));
    let size = (zeros.len() as u32).to_le_bytes();
    while let Some(at) = zip.windows(4).position(|bytes| bytes == size) {
        zip[at..at + 4].copy_from_slice(&100u32.to_le_bytes());
    }
    let error = read_archive("a.zip", &zip).unwrap_err();
    assert!(matches!(error, Error::Image { .. }), "{error}");

    // And one that declares more than any image has.
    let mut zip = zip_of(&files(&[("crow/a.png", &zeros)]));
    while let Some(at) = zip.windows(4).position(|bytes| bytes == size) {
        zip[at..at + 4].copy_from_slice(&0x7000_0000u32.to_le_bytes());
    }
    let error = read_archive("a.zip", &zip).unwrap_err();
    assert!(matches!(error, Error::Limit { .. }), "{error}");
}

#[test]
fn a_tar_entry_larger_than_its_archive_is_truncated() {
    let mut bytes = tar_of(&class_folders(&["crow"], 1));
    let mut header = tar::Header::from_byte_slice(&bytes[..512]).clone();
    header.set_size(1 << 40);
    header.set_cksum();
    bytes[..512].copy_from_slice(header.as_bytes());
    let error = read_archive("a.tar", &bytes).unwrap_err();
    assert!(matches!(error, Error::Truncated { .. }), "{error}");
}

#[test]
fn roots_that_are_no_dataset_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("notes.txt");
    fs::write(&file, "text").unwrap();
    for root in [file, folder.path().join("absent")] {
        let error = open(&root).unwrap_err();
        assert!(matches!(&error, Error::Root { path, .. } if *path == root), "{error}");
    }
    let error = open(folder.path()).unwrap_err();
    assert!(matches!(error, Error::EmptySplit { .. }), "{error}");
}

#[cfg(unix)]
#[test]
fn links_of_a_folder_are_followed_but_not_in_circles() {
    let (elsewhere, root) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    write_folder(elsewhere.path(), &class_folders(&["crow"], 2));
    let link = |target: &Path, name: &str| {
        std::os::unix::fs::symlink(target, root.path().join(name)).unwrap();
    };
    link(&elsewhere.path().join("crow"), "crow");
    link(root.path(), "around");
    link(Path::new("/nowhere"), "notes.txt");
    assert_eq!(open(root.path()).unwrap().len(), 2);
    // An image or a class would be missing.
    for name in ["dangling.png", "jay"] {
        link(Path::new("/nowhere"), name);
        let error = open(root.path()).unwrap_err();
        assert!(matches!(error, Error::Unreadable { count: 1, .. }), "{error}");
        assert!(error.to_string().contains(name), "{error}");
        let mut spec = SourceSpec::new(SourceKind::Folders, root.path());
        spec.allow_partial = true;
        assert_eq!(spec.open(Split::All).unwrap().len(), 2);
        fs::remove_file(root.path().join(name)).unwrap();
    }
}
