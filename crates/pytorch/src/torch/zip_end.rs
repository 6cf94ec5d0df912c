//! Checks of a zip archive's end record before the zip crate reads it: the crate reserves memory
//! for the number of entries that is declared there (12 MB for an archive of 70 KB), searches on if
//! the record is not as it expects, and accepts archives that other readers refuse.

use crate::Error;

const END: &[u8; 4] = b"PK\x05\x06";
const END_LEN: usize = 22;
const END64: &[u8; 4] = b"PK\x06\x06";
const END64_LEN: usize = 56;
const LOCATOR: &[u8; 4] = b"PK\x06\x07";
const LOCATOR_LEN: usize = 20;
const ENTRY: &[u8; 4] = b"PK\x01\x02";
const ENTRY_LEN: u64 = 46;

/// Accepts what PyTorch writes: the list of entries, the zip64 end record and its locator if the
/// archive is large, the end record, and nothing between or after them.
pub(super) fn check(bytes: &[u8]) -> Result<(), Error> {
    let end_at = bytes.len().checked_sub(END_LEN).filter(|at| bytes[*at..].starts_with(END));
    let Some(end_at) = end_at else {
        return Err(Error::archive("no end record at its end; truncated, fetch it again"));
    };
    let end = &bytes[end_at..];
    let (disks, comment) = (&end[4..8], &end[20..22]);
    if disks != [0; 4] || comment != [0; 2] || end[8..10] != end[10..12] {
        return Err(Error::archive("its end record is not as PyTorch writes it"));
    }

    let large = end_at.checked_sub(LOCATOR_LEN + END64_LEN).filter(|at| {
        bytes[*at..].starts_with(END64) && bytes[*at + END64_LEN..].starts_with(LOCATOR)
    });
    let small = [number(&end[10..12]), number(&end[12..16]), number(&end[16..20])];
    let (list_end, [count, size, start]) = match large {
        Some(at) => {
            let large = &bytes[at..];
            let fields = [&large[32..40], &large[40..48], &large[48..56]].map(number);
            let located = number(&large[END64_LEN + 8..END64_LEN + 16]);
            // Readers use the small fields unless those have their largest value.
            let largest = [0xffff, 0xffff_ffff, 0xffff_ffff];
            let agree =
                (0..3).all(|i| small[i] == fields[i].min(largest[i]) || small[i] == largest[i]);
            if located != at as u64 || !agree {
                return Err(Error::archive("its two end records disagree"));
            }
            (at, fields)
        }
        None => (end_at, small),
    };
    let is_adjacent = start.checked_add(size) == Some(list_end as u64);
    let fits = count.checked_mul(ENTRY_LEN).is_some_and(|min_size| min_size <= size);
    if !is_adjacent || !fits || count == 0 || !bytes[start as usize..].starts_with(ENTRY) {
        return Err(Error::archive(format!(
            "a list of {count} entries in {size} bytes at byte {start}; it should end at byte \
             {list_end}"
        )));
    }
    Ok(())
}

/// Decodes an unsigned integer.
fn number(little_endian: &[u8]) -> u64 {
    little_endian.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}
