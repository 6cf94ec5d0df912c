//! Writing of packs.

use std::io::{Seek, Write};

use sha2::{Digest, Sha256};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, ZipWriter};

use super::{Manifest, PackInfo, PackedClass, VERSION, entry_name, manifest_name};

/// Writes a pack: the images of one split in one file, which a [`crate::SourceSpec`] of the
/// same kind then opens in place of the source, with the same classes, labels and order of
/// images, whether its root is that file or a folder with the files of all splits.
///
/// The file is a zip (ZIP64 if necessary) of uncompressed entries without times, so that the same
/// images give the same bytes. A reader maps it into memory and checks each image's CRC-32
/// whenever it is read. Besides `SPLIT/PATH` of each image it has one entry
/// `fewshot-pack.SPLIT.json` that names the source, the split and the images of each class in order.
///
/// A mapped file must not be shortened while it is in use: the system ends a process (SIGBUS) that
/// reads beyond its end. Replace a pack by renaming another onto it, never by writing into it.
///
/// ```
/// use fewshot_data::{PackInfo, PackWriter, SourceKind, SourceSpec, Split};
/// # let folder = tempfile::tempdir()?;
/// # let mut png = std::io::Cursor::new(Vec::new());
/// # image::RgbImage::new(4, 4).write_to(&mut png, image::ImageFormat::Png)?;
/// # let png = png.into_inner();
/// let path = folder.path().join("base.zip");
/// let info = PackInfo {
///     source: SourceKind::Folders,
///     split: Split::Base,
///     partial: None,
///     shorter_side: None,
/// };
/// let mut pack = PackWriter::new(std::fs::File::create(&path)?, &info);
/// pack.class("crow", 0);
/// pack.image("crow/a.png", &png)?;
/// pack.finish()?;
/// let crows = SourceSpec::new(SourceKind::Folders, path).open(Split::Base)?;
/// assert_eq!((crows.len(), crows.class_names()), (1, &["crow".to_owned()][..]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct PackWriter<W: Write + Seek> {
    zip: ZipWriter<W>,
    manifest: Manifest,
    digest: Sha256,
}

impl<W: Write + Seek> PackWriter<W> {
    /// Begins a pack.
    pub fn new(out: W, info: &PackInfo) -> Self {
        let manifest = Manifest {
            fewshot_pack: VERSION,
            source: info.source.to_string(),
            split: info.split.to_string(),
            partial: info.partial.clone(),
            shorter_side: info.shorter_side,
            images: 0,
            sha256: String::new(),
            classes: Vec::new(),
        };
        Self { zip: ZipWriter::new(out), manifest, digest: Sha256::new() }
    }

    /// Begins the next class. `label` is its label among the classes of all splits, which orders
    /// them when all are opened together.
    pub fn class(&mut self, name: &str, label: usize) {
        let class = PackedClass { name: name.to_owned(), label, images: Vec::new() };
        self.manifest.classes.push(class);
    }

    /// Adds an image to the class begun last: its path in the source, by which images are ordered,
    /// and the whole file. Returns the file's SHA-256.
    ///
    /// # Errors
    /// Those of writing; a path that is in the pack already; no class begun.
    pub fn image(&mut self, path: &str, content: &[u8]) -> std::io::Result<[u8; 32]> {
        let Some(class) = self.manifest.classes.last_mut() else {
            return Err(std::io::Error::other("an image before any class"));
        };
        class.images.push(path.to_owned());
        self.manifest.images += 1;
        let sha256: [u8; 32] = Sha256::digest(content).into();
        self.digest.update(sha256);
        let split = self.manifest.split.parse().map_err(std::io::Error::other)?;
        self.entry(&entry_name(split, path), content)?;
        Ok(sha256)
    }

    /// Records that images are missing: the pack then opens only where a partial dataset is allowed.
    pub fn lacks(&mut self, what: String) {
        self.manifest.partial = Some(what);
    }

    /// Writes the manifest and the end of the file.
    ///
    /// # Errors
    /// Those of writing.
    pub fn finish(mut self) -> std::io::Result<W> {
        self.manifest.sha256 = hex(&self.digest.finalize_reset());
        let split = self.manifest.split.parse().map_err(std::io::Error::other)?;
        let manifest = serde_json::to_vec(&self.manifest)?;
        self.entry(&manifest_name(split), &manifest)?;
        Ok(self.zip.finish()?)
    }

    fn entry(&mut self, name: &str, content: &[u8]) -> std::io::Result<()> {
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Stored)
            .last_modified_time(DateTime::DEFAULT)
            .unix_permissions(0o644);
        self.zip.start_file(name, options)?;
        self.zip.write_all(content)
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
