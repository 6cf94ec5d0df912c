//! Which entry names are accepted.

/// Longest name in bytes: file systems allow up to 4096, some tools up to 1024.
const MAX_BYTES: usize = 1024;
/// Longest path component in bytes, as on every common file system.
const MAX_COMPONENT_BYTES: usize = 255;
/// Names of devices on Windows, with any extension.
const DEVICES: [&str; 4] = ["con", "prn", "aux", "nul"];

/// Splits a name into the components of a path below the folder; there are none for the folder
/// itself.
///
/// # Errors
/// Why the name is refused.
pub(super) fn components(name: &[u8]) -> Result<Vec<&str>, &'static str> {
    let name = std::str::from_utf8(name).map_err(|_| "its name is not UTF-8")?;
    if name.is_empty() {
        return Err("it has no name");
    }
    if name.len() > MAX_BYTES {
        return Err("its name is longer than 1024 bytes");
    }
    if name.starts_with('/') {
        return Err("an absolute path is refused");
    }
    if name.chars().any(char::is_control) {
        return Err("a control character in its name is refused");
    }
    // Separators on Windows: `c:\x` is absolute there, `a\..\..\b` leads out.
    if name.contains(['\\', ':']) {
        return Err("a backslash or colon in its name is refused");
    }
    let parts = name.split('/').filter(|part| !part.is_empty() && *part != ".");
    parts.map(|part| component(part).map(|()| part)).collect()
}

fn component(part: &str) -> Result<(), &'static str> {
    if part == ".." {
        return Err("a path with `..` is refused");
    }
    if part.len() > MAX_COMPONENT_BYTES {
        return Err("a component of its name is longer than 255 bytes");
    }
    // Windows drops them, so that two names would be the same.
    if part.ends_with(['.', ' ']) {
        return Err("a name that ends in a dot or blank is refused");
    }
    let stem = part.split('.').next().unwrap_or_default().trim_end().to_ascii_lowercase();
    let numbered = ["com", "lpt"].iter().any(|device| {
        stem.strip_prefix(device).is_some_and(|number| matches!(number.as_bytes(), [b'0'..=b'9']))
    });
    if numbered || DEVICES.contains(&&*stem) {
        return Err("the name of a device is refused");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::path::{Component, Path};

    #[test]
    fn ordinary_names_are_accepted() {
        for (name, expected) in [
            ("a/b c/0001_é.jpg", &["a", "b c", "0001_é.jpg"][..]),
            ("./a//b/", &["a", "b"]),
            ("./", &[]),
            ("...a/.hidden", &["...a", ".hidden"]),
            ("console/common.txt", &["console", "common.txt"]),
        ] {
            assert_eq!(components(name.as_bytes()).unwrap(), expected, "{name}");
        }
        assert!(components("x".repeat(255).as_bytes()).is_ok());
    }

    #[test]
    fn names_that_could_lead_out_of_the_folder_are_refused() {
        for name in [
            "",
            "/etc/passwd",
            "..",
            "a/../b",
            "a/..",
            "a\\..\\b",
            "c:/x",
            "c:x",
            "a\0b",
            "a\nb",
            "a/. ",
            "a./b",
            "CON",
            "a/nul.jpg",
            "com1",
            "LPT9.txt",
            "aux .jpg",
        ] {
            assert!(components(name.as_bytes()).is_err(), "{name:?}");
        }
        assert!(components(b"\xff\xfe").is_err());
        assert!(components("x".repeat(256).as_bytes()).is_err());
        assert!(components("x/".repeat(513).as_bytes()).is_err());
    }

    proptest! {
        #[test]
        fn accepted_names_stay_below_the_folder(
            name in proptest::collection::vec("[./\\\\:a-cA-C0 \0~\u{80}-\u{90}]{0,3}", 0..9)
        ) {
            if let Ok(parts) = components(name.concat().as_bytes()) {
                for part in parts {
                    let path = Path::new(part);
                    let normal = matches!(path.components().next(), Some(Component::Normal(_)));
                    prop_assert!(normal && path.components().count() == 1, "{part}");
                }
            }
        }

        #[test]
        fn any_bytes_are_accepted_or_refused(name in proptest::collection::vec(any::<u8>(), 0..40)) {
            let _ = components(&name);
        }
    }
}
