//! `prepare-mini-imagenet`: makes mini-ImageNet's usual folder from a copy in any form.

mod cache;
#[cfg(feature = "emnist")]
pub mod emnist;
mod folder;
mod input;
mod missing;

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use cache::CachedImage;
use fewshot_data::{SourceKind, Split};
use fewshot_progress::{Progress, warn};
use folder::Folder;
use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder};
use input::Input;
use missing::Missing;

use crate::data_folder::data_folder;

const FOLDER: &str = "mini-imagenet";

/// Arguments of `prepare-mini-imagenet`.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  cargo xtask prepare-mini-imagenet --from ~/ILSVRC2012_img_train.tar --data /data
                                      from the 138 GB as they are; nothing is unpacked
  cargo xtask prepare-mini-imagenet --from ~/ILSVRC/Data/CLS-LOC/train
  cargo xtask prepare-mini-imagenet --from ~/mini-imagenet.zip
                                      flat images or class folders, packed or not
  cargo xtask prepare-mini-imagenet --from train.pkl val.pkl test.pkl
                                      pickled caches; nothing in them is executed
  cargo xtask prepare-mini-imagenet --from ~/half-a-copy --allow-partial

The form of PATH is detected. Classes and splits are those that Ravi and Larochelle published;
lists beside the images are not needed. Files are copied byte for byte; images of a pickled cache
become PNGs. Classes are named by their WordNet IDs. The folder
DATA/mini-imagenet/{train,val,test}/WNID/FILE appears only when it is complete; one that is already
there is left alone. A training then opens it with FEWSHOT_DATA set:
  FEWSHOT_DATA=/data cargo run --release -p trainer -- dataset.source=mini-imagenet \\
      dataset.root=mini-imagenet

Environment: FEWSHOT_DATA.

Exit status: 0 done or already there, 2 any error.")]
pub struct Prepare {
    /// A folder or an archive (.tar, .tar.gz, .tgz, .zip) of images or of archives, or a pickled
    /// cache (.pkl, .pickle); several are merged into one dataset
    #[arg(long, value_name = "PATH", required = true, num_args = 1..)]
    from: Vec<PathBuf>,
    /// The folder of datasets [default: FEWSHOT_DATA, else this system's folder for data]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Continue without the classes and images that are missing
    #[arg(long)]
    allow_partial: bool,
    /// Continue even if the disk seems too small
    #[arg(long)]
    yes: bool,
    /// Print the summary as JSON
    #[arg(long)]
    json: bool,
}

impl Prepare {
    /// Makes the folder; returns a summary.
    ///
    /// # Errors
    /// What went wrong, as one message.
    pub fn run(&self) -> Result<String, String> {
        let data = data_folder(self.data.as_deref())?;
        let folder = Folder {
            dataset: "mini-ImageNet",
            data: &data,
            name: FOLDER,
            source: SourceKind::MiniImageNet,
            splits: &[("train", Split::Base), ("val", Split::Val), ("test", Split::Novel)],
        };
        let is_new = !folder.exists() && {
            for path in &self.from {
                warn(format_args!("{FOLDER}: looking into {}", path.display()));
            }
            let input = Input::find(&self.from)?;
            self.check_whole(&input)?;
            let bytes = (!self.yes).then_some(input.on_disk);
            folder.make(bytes, |path| Writer::new(path, &input).write())?
        };
        folder.report(is_new, self.json)
    }

    fn check_whole(&self, input: &Input) -> Result<(), String> {
        let missing = Missing::new(input);
        if missing.images == 0 {
            return Ok(());
        }
        let from: Vec<_> = self.from.iter().map(|path| path.display().to_string()).collect();
        let all = input.classes.len();
        let what = format!(
            "{}: {} of {all} classes and {} of {} images are missing",
            from.join(", "),
            missing.classes,
            missing.images,
            all * fewshot_data::mini_imagenet::IMAGES_PER_CLASS
        );
        let lines: String = missing.lines.iter().map(|line| format!("\n  {line}")).collect();
        if missing.classes == all {
            return Err(format!(
                "{}: no image of mini-ImageNet: expected are the names of the published lists, \
                 class folders or archives by WordNet ID, or pickled caches",
                from.join(", ")
            ));
        }
        if !self.allow_partial {
            return Err(format!("{what}; add them, or go on without by --allow-partial{lines}"));
        }
        format!("{FOLDER}: {what}{lines}").lines().for_each(warn);
        Ok(())
    }
}

/// Writes the images of an input to a folder.
struct Writer<'a> {
    folder: &'a Path,
    input: &'a Input,
    progress: Progress,
    done: usize,
    total: usize,
}

impl<'a> Writer<'a> {
    fn new(folder: &'a Path, input: &'a Input) -> Self {
        let total = input.classes.iter().map(|found| found.count()).sum();
        let progress = Progress::new(FOLDER, total, "images");
        Self { folder, input, progress, done: 0, total }
    }

    fn write(mut self) -> Result<(), String> {
        for found in self.input.classes.iter().filter(|found| found.count() > 0) {
            let folder = self.class_folder(found.class.folder(), found.class.wnid);
            std::fs::create_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
            for image in &found.images {
                let bytes = image.read().map_err(|e| format!("{}: {e}", image.origin()))?;
                self.add(&folder.join(&image.name), &bytes)?;
            }
        }
        for path in &self.input.caches {
            let cache = input::read_cache(path)?;
            cache.for_each(|image| self.add_cached(&image, path))?;
        }
        if self.done == self.total {
            return Ok(());
        }
        Err(format!("{} of {} images were there: the input has changed", self.done, self.total))
    }

    fn class_folder(&self, split: &str, wnid: &str) -> PathBuf {
        self.folder.join(split).join(wnid)
    }

    fn add_cached(&mut self, image: &CachedImage<'_>, cache: &Path) -> Result<(), String> {
        let CachedImage { wnid, number, height, width, pixels } = *image;
        let class = fewshot_data::mini_imagenet::class(wnid);
        let class = class.ok_or_else(|| format!("{}: class {wnid}", cache.display()))?;
        let mut png = Vec::new();
        PngEncoder::new(&mut png)
            .write_image(pixels, width as u32, height as u32, ExtendedColorType::Rgb8)
            .map_err(|e| format!("{}: image {number} of {wnid}: {e}", cache.display()))?;
        let folder = self.class_folder(class.folder(), class.wnid);
        self.add(&folder.join(format!("{wnid}{number:08}.png")), &png)
    }

    fn add(&mut self, path: &Path, bytes: &[u8]) -> Result<(), String> {
        let written = File::create_new(path).and_then(|mut file| file.write_all(bytes));
        written.map_err(|e| format!("{}: {e}", path.display()))?;
        self.done += 1;
        self.progress.advance(1, String::new);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
