//! Writes the pack of one split.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io::{Seek, Write};
use std::path::Path;
use std::time::Duration;

use fewshot_data::{Error, PackInfo, PackWriter, SourceKind, SplitSurvey, check_image};
use fewshot_fetch::format_bytes;
use fewshot_progress::Progress;
use rayon::prelude::*;

use super::shrink;

/// Most images that are read, checked and resized in parallel before they are written.
const CHUNK: usize = 256;
/// Most bytes of their files, unless one alone has more.
const CHUNK_BYTES: u64 = 64 << 20;
/// Broken images that an error lists.
const LISTED: usize = 20;

/// Counts of what was packed.
#[derive(Default)]
pub struct Packed {
    splits: Vec<(String, usize, usize)>,
    read: u64,
    written: u64,
    shrunk: usize,
    broken: Vec<String>,
    partial: Vec<String>,
    /// Where each file was packed first, by its SHA-256: the number of the split, and the image.
    seen: HashMap<[u8; 32], (usize, String)>,
    /// Images whose bytes are in several splits.
    shared: Vec<String>,
}

impl Packed {
    /// Formats the summary for the user.
    pub fn summary(&self, out: &Path, took: Duration) -> String {
        let images: usize = self.splits.iter().map(|(_, _, images)| images).sum();
        let speed = images as f64 / took.as_secs_f64().max(1e-9);
        let mut text = format!(
            "{}: {images} images, {} of {}, in {:.1} s ({speed:.0} images/s)",
            out.display(),
            format_bytes(self.written),
            format_bytes(self.read),
            took.as_secs_f64(),
        );
        for (split, classes, images) in &self.splits {
            text += &format!("\n  {split}.zip: {classes} classes, {images} images");
        }
        if self.shrunk > 0 {
            text += &format!("\n  {} images made smaller, all others as they were", self.shrunk);
        }
        for image in &self.broken {
            text += &format!("\n  left out: {image}");
        }
        if let Some(first) = self.shared.first() {
            text += &format!(
                "\n  warning: {} images are in several splits, so that a model is tested on images it \
                 was trained on; the first: {first}",
                self.shared.len()
            );
        }
        for lack in &self.partial {
            text += &format!("\n  partial, opens with dataset.allow_partial=true: {lack}");
        }
        text
    }

    /// Remembers an image of the split that is packed now, and whether another split has it, too.
    fn note_copies(&mut self, sha256: [u8; 32], image: String) {
        let split = self.splits.len();
        match self.seen.entry(sha256) {
            Entry::Vacant(place) => {
                place.insert((split, image));
            }
            Entry::Occupied(first) if first.get().0 != split => {
                self.shared.push(format!("{} = {image}", first.get().1));
            }
            Entry::Occupied(_) => {}
        }
    }

    /// Fails with the names of broken images, unless they may be left out.
    pub fn check_broken(&self, may_skip: bool) -> Result<(), String> {
        if may_skip || self.broken.is_empty() {
            return Ok(());
        }
        let named: Vec<_> =
            self.broken.iter().take(LISTED).map(|image| format!("  {image}")).collect();
        Err(format!(
            "{} broken images; replace them, or leave them out by --skip-broken:\n{}{}",
            self.broken.len(),
            named.join("\n"),
            if self.broken.len() > LISTED { "\n  …" } else { "" }
        ))
    }
}

/// Returns one past the last image of the chunk that begins at `start`, given the length of each file.
fn chunk_end(start: usize, images: usize, len: impl Fn(usize) -> u64) -> usize {
    let mut bytes = 0;
    let fits = |index: &usize| {
        bytes += len(*index);
        bytes <= CHUNK_BYTES
    };
    let count = (start..images).take(CHUNK).take_while(fits).count();
    start + count.max(1)
}

/// One split to be packed.
pub struct Packing<'a> {
    pub kind: SourceKind,
    pub surveyed: &'a SplitSurvey,
    pub shorter_side: Option<u32>,
    pub progress: &'a Progress,
}

