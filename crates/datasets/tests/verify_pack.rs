//! `verify` and `pack` from the outside.

use std::path::Path;
use std::process::Command;

/// Exit status, standard output, standard error.
fn datasets(arguments: &[&str], data: &Path) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_datasets"));
    let output = command.args(arguments).env("FEWSHOT_DATA", data).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

/// Where a download of CIFAR-FS would lie: one image of one class.
fn cifar_fs(data: &Path) {
    let folder = data.join("cifar-fs/train/apple");
    std::fs::create_dir_all(&folder).unwrap();
    image::RgbImage::new(32, 32).save(folder.join("a.png")).unwrap();
}

#[test]
fn a_partial_copy_is_told_and_packed() {
    let data = tempfile::tempdir().unwrap();
    cifar_fs(data.path());
    let (code, out, errors) = datasets(&["verify", "cifar-fs"], data.path());
    assert_eq!((code, &*errors), (1, ""), "{out}");
    for part in ["classes absent (99)", "base: 1 of 600 in 1 classes (apple)", "--all shows them"] {
        assert!(out.contains(part), "{part}: {out}");
    }
    let (code, out, _) = datasets(&["verify", "cifar-fs", "--json"], data.path());
    let report: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &report["whole"]), (1, &false.into()));
    assert_eq!(report["absent_classes"].as_array().unwrap().len(), 99);

    let (code, out, errors) = datasets(&["pack", "cifar-fs"], data.path());
    assert_eq!((code, &*errors), (0, ""), "{out}");
    assert!(out.contains("cifar-fs.pack: 1 images"), "{out}");
    let (code, _, errors) = datasets(&["pack", "cifar-fs"], data.path());
    assert!(code == 2 && errors.contains("is there already"), "{errors}");
    let pack = data.path().join("cifar-fs.pack");
    let path = pack.to_str().unwrap();
    let (code, out, _) = datasets(&["verify", "cifar-fs", "--path", path], data.path());
    assert!(code == 1 && out.contains("classes absent (99)"), "{out}");
    assert!(!out.contains("not what was packed"), "{out}");

    // A pack of which one image was exchanged for another, with the right CRC-32.
    let other = data.path().join("other");
    let folder = other.join("train/apple");
    std::fs::create_dir_all(&folder).unwrap();
    image::RgbImage::from_pixel(32, 32, image::Rgb([1; 3])).save(folder.join("a.png")).unwrap();
    let exchanged = exchange(&pack.join("base.zip"), &std::fs::read(folder.join("a.png")).unwrap());
    std::fs::write(pack.join("base.zip"), exchanged).unwrap();
    let (code, out, _) = datasets(&["verify", "cifar-fs", "--path", path], data.path());
    assert!(code == 1 && out.contains("the base pack is not what was packed"), "{out}");
}

/// The zip with another content of its first entry.
fn exchange(zip: &Path, content: &[u8]) -> Vec<u8> {
    use std::io::{Read, Write};
    let mut from = zip::ZipArchive::new(std::fs::File::open(zip).unwrap()).unwrap();
    let mut to = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let options =
        zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    for number in 0..from.len() {
        let mut entry = from.by_index(number).unwrap();
        to.start_file(entry.name().unwrap(), options).unwrap();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        to.write_all(if number == 0 { content } else { &bytes }).unwrap();
    }
    to.finish().unwrap().into_inner()
}

#[test]
fn what_cannot_be_done_is_said() {
    let data = tempfile::tempdir().unwrap();
    for name in ["verify", "pack"] {
        let (code, _, errors) = datasets(&[name, "cub"], data.path());
        assert!(code == 2 && errors.contains("CUB_200_2011: nothing there"), "{errors}");
        let (code, _, errors) = datasets(&[name, "imagenet"], data.path());
        assert!(code == 2 && errors.contains("mini-imagenet"), "{errors}");
        let (code, out, _) = datasets(&[name, "--help"], data.path());
        assert_eq!(code, 0);
        for part in ["Examples:", "Exit status: 0 ", "--path", "FEWSHOT_DATA"] {
            assert!(out.contains(part), "{name}: {part}\n{out}");
        }
    }
    let (code, _, errors) = datasets(&["pack", "cub", "--shorter-side", "0"], data.path());
    assert!(code == 2 && errors.contains("--shorter-side"), "{errors}");
}
