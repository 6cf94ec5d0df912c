//! idx files, read in chunks of bounded size.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;

/// Limit on the items of a file. EMNIST's largest has 697,932.
const MAX_ITEMS: usize = 1_000_000;

/// An idx file of unsigned bytes whose header has been checked.
pub struct IdxFile {
    path: PathBuf,
    reader: Box<dyn Read>,
    /// Sizes of an item: height and width of an image, nothing for a label.
    sizes: &'static [u32],
    items: usize,
    left: usize,
}

impl IdxFile {
    /// Opens `NAME` or `NAME.gz` in a folder, or in its subfolder `gzip`, and checks that its items
    /// have the given sizes.
    ///
    /// # Errors
    /// No such file, another format, other sizes, or more items than there can be.
    pub fn open(folder: &Path, name: &str, sizes: &'static [u32]) -> Result<Self, String> {
        let folders = [folder.to_owned(), folder.join("gzip")];
        let mut paths = folders.iter().flat_map(|f| [f.join(name), f.join(format!("{name}.gz"))]);
        let path = paths.find(|path| path.is_file());
        let path = path
            .ok_or_else(|| format!("{}: expected {name} or {name}.gz in it", folder.display()))?;
        let fail = |reason: &str| format!("{}: {reason}", path.display());
        let file = BufReader::new(File::open(&path).map_err(|e| fail(&e.to_string()))?);
        let mut reader: Box<dyn Read> = match path.extension().is_some_and(|e| e == "gz") {
            true => Box::new(MultiGzDecoder::new(file)),
            false => Box::new(file),
        };
        let mut number = || {
            let mut bytes = [0; 4];
            reader.read_exact(&mut bytes).map_err(|e| fail(&format!("no idx header: {e}")))?;
            Ok::<_, String>(u32::from_be_bytes(bytes))
        };
        if number()? != magic(sizes) {
            return Err(fail("not an idx file of unsigned bytes with that many dimensions"));
        }
        let items = number()? as usize;
        if items > MAX_ITEMS {
            return Err(fail(&format!("{items} items; expected at most {MAX_ITEMS}")));
        }
        for &size in sizes {
            let found = number()?;
            if found != size {
                return Err(fail(&format!("a side of {found} pixels; expected {size}")));
            }
        }
        Ok(Self { path, reader, sizes, items, left: items })
    }

    /// Returns the number of items in the file.
    pub fn items(&self) -> usize {
        self.items
    }

    /// Moves the next `count` items, or as many as are left, to an idx file of their own. Returns
    /// their number.
    ///
    /// # Errors
    /// A file that ends early or late, or a disk that is full.
    pub fn split_off(&mut self, count: usize, to: &Path) -> Result<usize, String> {
        let count = count.min(self.left);
        let fail = |reason: String| format!("{}: {reason}", self.path.display());
        let bytes = count as u64 * self.sizes.iter().map(|&size| u64::from(size)).product::<u64>();
        let mut copy = || -> std::io::Result<u64> {
            let mut file = BufWriter::new(File::create(to)?);
            for number in [magic(self.sizes), count as u32].iter().chain(self.sizes) {
                file.write_all(&number.to_be_bytes())?;
            }
            let copied = std::io::copy(&mut self.reader.by_ref().take(bytes), &mut file)?;
            file.flush()?;
            Ok(copied)
        };
        let copied = copy().map_err(|e| fail(e.to_string()))?;
        if copied != bytes {
            return Err(fail("it ends before its last item".into()));
        }
        self.left -= count;
        if self.left == 0 && self.reader.read(&mut [0]).map_err(|e| fail(e.to_string()))? != 0 {
            return Err(fail("data follow its last item".into()));
        }
        Ok(count)
    }
}

/// Returns the magic number: type 8 (unsigned byte), then the number of dimensions.
fn magic(sizes: &[u32]) -> u32 {
    0x0801 + sizes.len() as u32
}