/// An image's file as it is packed, and its former size in bytes if it was resized.
struct Prepared {
    content: Vec<u8>,
    was: Option<usize>,
}

impl Packing<'_> {
    /// Writes the pack of the split to `file`; errors name `path`.
    pub fn write<W: Write + Seek>(
        &self,
        file: W,
        path: &Path,
        packed: &mut Packed,
    ) -> Result<W, String> {
        let images = &self.surveyed.images;
        let split = self.surveyed.split;
        let partial = self.surveyed.partial.clone();
        let info = PackInfo { source: self.kind, split, partial, shorter_side: self.shorter_side };
        let mut pack = PackWriter::new(file, &info);
        let fault = |e: std::io::Error| format!("{}: {e}", path.display());
        let (mut label, mut classes, mut broken) = (None, 0, 0);
        let mut start = 0;
        while start < images.len() {
            let chunk = start..chunk_end(start, images.len(), |index| images.image_len(index));
            start = chunk.end;
            let prepared: Vec<_> =
                chunk.clone().into_par_iter().map(|index| self.prepare(index)).collect();
            for (index, prepared) in chunk.zip(prepared) {
                let image = match prepared {
                    Ok(image) => image,
                    Err(e) => {
                        packed.broken.push(e.to_string());
                        broken += 1;
                        continue;
                    }
                };
                if label.replace(images.labels()[index]) != Some(images.labels()[index]) {
                    classes += 1;
                    self.begin_class(&mut pack, images.labels()[index] as usize);
                }
                let sha256 = pack.image(images.image_path(index), &image.content).map_err(fault)?;
                packed.note_copies(sha256, format!("{split}: {}", images.image_name(index)));
                packed.written += image.content.len() as u64;
                packed.read += image.was.unwrap_or(image.content.len()) as u64;
                packed.shrunk += usize::from(image.was.is_some());
            }
        }
        let left_out = (broken > 0).then(|| format!("{broken} broken images are left out"));
        let lacks: Vec<_> = self.surveyed.partial.clone().into_iter().chain(left_out).collect();
        if !lacks.is_empty() {
            packed.partial.push(format!("{split}: {}", lacks.join("; ")));
            pack.lacks(lacks.join("; "));
        }
        packed.splits.push((split.to_string(), classes, images.len() - broken));
        pack.finish().map_err(fault)
    }

    fn begin_class<W: Write + Seek>(&self, pack: &mut PackWriter<W>, label: usize) {
        let mut present = self.surveyed.classes.iter().filter(|class| class.present > 0);
        if let Some(class) = present.nth(label) {
            // Where splits cannot be opened together, a class has no label among all classes.
            pack.class(&class.name, class.label.unwrap_or(label));
        }
    }

    /// Reads an image, checks that it is whole, and resizes it if that is wanted.
    fn prepare(&self, index: usize) -> Result<Prepared, Error> {
        self.progress.advance(1, String::new);
        let images = &self.surveyed.images;
        let content = images.bytes(index)?;
        let name = images.image_name(index);
        let image = check_image(&name, content.clone())?;
        let smaller = match self.shorter_side {
            Some(side) => shrink::shrunk(&content, &image, side)?,
            None => None,
        };
        Ok(match smaller {
            Some(smaller) => Prepared { was: Some(content.len()), content: smaller },
            None => Prepared { content, was: None },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_has_few_bytes_rather_than_many_images() {
        assert_eq!(chunk_end(0, 1000, |_| 100_000), 256);
        assert_eq!(chunk_end(900, 1000, |_| 100_000), 1000);
        // 8 MiB each: eight of them, and one of 300 MB alone.
        assert_eq!(chunk_end(16, 1000, |_| 8 << 20), 24);
        assert_eq!(chunk_end(5, 1000, |_| 300 << 20), 6);
    }
}
