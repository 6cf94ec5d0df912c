//! A bounds-checked reader.

use crate::Error;

/// A position in the bytes of a file, which cannot pass their end.
#[derive(Clone)]
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> Reader<'a> {
    /// Reads `bytes` from an offset on.
    pub(crate) fn new(bytes: &'a [u8], position: usize) -> Self {
        Self { bytes, position }
    }

    pub(crate) fn position(&self) -> usize {
        self.position
    }

    fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.position..).unwrap_or_default()
    }

    fn truncated(&self, needed: u64) -> Error {
        Error::Truncated { offset: self.position, needed, left: self.rest().len() }
    }

    /// Returns the next `count` bytes.
    ///
    /// # Errors
    /// [`Error::Truncated`] if there are fewer, as of all methods here.
    pub(crate) fn take(&mut self, count: u64) -> Result<&'a [u8], Error> {
        let taken = usize::try_from(count).ok().and_then(|count| self.rest().get(..count));
        let taken = taken.ok_or_else(|| self.truncated(count))?;
        self.position += taken.len();
        Ok(taken)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let bytes = self.rest().first_chunk().ok_or_else(|| self.truncated(N as u64))?;
        self.position += N;
        Ok(*bytes)
    }

    pub(crate) fn byte(&mut self) -> Result<u8, Error> {
        self.array().map(|[byte]| byte)
    }

    /// Returns the bytes up to the next line feed, which is skipped.
    pub(crate) fn line(&mut self) -> Result<&'a [u8], Error> {
        let rest = self.rest();
        let end = rest.iter().position(|byte| *byte == b'\n');
        let end = end.ok_or_else(|| self.truncated(rest.len() as u64 + 1))?;
        self.position += end + 1;
        Ok(&rest[..end])
    }
}
