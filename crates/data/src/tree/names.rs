//! Names of files as text. A name that is not UTF-8 keeps what is, and has its other bytes written as
//! `%E4`, so that different names stay different.

use std::collections::HashMap;

use crate::Error;

/// The characters of the bytes 128 to 255 in code page 437, the names of old zips.
const CP437: &str = "ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜ¢£¥₧ƒáíóúñÑªº¿⌐¬½¼¡«»░▒▓│┤╡╢╖╕╣║╗╝╜╛┐└┴┬├─┼╞╟╚╔╩╦╠═╬╧╨╤╥╙╘╒╓╫╪┘┌█▄▌▐▀αßΓπΣσµτΦΘΩδ∞φε∩≡±≥≤⌠⌡÷≈°∙·√ⁿ²■\u{a0}";

/// Returns a name as text, and whether bytes of it had to be escaped.
pub(super) fn text(name: &[u8]) -> (String, bool) {
    let mut text = String::with_capacity(name.len());
    let mut escaped = false;
    for chunk in name.utf8_chunks() {
        text.push_str(chunk.valid());
        for byte in chunk.invalid() {
            text += &format!("%{byte:02X}");
            escaped = true;
        }
    }
    (text, escaped)
}

/// Returns a name in code page 437 as text.
pub(super) fn cp437(name: &[u8]) -> String {
    let character = |&byte: &u8| match byte {
        0..128 => char::from(byte),
        _ => CP437.chars().nth(usize::from(byte) - 128).unwrap_or(char::REPLACEMENT_CHARACTER),
    };
    name.iter().map(character).collect()
}

/// Paths with a `%`, and whether bytes of them were escaped: a name that reads like an escaped one must
/// not become the same class.
#[derive(Default)]
pub(super) struct Escaped(HashMap<String, bool>);

impl Escaped {
    /// Records a file or folder; `escaped` tells whether bytes of its own name were escaped.
    pub(super) fn add(&mut self, path: &str, escaped: bool) -> Result<(), Error> {
        if !path.contains('%')
            || self.0.insert(path.to_owned(), escaped).unwrap_or(escaped) == escaped
        {
            return Ok(());
        }
        Err(Error::Duplicate {
            name: path.to_owned(),
            first: "a name in UTF-8".into(),
            second: "one whose other bytes are shown like this; rename one, or".into(),
        })
    }

    /// Records a file and the folders that it is in. `raw` is its name in an archive, which may have
    /// empty parts and `.`, too.
    pub(super) fn add_all(&mut self, path: &str, raw: &[u8]) -> Result<(), Error> {
        if !path.contains('%') {
            return Ok(());
        }
        let parts = raw.split(|&byte| byte == b'/').filter(|part| !matches!(*part, b"" | b"."));
        let ends = path.match_indices('/').map(|(end, _)| end).chain([path.len()]);
        for (part, end) in parts.zip(ends) {
            self.add(&path[..end], str::from_utf8(part).is_err())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_bytes_are_escaped() {
        assert_eq!(text("Bär".as_bytes()), ("Bär".into(), false));
        assert_eq!(text(b"B\xe4r"), ("B%E4r".into(), true));
        assert_eq!(text(b"B\xf6r\xff"), ("B%F6r%FF".into(), true));
    }

    #[test]
    fn code_page_437_is_complete() {
        assert_eq!(CP437.chars().count(), 128);
        assert_eq!(cp437(b"B\x84r, B\x94r, \xe1\xfe"), "Bär, Bör, ß■");
    }

    #[test]
    fn a_name_that_reads_like_an_escaped_one_is_refused() {
        let mut escaped = Escaped::default();
        escaped.add_all("100%/a.png", b"100%/a.png").unwrap();
        escaped.add_all("100%/%E4.png", b"./100%/\xe4.png").unwrap();
        escaped.add_all("B%E4r/a.png", b"B\xe4r/a.png").unwrap();
        escaped.add_all("B%E4r/b.png", b"B\xe4r//b.png").unwrap();
        let error = escaped.add_all("B%E4r/c.png", b"B%E4r/c.png").unwrap_err();
        assert!(matches!(error, Error::Duplicate { name, .. } if name == "B%E4r"));
    }
}
