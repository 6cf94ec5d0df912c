//! How much memory the tensors of a file may take.

/// Smallest memory limit in bytes, for small files.
const MIN_LIMIT: u64 = 16 << 20;
/// Memory limit per byte of the file: as `int8` becomes `i64`, a sound file needs no more.
const LIMIT_PER_BYTE: u64 = 8;
/// Bytes counted for a tensor in addition to its elements, its entry in a map included.
const OVERHEAD: u64 = 1 << 10;

/// The memory that the tensors of a file may take ([limits](crate#limits)). It serves for other
/// formats, too.
///
/// ```
/// use fewshot_pytorch::Budget;
///
/// let mut budget = Budget::of_file(60_000_000);
/// assert!((0..100_000).all(|_| budget.reserve_tensor(4).is_ok()));
/// assert!((0..1_000_000).any(|_| budget.reserve_tensor(0).is_err()));
/// ```
#[derive(Debug)]
pub struct Budget {
    /// Length of the file in bytes.
    file: usize,
    limit: u64,
    used: u64,
}

impl Budget {
    /// The budget for a file of this length in bytes.
    pub fn of_file(length: usize) -> Self {
        let limit = (length as u64).saturating_mul(LIMIT_PER_BYTE).max(MIN_LIMIT);
        Self { file: length, limit, used: 0 }
    }

    /// Counts a tensor and the bytes of its elements.
    ///
    /// # Errors
    /// The number of bytes, if it is more than the limit.
    pub fn reserve_tensor(&mut self, bytes: u64) -> Result<(), String> {
        self.reserve(bytes.saturating_add(OVERHEAD))
    }

    /// Counts bytes of elements.
    pub(crate) fn reserve(&mut self, bytes: u64) -> Result<(), String> {
        self.used = self.used.saturating_add(bytes);
        if self.used <= self.limit {
            return Ok(());
        }
        Err(format!(
            "with those before it {} bytes, more than the limit of {} for a file of {}",
            self.used, self.limit, self.file
        ))
    }
}
