//! `pack`: makes one file per split, which a training maps into memory.

pub(crate) mod shrink;
mod split;

use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::builder::PossibleValuesParser;
use fewshot_data::{Dataset, SourceKind, SourceSpec};
use fewshot_fetch::{Lock, Staging, format_bytes, free_space};
use fewshot_progress::Progress;
use split::Packed;

use crate::data_folder::data_folder;
use crate::published::{NAMES, root, source};

/// Limit on the bytes that a zip adds to an image: two headers with its name, and its line in the
/// manifest.
const OVERHEAD: u64 = 1024;

/// Arguments of `pack`.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  cargo xtask pack cub                            CUB_200_2011.pack beside CUB_200_2011
  cargo xtask pack mini-imagenet --path /data/mini-imagenet-84
  cargo xtask pack cub --shorter-side 256         photographs as large as a training needs
  cargo xtask pack folders --path /data/birds --out /fast/birds.pack
A training then reads the pack in place of its source, with the same dataset.source:
  cargo run --release -p trainer -- --config configs/cub/neg-cosine-5shot.toml \\
      dataset.root=CUB_200_2011.pack

A pack is a folder of base.zip, val.zip and novel.zip (and base-val.zip where the source has such a
split). Each opens on its own as well: uncompressed zips that any tool lists and unpacks, with one
entry fewshot-pack.SPLIT.json that names the classes and their images in order. Classes, labels and
order of images are those of the source, so that trainings on either are identical to the last bit.
The same source gives the same bytes. Each image's CRC-32 is checked at each reading;
`cargo xtask verify DATASET --path PACK` checks everything.

With --shorter-side N an image whose shorter side has more than N pixels is resized, keeping its
shape, by the antialiased bilinear filter of the transforms, and encoded again: a JPEG at quality 95
with full colour resolution (4:4:4), a PNG as PNG. All others stay as they are, byte for byte.

A partial copy is packed as it is; like the copy, the pack needs dataset.allow_partial=true. Broken
images are errors that name them, unless --skip-broken leaves them out. The folder appears when it
is complete (.NAME.packing lies beside it until then), and nothing is ever overwritten. Do not write
into a pack that a training has mapped: replace it by renaming.

Exit status: 0 packed, 2 any error.")]
pub struct Pack {
    /// A published dataset, or the dataset.source of any other
    #[arg(value_parser = PossibleValuesParser::new(names()))]
    dataset: String,
    /// The folder of datasets [default: FEWSHOT_DATA, else this system's folder for data]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// The dataset itself: a folder or an archive
    #[arg(long, value_name = "PATH")]
    path: Option<PathBuf>,
    /// Resize images whose shorter side has more pixels than this
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=16_384))]
    shorter_side: Option<u32>,
    /// The folder to make [default: beside the dataset, its name with .pack]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Leave out broken images instead of failing
    #[arg(long)]
    skip_broken: bool,
}

impl Pack {
    /// Makes the pack; returns a summary.
    ///
    /// # Errors
    /// What went wrong, as one message.
    pub fn run(&self) -> Result<String, String> {
        let root = root(&self.dataset, self.path.as_deref(), self.data.as_deref())?;
        let out = match &self.out {
            Some(out) => out.clone(),
            None => beside(&root, self.shorter_side, self.data.as_deref())?,
        };
        self.pack(source(&self.dataset)?, &root, &out)
    }

    fn pack(&self, kind: SourceKind, root: &Path, out: &Path) -> Result<String, String> {
        if out.symlink_metadata().is_ok() {
            let remedy = "it is there already; move it away or name another by --out";
            return Err(format!("{}: {remedy}", out.display()));
        }
        let spec = SourceSpec::new(kind, root);
        let survey = spec.survey().map_err(|e| e.to_string())?;
        if survey.splits.iter().any(|split| split.pack.is_some()) {
            return Err(format!("{}: a pack already", root.display()));
        }
        let splits = survey.splits.iter().filter(|split| !split.images.is_empty());
        let total: usize = splits.clone().map(|split| split.images.len()).sum();
        if total == 0 {
            return Err(format!("{}: not one image in a split", root.display()));
        }
        let (lock, staging) = stage(out)?;
        let started = Instant::now();
        check_space(out, splits.clone().map(|split| &split.images), total)?;
        let progress = Progress::new("pack", total, "images");
        let mut packed = Packed::default();
        for surveyed in splits {
            let path = staging.path().join(format!("{}.zip", surveyed.split));
            let writing = |e| format!("{}: {e}", path.display());
            let file = BufWriter::with_capacity(1 << 20, File::create(&path).map_err(writing)?);
            let packing = split::Packing {
                kind,
                surveyed,
                shorter_side: self.shorter_side,
                progress: &progress,
            };
            let file = packing.write(file, &path, &mut packed)?;
            file.into_inner().map_err(|e| writing(e.into_error()))?.sync_all().map_err(writing)?;
        }
        drop(progress);
        packed.check_broken(self.skip_broken)?;
        staging.persist(out).map_err(|e| e.to_string())?;
        drop(lock);
        Ok(packed.summary(out, started.elapsed()))
    }
}

/// Returns what can be packed: the published datasets, then all other sources that have files.
fn names() -> Vec<&'static str> {
    let has_files = |name: &&&str| name.parse().is_ok_and(SourceKind::needs_root);
    let others = SourceKind::NAMES.iter().filter(has_files).filter(|name| !NAMES.contains(name));
    NAMES.iter().chain(others).copied().collect()
}

/// Returns the default name of the pack: the dataset's without the ending of an archive, with
/// `.pack`.
fn beside(root: &Path, shorter_side: Option<u32>, data: Option<&Path>) -> Result<PathBuf, String> {
    let root = if root.file_name().is_some() { root.to_owned() } else { data_folder(data)? };
    let name = root.file_name().unwrap_or_default().to_string_lossy();
    let endings = [".tar.gz", ".tgz", ".tar", ".zip", ".json"];
    let stem = endings.iter().find_map(|ending| name.strip_suffix(ending)).unwrap_or(&name);
    let smaller = shorter_side.map_or(String::new(), |side| format!("-{side}"));
    Ok(root.with_file_name(format!("{stem}{smaller}.pack")))
}

/// Locks the folder to make against other processes, and creates a hidden one beside it.
fn stage(out: &Path) -> Result<(Lock, Staging), String> {
    let name = out.file_name().ok_or_else(|| format!("{}: no name of a folder", out.display()))?;
    let hidden = |ending: &str| out.with_file_name(format!(".{}.{ending}", name.to_string_lossy()));
    if let Some(parent) = out.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        std::fs::create_dir_all(parent).map_err(|e| format!("{}: {e}", parent.display()))?;
    }
    let lock = Lock::acquire(hidden("lock")).map_err(|e| e.to_string())?;
    let staging = Staging::new(hidden("packing")).map_err(|e| e.to_string())?;
    Ok((lock, staging))
}

/// Fails if the pack might not fit on the disk. Resized images count with their original size.
fn check_space<'a>(
    out: &Path,
    splits: impl Iterator<Item = &'a Dataset>,
    images: usize,
) -> Result<(), String> {
    let mut needed = images as u64 * OVERHEAD;
    for split in splits {
        needed += (0..split.len()).map(|index| split.image_len(index)).sum::<u64>();
    }
    let free = free_space(out).map_err(|e| e.to_string())?;
    if needed <= free {
        return Ok(());
    }
    Err(format!(
        "{}: up to {} are needed, {} are free; make room or name another place by --out",
        out.display(),
        format_bytes(needed),
        format_bytes(free)
    ))
}

#[cfg(test)]
mod tests;
