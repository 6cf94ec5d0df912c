//! A parquet file of labelled images.

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use parquet::basic::Type as Physical;
use parquet::column::reader::{ColumnReaderImpl, get_typed_column_reader};
use parquet::data_type::{ByteArray, ByteArrayType, DataType, Int64Type};
use parquet::file::reader::{FileReader, RowGroupReader, SerializedFileReader};

use super::Error;
use super::guard::Guard;
use super::names::names;

/// Rows that are read at once.
const BATCH: usize = 16;
/// Names and types of the columns.
const COLUMNS: [(&str, Physical); 3] = [
    ("image.bytes", Physical::BYTE_ARRAY),
    ("image.path", Physical::BYTE_ARRAY),
    ("label", Physical::INT64),
];

/// A parquet file of labelled images, opened.
pub struct ParquetShard {
    path: PathBuf,
    reader: SerializedFileReader<Guard>,
    names: Vec<String>,
    rows: usize,
    /// Indices of [`COLUMNS`] in the file.
    columns: [usize; 3],
}

/// A row: one image with its label.
#[derive(Clone, Copy, Debug)]
pub struct Labelled<'a> {
    /// Its number in the file.
    pub row: usize,
    /// Its class, as an index into [`ParquetShard::names`].
    pub label: usize,
    /// The image's encoded file.
    pub bytes: &'a [u8],
    /// The name of that file, if the row has one. Untrusted: it may hold anything.
    pub path: Option<&'a str>,
}

/// Is called for each row; an error ends the reading.
pub type Visit<'a> = &'a mut dyn FnMut(Labelled<'_>) -> Result<(), String>;

impl ParquetShard {
    /// Opens a file and reads its metadata.
    ///
    /// # Errors
    /// [`Error`] for a file that cannot be read, is not parquet, or has other columns.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let fail = |reason: String| Error::new(path, reason);
        let file = File::open(path).map_err(|e| fail(e.to_string()))?;
        let opened = caught(|| {
            let reader = SerializedFileReader::new(Guard::new(file)?).map_err(told)?;
            let metadata = reader.metadata().file_metadata();
            let rows = usize::try_from(metadata.num_rows());
            let rows = rows.map_err(|_| format!("it has {} rows", metadata.num_rows()))?;
            let notes = metadata.key_value_metadata();
            let note = notes.and_then(|all| all.iter().find(|note| note.key == "huggingface"));
            let note = note.and_then(|note| note.value.as_deref());
            let names = names(note.ok_or("it has no note `huggingface` with its classes' names")?)?;
            let schema = metadata.schema_descr();
            let mut columns = [0; 3];
            for (place, (name, physical)) in columns.iter_mut().zip(COLUMNS) {
                let mut all = schema.columns().iter().enumerate();
                let found = all.find(|(_, column)| column.path().string() == name);
                let (at, column) = found.ok_or_else(|| format!("it has no column `{name}`"))?;
                if column.physical_type() != physical || column.max_rep_level() != 0 {
                    return Err(format!("its column `{name}` is not of {physical}"));
                }
                *place = at;
            }
            Ok((reader, names, rows, columns))
        });
        let (reader, names, rows, columns) = opened.map_err(fail)?;
        Ok(Self { path: path.to_owned(), reader, names, rows, columns })
    }

    /// Returns the classes' names, in the order of the labels.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Returns the number of rows that the metadata announces.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Reads every row, in order.
    ///
    /// # Errors
    /// [`Error`] for a damaged file, a row without image or label, a number of rows other than
    /// announced, and errors of `visit`.
    pub fn for_each(&self, visit: Visit<'_>) -> Result<(), Error> {
        let read = caught(|| {
            let mut row = 0;
            for number in 0..self.reader.num_row_groups() {
                let group = self.reader.get_row_group(number).map_err(told)?;
                self.read_group(&*group, &mut row, visit)?;
            }
            if row != self.rows {
                return Err(format!("it has {row} rows, but announces {}", self.rows));
            }
            Ok(())
        });
        read.map_err(|reason| Error::new(&self.path, reason))
    }

    fn read_group(
        &self,
        group: &dyn RowGroupReader,
        row: &mut usize,
        visit: Visit<'_>,
    ) -> Result<(), String> {
        let [bytes, path, label] = self.columns;
        let mut bytes = Column::<ByteArrayType>::new(group, bytes)?;
        let mut path = Column::<ByteArrayType>::new(group, path)?;
        let mut label = Column::<Int64Type>::new(group, label)?;
        loop {
            let (images, paths, labels) = (bytes.read()?, path.read()?, label.read()?);
            if images.len() != paths.len() || images.len() != labels.len() {
                return Err(format!("its columns have different lengths behind row {row}"));
            }
            if images.is_empty() {
                return Ok(());
            }
            for ((image, path), label) in images.iter().zip(&paths).zip(&labels) {
                let image = image.as_ref().ok_or_else(|| format!("row {row} has no image"))?;
                let label = label.ok_or_else(|| format!("row {row} has no label"))?;
                let known = usize::try_from(label).ok().filter(|label| *label < self.names.len());
                let label = known.ok_or_else(|| {
                    format!("row {row} is of class {label}, but {} have names", self.names.len())
                })?;
                let path = path.as_ref().and_then(|path: &ByteArray| path.as_utf8().ok());
                visit(Labelled { row: *row, label, bytes: image.data(), path })?;
                *row += 1;
            }
        }
    }
}

/// Reads a column of a row group, some rows at a time.
struct Column<T: DataType> {
    reader: ColumnReaderImpl<T>,
    /// Definition level of a value that is present.
    level: i16,
}

impl<T: DataType> Column<T> {
    fn new(group: &dyn RowGroupReader, column: usize) -> Result<Self, String> {
        let level = group.metadata().column(column).column_descr().max_def_level();
        let reader = get_typed_column_reader::<T>(group.get_column_reader(column).map_err(told)?);
        Ok(Self { reader, level })
    }

    /// Returns the next values; none at the end.
    fn read(&mut self) -> Result<Vec<Option<T::T>>, String> {
        let (mut levels, mut values) = (Vec::new(), Vec::new());
        let read = self.reader.read_records(BATCH, Some(&mut levels), None, &mut values);
        let (rows, _, _) = read.map_err(told)?;
        if self.level == 0 {
            return Ok(values.into_iter().map(Some).collect());
        }
        let mut values = values.into_iter();
        let levels = levels.into_iter().take(rows);
        Ok(levels.map(|level| if level == self.level { values.next() } else { None }).collect())
    }
}

fn told(error: parquet::errors::ParquetError) -> String {
    format!("not a readable parquet file: {error}")
}

/// Turns a panic of the `parquet` crate into an error.
fn caught<T>(read: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("unknown");
        Err(format!("not a readable parquet file: its reader gave up: {text}"))
    })
}
