//! Small datasets in every form that a source may have.
#![allow(dead_code, reason = "each test file uses a part")]

use std::fs;
use std::io::{Cursor, Write};
use std::path::Path;

use fewshot_data::{Dataset, PackInfo, PackWriter, SourceSpec};
use image::{ImageFormat, RgbImage};

/// Paths and contents.
pub type Files = Vec<(String, Vec<u8>)>;

pub fn picture(tag: u8) -> RgbImage {
    RgbImage::from_fn(24, 16, |x, y| image::Rgb([tag, (x * 10) as u8, (y * 15) as u8]))
}

pub fn encoded(image: &RgbImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Vec::new();
    image.write_to(&mut Cursor::new(&mut bytes), format).unwrap();
    bytes
}

pub fn jpeg(tag: u8) -> Vec<u8> {
    let (picture, mut bytes) = (picture(tag), Vec::new());
    let encoder = jpeg_encoder::Encoder::new(&mut bytes, 90);
    encoder.encode(&picture, 24, 16, jpeg_encoder::ColorType::Rgb).unwrap();
    bytes
}

pub fn png(tag: u8) -> Vec<u8> {
    encoded(&picture(tag), ImageFormat::Png)
}

/// `classes` folders of `images` PNGs each, no two alike.
pub fn class_folders(classes: &[&str], images: u8) -> Files {
    let mut files = Files::new();
    for (c, class) in (0u8..).zip(classes) {
        // Backwards, as a disk might have them.
        for i in (0..images).rev() {
            files.push((format!("{class}/{i:02}.png"), png(c * images + i)));
        }
    }
    files
}

pub fn files(listed: &[(&str, &[u8])]) -> Files {
    let owned = |&(path, bytes): &(&str, &[u8])| (path.to_owned(), bytes.to_owned());
    listed.iter().map(owned).collect()
}

pub fn write_folder(root: &Path, files: &Files) {
    for (path, bytes) in files {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
}

pub fn tar_of(files: &Files) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, bytes) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, path, &bytes[..]).unwrap();
    }
    builder.into_inner().unwrap()
}

/// A tar with one entry whose name is written as it is, whatever it is.
pub fn tar_of_raw_name(name: &str, kind: tar::EntryType, bytes: &[u8]) -> Vec<u8> {
    let mut header = tar::Header::new_gnu();
    header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
    header.set_entry_type(kind);
    header.set_size(bytes.len() as u64);
    if kind.is_symlink() || kind.is_hard_link() {
        header.set_link_name("/etc/passwd").unwrap();
    }
    header.set_cksum();
    let mut builder = tar::Builder::new(Vec::new());
    builder.append(&header, bytes).unwrap();
    builder.into_inner().unwrap()
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub fn zip_of(files: &Files) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default()
        .compression_method(zip::CompressionMethod::Deflated);
    for (path, bytes) in files {
        writer.start_file(path.as_str(), options).unwrap();
        writer.write_all(bytes).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

/// Class, path and pixels of each image of a dataset.
pub fn content(dataset: &Dataset) -> Vec<(String, String, Vec<u8>)> {
    (0..dataset.len())
        .map(|i| {
            let class = &dataset.class_names()[dataset.labels()[i] as usize];
            let name = dataset.image_name(i);
            let path = name.rsplit('!').next().unwrap().to_owned();
            (class.clone(), path, dataset.load(i).unwrap().into_raw())
        })
        .collect()
}

/// The pack of each split that the source has, by the name of its file.
pub fn packs_of(spec: &SourceSpec) -> Files {
    let survey = spec.survey().unwrap();
    let splits = survey.splits.into_iter().filter(|split| !split.images.is_empty());
    let packed = splits.map(|split| {
        let info = PackInfo {
            source: spec.kind,
            split: split.split,
            partial: split.partial.clone(),
            shorter_side: None,
        };
        let mut pack = PackWriter::new(Cursor::new(Vec::new()), &info);
        let mut index = 0;
        for class in split.classes.iter().filter(|class| class.present > 0) {
            // Held-out images of base classes are in no split that opens together with others.
            pack.class(&class.name, class.label.unwrap_or_default());
            for _ in 0..class.present {
                let bytes = split.images.bytes(index).unwrap();
                pack.image(split.images.image_path(index), &bytes).unwrap();
                index += 1;
            }
        }
        (format!("{}.zip", split.split), pack.finish().unwrap().into_inner())
    });
    packed.collect()
}

/// Paths of any bytes, and contents.
pub type RawFiles = Vec<(Vec<u8>, Vec<u8>)>;

/// What may hold a dataset.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Container {
    Folder,
    Tar,
    Tgz,
    /// A zip whose names are not marked as UTF-8.
    Zip,
}

/// Those that this system can write: not every system has file names of any bytes.
pub const CONTAINERS: &[Container] = &[
    #[cfg(target_os = "linux")]
    Container::Folder,
    Container::Tar,
    Container::Tgz,
    Container::Zip,
];

impl Container {
    /// Writes files; returns the temporary folder and the root of the dataset in it.
    pub fn hold(self, files: &RawFiles) -> (tempfile::TempDir, std::path::PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let (name, bytes) = match self {
            Self::Folder => {
                let root = folder.path().join("images");
                write_raw_folder(&root, files);
                return (folder, root);
            }
            Self::Tar => ("images.tar", raw_tar(files)),
            Self::Tgz => ("images.tgz", gzip(&raw_tar(files))),
            Self::Zip => ("images.zip", unmarked_zip(files)),
        };
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        (folder, path)
    }
}

/// The tag of each [`picture`], by class.
pub fn tags(dataset: &Dataset) -> Vec<Vec<u8>> {
    let mut classes = vec![Vec::new(); dataset.class_count()];
    for (index, &label) in dataset.labels().iter().enumerate() {
        let tag = dataset.load(index).unwrap().get_pixel(0, 0).0[0];
        classes[label as usize].push(tag);
    }
    classes.iter_mut().for_each(|tags| tags.sort());
    classes.sort();
    classes
}

#[cfg(unix)]
pub fn write_raw_folder(root: &Path, files: &RawFiles) {
    use std::os::unix::ffi::OsStrExt;
    for (path, bytes) in files {
        let path = root.join(std::ffi::OsStr::from_bytes(path));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
}

#[cfg(not(unix))]
pub fn write_raw_folder(_: &Path, _: &RawFiles) {
    unreachable!("paths of any bytes are Unix's")
}

pub fn raw_tar(files: &RawFiles) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, bytes) in files {
        let mut header = tar::Header::new_gnu();
        header.as_old_mut().name[..path.len()].copy_from_slice(path);
        header.set_entry_type(tar::EntryType::Regular);
        header.set_size(bytes.len() as u64);
        header.set_cksum();
        builder.append(&header, &bytes[..]).unwrap();
    }
    builder.into_inner().unwrap()
}

/// A zip of raw names, none of which is marked as UTF-8.
pub fn unmarked_zip(tree: &RawFiles) -> Vec<u8> {
    // Names in ASCII first, which are then overwritten.
    let placeholder = |n: usize, len: usize| format!("{n:@>len$}");
    let files = tree.iter().enumerate();
    let files: Files =
        files.map(|(n, (path, bytes))| (placeholder(n, path.len()), bytes.clone())).collect();
    let mut zip = zip_of(&files);
    for (n, (path, _)) in tree.iter().enumerate() {
        let placeholder = placeholder(n, path.len());
        while let Some(at) = zip.windows(path.len()).position(|name| name == placeholder.as_bytes())
        {
            zip[at..at + path.len()].copy_from_slice(path);
        }
    }
    zip
}
