//! Decoders of numbers and strings: those of protocol 0, which are lines of text, and the integers
//! and lengths of the binary protocols.

use crate::error::excerpt;

/// Parses a number, which Rust and Python write alike; `expected` describes it in the error.
pub(super) fn number<T: std::str::FromStr>(line: &[u8], expected: &str) -> Result<T, String> {
    let text = std::str::from_utf8(line).ok();
    text.and_then(|text| text.trim().parse().ok()).ok_or_else(|| {
        format!("`{}`; expected {expected}", excerpt(&String::from_utf8_lossy(line)))
    })
}

/// Decodes `raw-unicode-escape`: Latin-1 with the escapes `\uXXXX` and `\UXXXXXXXX`.
pub(super) fn raw_unicode_escape(line: &[u8]) -> Result<String, String> {
    let mut text = String::with_capacity(line.len());
    let mut rest = line;
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        let digits = match (byte, tail.first()) {
            (b'\\', Some(b'u')) => 4,
            (b'\\', Some(b'U')) => 8,
            _ => {
                text.push(char::from(byte));
                continue;
            }
        };
        let code = tail.get(1..=digits).and_then(|code| std::str::from_utf8(code).ok());
        let code = code.and_then(|code| u32::from_str_radix(code, 16).ok());
        text.push(code.and_then(char::from_u32).ok_or("an escape that is no character")?);
        rest = &tail[digits + 1..];
    }
    Ok(text)
}

/// Converts a length that is written as a signed integer.
pub(super) fn length(count: i32) -> Result<u64, String> {
    u64::try_from(count).map_err(|_| format!("a length of {count}"))
}

/// Decodes a little-endian integer in two's complement, of at most 16 bytes.
pub(super) fn long(bytes: &[u8]) -> Result<i128, String> {
    let Some(last) = bytes.last() else { return Ok(0) };
    let mut padded = [if last & 0x80 == 0 { 0 } else { 0xff }; 16];
    padded
        .get_mut(..bytes.len())
        .ok_or_else(|| format!("an integer of {} bytes; expected at most 16", bytes.len()))?
        .copy_from_slice(bytes);
    Ok(i128::from_le_bytes(padded))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn longs_have_a_sign_and_at_most_128_bits() {
        assert_eq!(long(&[]), Ok(0));
        assert_eq!(long(&[0xff]), Ok(-1));
        assert_eq!(long(&[0xff, 0]), Ok(255));
        assert_eq!(long(&[0, 0x80]), Ok(-32768));
        assert_eq!(long(&[0xff; 16]), Ok(-1));
        assert!(long(&[0; 17]).unwrap_err().contains("17 bytes"));
    }

    #[test]
    fn escapes_are_characters() {
        assert_eq!(raw_unicode_escape(b"a\\u00e9\\U0001f426\xe9\\n").unwrap(), "aé🐦é\\n");
        for broken in [&b"\\u12"[..], b"\\ud800", b"\\uzzzz", b"\\U12345678", b"\\u"] {
            assert!(raw_unicode_escape(broken).is_err(), "{broken:?}");
        }
    }
}
