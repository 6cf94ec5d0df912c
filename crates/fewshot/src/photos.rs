//! Photos in folders, archives and lists.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use fewshot_data::{FileTree, StoredFile};
use fewshot_progress::{counted, printable};

use crate::Error;

/// A photo that is read when it is asked for.
#[derive(Clone)]
pub struct Photo {
    /// By which a person finds it: its path below what was named, or as it was named.
    pub name: String,
    /// The class, an index into [`Photos::classes`]; `None` for one without a label.
    pub label: Option<usize>,
    file: PhotoFile,
}

#[derive(Clone)]
enum PhotoFile {
    /// In a folder or an archive.
    Stored(StoredFile),
    Disk(PathBuf),
}

impl Photo {
    /// Reads the file.
    ///
    /// # Errors
    /// [`Error::Broken`].
    pub fn read(&self) -> Result<Vec<u8>, Error> {
        let broken = |reason: String| Error::Broken { name: self.name.clone(), reason };
        match &self.file {
            PhotoFile::Stored(file) => file.read().map_err(|e| broken(e.to_string())),
            PhotoFile::Disk(path) => {
                // A pipe would wait for a writer, and a device may have no end.
                let meta = std::fs::metadata(path).map_err(|e| broken(e.to_string()))?;
                if !meta.is_file() {
                    return Err(broken("a folder, a pipe or a device, not a file".to_owned()));
                }
                std::fs::read(path).map_err(|e| broken(e.to_string()))
            }
        }
    }
}

/// Photos, perhaps with the classes that they are of.
#[derive(Clone)]
pub struct Photos {
    /// Names of the classes, sorted; none for photos without labels.
    pub classes: Vec<String>,
    /// The photos, sorted by class and name.
    pub photos: Vec<Photo>,
    /// What was passed over, for people.
    pub notes: Vec<String>,
}

impl Photos {
    /// Opens labelled photos: a folder or an archive (tar, tgz, zip) of a folder for each class, or a
    /// CSV of the columns `path` and `label`, whose paths are relative to the CSV.
    ///
    /// # Errors
    /// [`Error::Photos`] for what is neither, and for photos that lie in no class's folder.
    pub fn labelled(path: &Path) -> Result<Self, Error> {
        let is_list = path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("csv"));
        if is_list { of_list(path) } else { of_folders(path) }
    }

    /// Opens photos without labels: files, and all images in folders and archives.
    ///
    /// # Errors
    /// [`Error::Photos`] for a path that is not there, or a folder without images.
    pub fn unlabelled(paths: &[PathBuf]) -> Result<Self, Error> {
        let (mut photos, mut notes) = (Vec::new(), Vec::new());
        for path in paths {
            let name = printable(&path.to_string_lossy());
            let is_archive = ["tar", "tgz", "gz", "zip"]
                .iter()
                .any(|ending| path.extension().is_some_and(|own| own.eq_ignore_ascii_case(ending)));
            if !path.is_dir() && !is_archive {
                if !path.exists() {
                    return Err(Error::photos(path, "there is no such file or folder"));
                }
                photos.push(Photo { name, label: None, file: PhotoFile::Disk(path.clone()) });
                continue;
            }
            let (found, others) = images(path)?;
            if found.is_empty() {
                return Err(Error::photos(path, no_image(others)));
            }
            if others > 0 {
                notes.push(format!(
                    "{name}: {} passed over that are no images",
                    counted(others, "file")
                ));
            }
            photos.extend(found.into_iter().map(|(inner, file)| {
                let name = file.full_name(&inner);
                Photo { name: printable(&name), label: None, file: PhotoFile::Stored(file) }
            }));
        }
        Ok(Self { classes: Vec::new(), photos, notes })
    }

    /// Number of photos of each class.
    pub fn counts(&self) -> Vec<usize> {
        let mut counts = vec![0; self.classes.len()];
        for label in self.photos.iter().filter_map(|photo| photo.label) {
            counts[label] += 1;
        }
        counts
    }

    /// Gives classes their labels, in alphabetical order.
    fn of_classes(classes: BTreeMap<String, Vec<(String, PhotoFile)>>, notes: Vec<String>) -> Self {
        let (mut names, mut photos) = (Vec::new(), Vec::new());
        for (label, (class, files)) in classes.into_iter().enumerate() {
            let photo = |(name, file)| Photo { name, label: Some(label), file };
            photos.extend(files.into_iter().map(photo));
            names.push(class);
        }
        Self { classes: names, photos, notes }
    }
}

