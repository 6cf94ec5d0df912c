//! A file reader that checks metadata and page headers before the `parquet` crate parses them.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};

use bytes::Bytes;
use parquet::errors::{ParquetError, Result};
use parquet::file::reader::{ChunkReader, Length};

use super::thrift::{ThriftValue, walk};

/// Bytes of the footer: the length of the metadata, and `PAR1`.
const FOOTER: u64 = 8;
/// Limit on the bytes of metadata. A shard of images has some ten thousand.
const MAX_METADATA: u64 = 8 << 20;
/// Limit on the bytes of a page's header.
const MAX_HEADER: u64 = 64 << 10;
/// Limit on the bytes of a page, compressed or not. A hundred photographs have some ten million.
const MAX_PAGE: i64 = 256 << 20;
/// Limit on the values of a page.
const MAX_VALUES: i64 = 1 << 20;
/// Limit on columns and groups of columns.
const MAX_COLUMNS: usize = 32;

/// A parquet file whose metadata was checked, and whose page headers are checked when they are
/// read.
pub struct Guard {
    file: File,
    length: u64,
}

impl Guard {
    pub fn new(mut file: File) -> std::result::Result<Self, String> {
        let told = |e: std::io::Error| e.to_string();
        let length = file.seek(SeekFrom::End(0)).map_err(told)?;
        if length < FOOTER {
            return Err("not a parquet file: too short".into());
        }
        let footer = read(&file, length - FOOTER, FOOTER).map_err(told)?;
        if footer[4..] != *b"PAR1" {
            return Err("not a parquet file: it does not end in PAR1".into());
        }
        let size = u32::from_le_bytes([footer[0], footer[1], footer[2], footer[3]]).into();
        if size > MAX_METADATA || size > length - FOOTER {
            return Err(format!("{size} bytes of metadata are more than there can be"));
        }
        let metadata = read(&file, length - FOOTER - size, size).map_err(told)?;
        walk(&metadata, &mut |path, value| match (path, value) {
            // The schema, which the reader builds recursively.
            ([2], ThriftValue::List(count)) if count > MAX_COLUMNS => {
                Err(format!("it has {count} columns, at most {MAX_COLUMNS} are expected"))
            }
            ([2, 5], ThriftValue::Integer(children)) if !(0..=8).contains(&children) => {
                Err(format!("a column has {children} columns within"))
            }
            _ => Ok(()),
        })?;
        Ok(Self { file, length })
    }

    fn check_page(&self, start: u64) -> std::result::Result<(), String> {
        let size = MAX_HEADER.min(self.length.saturating_sub(start));
        let header = read(&self.file, start, size).map_err(|e| e.to_string())?;
        walk(&header, &mut |path, value| match (path, value) {
            ([2 | 3], ThriftValue::Integer(size)) if !(0..=MAX_PAGE).contains(&size) => {
                Err(format!("a page of {size} bytes is more than there can be"))
            }
            ([5 | 7 | 8, 1], ThriftValue::Integer(count)) if !(0..=MAX_VALUES).contains(&count) => {
                Err(format!("a page of {count} values is more than there can be"))
            }
            _ => Ok(()),
        })?;
        Ok(())
    }
}

impl Length for Guard {
    fn len(&self) -> u64 {
        self.length
    }
}

impl ChunkReader for Guard {
    type T = BufReader<File>;

    fn get_read(&self, start: u64) -> Result<Self::T> {
        // Apart from the footer, only page headers are read like this.
        if start != self.length - FOOTER {
            self.check_page(start).map_err(ParquetError::General)?;
        }
        let mut file = self.file.try_clone()?;
        file.seek(SeekFrom::Start(start))?;
        Ok(BufReader::new(file))
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        let end = start.checked_add(length as u64);
        if end.is_none_or(|end| end > self.length) || length as i64 > MAX_PAGE {
            return Err(ParquetError::General(format!("{length} bytes at {start} are not there")));
        }
        Ok(read(&self.file, start, length as u64)?.into())
    }
}

fn read(mut file: &File, start: u64, length: u64) -> std::io::Result<Vec<u8>> {
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = Vec::new();
    file.take(length).read_to_end(&mut bytes)?;
    if bytes.len() as u64 != length {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    }
    Ok(bytes)
}
