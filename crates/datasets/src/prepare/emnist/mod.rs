//! `prepare-emnist`: makes class folders of PNGs from EMNIST's idx files.
//!
//! Each chunk of the files is parsed by candle-datasets, whose reader for MNIST takes a folder of
//! uncompressed files under MNIST's names and allocates whatever a header announces. [`idx`]
//! therefore checks headers, decompresses, and cuts the files into chunks that bound its memory.

mod idx;
#[cfg(test)]
mod tests;

use std::fs;
use std::path::{Path, PathBuf};

use candle_core::Tensor;
use candle_datasets::vision::mnist;
use fewshot_data::{SourceKind, Split};
use fewshot_progress::Progress;
use idx::IdxFile;
use image::GrayImage;

use super::folder::Folder;
use crate::data_folder::data_folder;

const NAME: &str = "emnist";
/// Height and width of an image, in pixels.
const SIDE: u32 = 28;
const PIXELS: usize = (SIDE * SIDE) as usize;
/// Images of either part that are in memory at once: 29 MB, as candle-datasets converts them to
/// 32-bit floats.
const CHUNK: usize = 4_096;
/// EMNIST's parts, with the prefixes under which candle-datasets looks for MNIST's.
const PARTS: [(&str, &str); 2] = [("train", "train"), ("test", "t10k")];
/// Bytes of a block of common file systems; no image takes more.
const BLOCK: u64 = 4_096;

/// A set of EMNIST: how its characters are divided into classes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Set {
    /// 62 classes, 814,255 images: digits, capital and small letters
    Byclass,
    /// 47 classes, 131,600 images: small letters that look like their capitals are merged with
    /// them
    Balanced,
    /// 26 classes, 145,600 images: each letter, capital or small
    Letters,
}

impl Set {
    fn name(self) -> &'static str {
        match self {
            Self::Byclass => "byclass",
            Self::Balanced => "balanced",
            Self::Letters => "letters",
        }
    }

    /// Returns the character of each label, as EMNIST's mapping files list them, and the first
    /// label.
    fn characters(self) -> (&'static str, usize) {
        match self {
            Self::Byclass => ("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz", 0),
            Self::Balanced => ("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabdefghnqrt", 0),
            Self::Letters => ("abcdefghijklmnopqrstuvwxyz", 1),
        }
    }
}

/// Arguments of `prepare-emnist`.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  cargo xtask prepare-emnist --from ~/Downloads/gzip --data /data
                                      into /data/emnist, from what gzip.zip of EMNIST holds
  cargo xtask prepare-emnist --from ~/gzip --images-per-class 100
                                      6,200 images: enough for episodes, read in seconds
  cargo xtask prepare-emnist --from ~/gzip --set letters

FOLDER holds emnist-SET-{train,test}-images-idx3-ubyte and …-labels-idx1-ubyte, plain or with .gz.
Images are turned upright (EMNIST stores them transposed) and inverted to black on white, as
Omniglot's are. Classes alternate between val and novel, as in the literature (Chen et al., A Closer
Look at Few-shot Classification, ICLR 2019): DATA/emnist/{val,test}/LABEL_CHARACTER/PART_NUMBER.png.
The folder appears only when it is complete; one that is already there is left alone. A training on
Omniglot is then evaluated on it by configs/cpu/omniglot-to-emnist-conv4.toml.

Environment: FEWSHOT_DATA.

Exit status: 0 done or already there, 2 any error.")]
pub struct PrepareEmnist {
    /// The folder with EMNIST's idx files
    #[arg(long, value_name = "FOLDER")]
    from: PathBuf,
    /// The set to take
    #[arg(long, value_enum, value_name = "SET", default_value_t = Set::Byclass)]
    set: Set,
    /// The folder of datasets [default: FEWSHOT_DATA, else this system's folder for data]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Take only the first images of each class
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    images_per_class: Option<u32>,
    /// Continue even if the disk seems too small
    #[arg(long)]
    yes: bool,
    /// Print the summary as JSON
    #[arg(long)]
    json: bool,
}

impl PrepareEmnist {
    /// Makes the folder; returns a summary.
    ///
    /// # Errors
    /// What went wrong, as one message.
    pub fn run(&self) -> Result<String, String> {
        self.run_in_chunks(CHUNK)
    }

    fn run_in_chunks(&self, chunk: usize) -> Result<String, String> {
        let data = data_folder(self.data.as_deref())?;
        let folder = Folder {
            dataset: "EMNIST",
            data: &data,
            name: NAME,
            source: SourceKind::Folders,
            splits: &[("val", Split::Val), ("test", Split::Novel)],
        };
        let is_new = !folder.exists() && {
            let parts = [self.open(PARTS[0].0)?, self.open(PARTS[1].0)?];
            let mut writer = Writer::new(self, &parts);
            let bytes = (!self.yes).then(|| writer.limit * BLOCK);
            folder.make(bytes, |path| writer.write(path, parts, chunk))?
        };
        folder.report(is_new, self.json)
    }