/// Lists the images of a folder or archive with their paths in it; counts its other files.
fn images(path: &Path) -> Result<(Vec<(String, StoredFile)>, usize), Error> {
    let tree = FileTree::open(path).map_err(|e| Error::photos(path, e.to_string()))?;
    // What systems put beside photos.
    let is_hidden =
        |path: &str| path.split('/').any(|part| part.starts_with('.') || part == "__MACOSX");
    let all = tree.files().filter(|(path, _)| !is_hidden(path)).count();
    let images: Vec<_> = tree.images().filter(|(path, _)| !is_hidden(path)).collect();
    let images: Vec<_> =
        images.into_iter().map(|(path, file)| (path.to_owned(), file.clone())).collect();
    let others = all - images.len();
    Ok((images, others))
}

fn no_image(others: usize) -> String {
    format!(
        "no image is there, but {}; JPEG, PNG, WebP, BMP, GIF and TIFF are read, by the ending of \
         their names",
        counted(others, "other file")
    )
}

/// Takes the first folder of each image's path for its class.
fn of_folders(path: &Path) -> Result<Photos, Error> {
    let (images, others) = images(path)?;
    if images.is_empty() {
        return Err(Error::photos(path, no_image(others)));
    }
    let mut notes = Vec::new();
    if others > 0 {
        notes.push(format!("{} passed over that are no images", counted(others, "file")));
    }
    let skip = shared_folders(&images);
    let mut classes = BTreeMap::<String, Vec<_>>::new();
    let mut loose = Vec::new();
    for (inner, file) in images {
        match inner.split('/').nth(skip).filter(|_| inner.matches('/').count() > skip) {
            Some(class) => {
                let class = class.to_owned();
                classes
                    .entry(class)
                    .or_default()
                    .push((printable(&inner), PhotoFile::Stored(file)));
            }
            None => loose.push(inner),
        }
    }
    if let Some(first) = loose.first() {
        let reason = format!(
            "{} in no class's folder, such as `{}`: put the photos of each class into a folder of its name",
            match loose.len() {
                1 => "a photo is".to_owned(),
                count => format!("{count} photos are"),
            },
            printable(first)
        );
        return Err(Error::photos(path, reason));
    }
    Ok(Photos::of_classes(classes, notes))
}

/// Number of folders that all paths begin with, as an archive of one folder has, beyond which the
/// classes' folders are.
fn shared_folders(images: &[(String, StoredFile)]) -> usize {
    let folder = |depth: usize| {
        let names: BTreeSet<_> =
            images.iter().map(|(path, _)| path.split('/').nth(depth)).collect();
        names.len() == 1 && images.iter().all(|(path, _)| path.matches('/').count() > depth + 1)
    };
    (0..).take_while(|&depth| folder(depth)).count()
}

/// Reads `path,label` rows.
fn of_list(path: &Path) -> Result<Photos, Error> {
    let bad = |e: csv::Error| Error::photos(path, e.to_string());
    let text = std::fs::read(path).map_err(|e| Error::photos(path, e.to_string()))?;
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&text);
    let mut reader =
        csv::ReaderBuilder::new().has_headers(false).trim(csv::Trim::All).from_reader(text);
    let folder = path.parent().unwrap_or(Path::new(""));
    let mut classes = BTreeMap::<String, Vec<_>>::new();
    let mut lines = BTreeMap::<String, usize>::new();
    for (line, row) in (1..).zip(reader.records()) {
        let row = row.map_err(bad)?;
        let (Some(file), Some(label), 2) = (row.get(0), row.get(1), row.len()) else {
            let reason =
                format!("line {line} has {}: expected path,label", counted(row.len(), "column"));
            return Err(Error::photos(path, reason));
        };
        if line == 1 && label.eq_ignore_ascii_case("label") {
            continue;
        }
        if file.is_empty() || label.is_empty() {
            return Err(Error::photos(path, format!("line {line}: a path or a label is empty")));
        }
        if let Some(first) = lines.insert(file.to_owned(), line) {
            let reason =
                format!("`{}` is there twice, in lines {first} and {line}", printable(file));
            return Err(Error::photos(path, reason));
        }
        let of_class = classes.entry(label.to_owned()).or_default();
        of_class.push((printable(file), PhotoFile::Disk(folder.join(file))));
    }
    if classes.is_empty() {
        return Err(Error::photos(path, "no photo is listed: expected rows of path,label"));
    }
    Ok(Photos::of_classes(classes, Vec::new()))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn touch(root: &Path, files: &[&str]) {
        for file in files {
            let path = root.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
    }

    fn refusal(path: &Path) -> String {
        Photos::labelled(path).err().unwrap().to_string()
    }

    #[test]
    fn folders_are_classes() {
        let root = tempfile::tempdir().unwrap();
        touch(
            root.path(),
            &["rose/1.jpg", "rose/near/2.JPG", "tulip/1.png", "tulip/notes.txt", ".x/1.jpg"],
        );
        let photos = Photos::labelled(root.path()).unwrap();
        assert_eq!(photos.classes, ["rose", "tulip"]);
        let names: Vec<_> = photos.photos.iter().map(|p| (&*p.name, p.label)).collect();
        let expected =
            [("rose/1.jpg", Some(0)), ("rose/near/2.JPG", Some(0)), ("tulip/1.png", Some(1))];
        assert_eq!(names, expected);
        assert_eq!(
            (photos.counts(), photos.notes),
            (vec![2, 1], vec!["1 file passed over that are no images".to_owned()])
        );
        // A folder around the classes' folders, as archives have it.
        let around = tempfile::tempdir().unwrap();
        touch(around.path(), &["photos/rose/1.jpg", "photos/tulip/1.png"]);
        assert_eq!(Photos::labelled(around.path()).unwrap().classes, ["rose", "tulip"]);

        touch(root.path(), &["3.jpg"]);
        assert!(refusal(root.path()).contains("a photo is in no class's folder, such as `3.jpg`"));
        let empty = tempfile::tempdir().unwrap();
        touch(empty.path(), &["a.txt", "b.txt"]);
        assert!(refusal(empty.path()).contains("no image is there, but 2 other files"));
        assert!(refusal(&empty.path().join("none")).contains("none"));
    }

    #[test]
    fn lists_name_photos() {
        let root = tempfile::tempdir().unwrap();
        let list = root.path().join("list.csv");
        let with = |text: &str| fs::write(&list, text).unwrap();
        with("\u{feff}path,label\nb/2.jpg, tulip\na/1.jpg,rose\n");
        let photos = Photos::labelled(&list).unwrap();
        assert_eq!(photos.classes, ["rose", "tulip"]);
        assert_eq!(photos.photos[1].name, "b/2.jpg");
        for (text, expected) in [
            ("", "no photo is listed"),
            ("a.jpg\n", "line 1 has 1 column"),
            ("a.jpg,x,y\n", "line 1 has 3 columns"),
            ("a.jpg,\n", "line 1: a path or a label is empty"),
            ("a.jpg,x\na.jpg,y\n", "`a.jpg` is there twice, in lines 1 and 2"),
        ] {
            with(text);
            assert!(refusal(&list).contains(expected), "{}", refusal(&list));
        }
    }

    #[test]
    fn photos_without_labels_are_files_and_folders() {
        let root = tempfile::tempdir().unwrap();
        touch(root.path(), &["a.jpg", "in/b.png", "in/deeper/c.webp", "in/d.txt", "e.text"]);
        let path = |name: &str| root.path().join(name);
        let photos = Photos::unlabelled(&[path("a.jpg"), path("in"), path("e.text")]).unwrap();
        let ends = ["a.jpg", "b.png", "c.webp", "e.text"];
        assert_eq!(photos.photos.len(), ends.len());
        for (photo, end) in photos.photos.iter().zip(ends) {
            assert!(photo.name.ends_with(end) && photo.label.is_none(), "{}", photo.name);
        }
        assert!(Photos::unlabelled(&[path("no.jpg")]).is_err());
        fs::create_dir(path("empty")).unwrap();
        assert!(Photos::unlabelled(&[path("empty")]).is_err());
    }
}