    fn open(&self, part: &str) -> Result<Part, String> {
        let name = |what: &str| format!("emnist-{}-{part}-{what}-ubyte", self.set.name());
        let images = IdxFile::open(&self.from, &name("images-idx3"), &[SIDE, SIDE])?;
        let labels = IdxFile::open(&self.from, &name("labels-idx1"), &[])?;
        if images.items() != labels.items() {
            let (images, labels) = (images.items(), labels.items());
            let from = self.from.display();
            return Err(format!("{from}: {labels} {part} labels of {images} images"));
        }
        Ok(Part { images, labels })
    }
}

/// Images and labels of a part.
struct Part {
    images: IdxFile,
    labels: IdxFile,
}

/// Writes the images of a set to a folder.
struct Writer {
    set: Set,
    per_class: usize,
    /// Images written of each class.
    written: Vec<usize>,
    /// Limit on the images that are written.
    limit: u64,
    progress: Progress,
}

impl Writer {
    fn new(arguments: &PrepareEmnist, parts: &[Part]) -> Self {
        let classes = arguments.set.characters().0.len();
        let per_class = arguments.images_per_class.map_or(usize::MAX, |n| n as usize);
        let total: usize = parts.iter().map(|part| part.images.items()).sum();
        let limit = total.min(per_class.saturating_mul(classes));
        Self {
            set: arguments.set,
            per_class,
            written: vec![0; classes],
            limit: limit as u64,
            progress: Progress::new(NAME, total, "images"),
        }
    }

    fn write(&mut self, folder: &Path, mut parts: [Part; 2], chunk: usize) -> Result<(), String> {
        let fail = |e: std::io::Error| format!("{}: {e}", folder.display());
        for label in 0..self.written.len() {
            fs::create_dir_all(self.class_folder(folder, label)).map_err(fail)?;
        }
        let files = folder.join(".idx");
        fs::create_dir(&files).map_err(fail)?;
        let mut first = [0, 0];
        loop {
            let mut counts = [0, 0];
            for (part, ((_, prefix), count)) in parts.iter_mut().zip(PARTS.iter().zip(&mut counts))
            {
                let path = |what: &str| files.join(format!("{prefix}-{what}-ubyte"));
                *count = part.images.split_off(chunk, &path("images-idx3"))?;
                part.labels.split_off(chunk, &path("labels-idx1"))?;
            }
            if counts == [0, 0] {
                break;
            }
            let read =
                |e: candle_core::Error| format!("candle-datasets cannot read idx files: {e}");
            let chunk = mnist::load_dir(&files).map_err(read)?;
            let train = (&chunk.train_images, &chunk.train_labels);
            let test = (&chunk.test_images, &chunk.test_labels);
            for (part, (images, labels)) in [train, test].into_iter().enumerate() {
                let images = pixels(images).map_err(read)?;
                let labels = labels.to_vec1::<u8>().map_err(read)?;
                let numbers = first[part]..;
                for (number, (image, label)) in numbers.zip(images.chunks(PIXELS).zip(labels)) {
                    self.add(folder, PARTS[part].0, number, image, label)?;
                }
                first[part] += counts[part];
            }
        }
        fs::remove_dir_all(&files).map_err(fail)
    }

    /// Even classes are val, odd ones novel.
    fn class_folder(&self, folder: &Path, class: usize) -> PathBuf {
        let (characters, first) = self.set.characters();
        let split = if class.is_multiple_of(2) { "val" } else { "test" };
        // The label tells `a` and `A` apart where the file system does not.
        let name = format!("{:02}_{}", class + first, &characters[class..=class]);
        folder.join(split).join(name)
    }

    fn add(
        &mut self,
        folder: &Path,
        part: &str,
        number: usize,
        pixels: &[u8],
        label: u8,
    ) -> Result<(), String> {
        self.progress.advance(1, String::new);
        let class = usize::from(label).checked_sub(self.set.characters().1);
        let class = class.filter(|&class| class < self.written.len()).ok_or_else(|| {
            format!("{part} image {number} has label {label}, which {} has not", self.set.name())
        })?;
        if self.written[class] >= self.per_class {
            return Ok(());
        }
        self.written[class] += 1;
        let path = self.class_folder(folder, class).join(format!("{part}_{number:06}.png"));
        upright(pixels).save(&path).map_err(|e| format!("{}: {e}", path.display()))
    }
}

/// Returns bytes of images `[N, 784]` whose values are in [0, 1].
fn pixels(images: &Tensor) -> Result<Vec<u8>, candle_core::Error> {
    let values = images.flatten_all()?.to_vec1::<f32>()?;
    Ok(values.into_iter().map(|value| (255.0 * value).round() as u8).collect())
}

/// Transposes an image, and inverts white on black to black on white.
fn upright(pixels: &[u8]) -> GrayImage {
    GrayImage::from_fn(SIDE, SIDE, |x, y| image::Luma([255 - pixels[(x * SIDE + y) as usize]]))
}
