//! Digests as publishers print them.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::str::FromStr;

use md5::{Digest as _, Md5};
use sha1::Sha1;
use sha2::Sha256;

use crate::Error;

/// The digest that a file must have: whichever kind its publisher prints.
///
/// MD5 finds every accident, but not an attack: two files of one MD5 can be made. It is
/// taken because it is all that the older datasets publish.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Digest {
    /// 16 bytes of MD5.
    Md5([u8; 16]),
    /// 32 bytes of SHA-256.
    Sha256([u8; 32]),
    /// 20 bytes of SHA-1 over `blob LENGTH`, a zero, and the content: git's name of a file.
    Git([u8; 20]),
}

impl Digest {
    /// The digest of bytes, of the same kind as this one.
    pub fn same_kind_of(&self, bytes: &[u8]) -> Self {
        match self {
            Self::Md5(_) => Self::Md5(Md5::digest(bytes).into()),
            Self::Sha256(_) => Self::Sha256(Sha256::digest(bytes).into()),
            Self::Git(_) => {
                Self::Git(git(bytes.len() as u64).chain_update(bytes).finalize().into())
            }
        }
    }

    /// The digest of a file, of the same kind as this one; `progress` hears how many bytes
    /// were read.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn same_kind_of_file(
        &self,
        path: &Path,
        mut progress: impl FnMut(u64),
    ) -> Result<Self, Error> {
        let mut file = File::open(path).map_err(Error::io("open", path))?;
        let mut buffer = vec![0; 256 << 10];
        let length = file.metadata().map_err(Error::io("read", path))?.len();
        let (mut md5, mut sha256, mut git) = (Md5::new(), Sha256::new(), git(length));
        let mut done = 0;
        loop {
            let count = match file.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(Error::io("read", path)(e)),
            };
            match self {
                Self::Md5(_) => md5.update(&buffer[..count]),
                Self::Sha256(_) => sha256.update(&buffer[..count]),
                Self::Git(_) => git.update(&buffer[..count]),
            }
            done += count as u64;
            progress(done);
        }
        Ok(match self {
            Self::Md5(_) => Self::Md5(md5.finalize().into()),
            Self::Sha256(_) => Self::Sha256(sha256.finalize().into()),
            Self::Git(_) => Self::Git(git.finalize().into()),
        })
    }
}

/// As `md5:97ec…` or `sha256:…`.
impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, bytes): (_, &[u8]) = match self {
            Self::Md5(bytes) => ("md5", bytes),
            Self::Sha256(bytes) => ("sha256", bytes),
            Self::Git(bytes) => ("git", bytes),
        };
        write!(f, "{kind}:")?;
        bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Takes 32 hexadecimal digits (MD5), 40 (git's SHA-1) or 64 (SHA-256), with or without `md5:`,
/// `git:` or `sha256:`.
impl FromStr for Digest {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let (kind, digits) = text.split_once(':').unwrap_or(("", text));
        let bytes: Option<Vec<u8>> = digits
            .as_bytes()
            .chunks(2)
            .map(|pair| match pair {
                [high, low] => Some(hex(*high)? << 4 | hex(*low)?),
                _ => None,
            })
            .collect();
        let bytes = bytes.unwrap_or_default();
        if let (Ok(md5), "" | "md5") = (<[u8; 16]>::try_from(&*bytes), kind) {
            return Ok(Self::Md5(md5));
        }
        if let (Ok(sha256), "" | "sha256") = (<[u8; 32]>::try_from(&*bytes), kind) {
            return Ok(Self::Sha256(sha256));
        }
        if let (Ok(git), "" | "git") = (<[u8; 20]>::try_from(&*bytes), kind) {
            return Ok(Self::Git(git));
        }
        Err(Error::NoDigest { text: text.to_owned() })
    }
}

fn git(length: u64) -> Sha1 {
    Sha1::new().chain_update(format!("blob {length}\0"))
}

fn hex(digit: u8) -> Option<u8> {
    (digit as char).to_digit(16).map(|value| value as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_those_of_the_standards() {
        let md5: Digest = "900150983cd24fb0d6963f7d28e17f72".parse().unwrap();
        let sha: Digest = "sha256:BA7816BF8F01CFEA414140DE5DAE2223B00361A396177A9CB410FF61F20015AD"
            .parse()
            .unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "abc").unwrap();
        // As `printf abc | git hash-object --stdin` prints it.
        let git: Digest = "f2ba8f84ab5c1bce84a7b441cb1959cfc7093b7f".parse().unwrap();
        for digest in [md5, sha, git] {
            assert_eq!(digest.same_kind_of(b"abc"), digest);
            assert_eq!(digest.same_kind_of_file(file.path(), |_| {}).unwrap(), digest);
            assert_eq!(digest.to_string().parse::<Digest>().unwrap(), digest);
        }
    }

    #[test]
    fn what_is_no_digest_is_refused_by_name() {
        for text in ["", "abc", "sha1:00", "md5:", &"g".repeat(32), &"é".repeat(16), "sha256:00"] {
            let error = text.parse::<Digest>().unwrap_err().to_string();
            assert!(error.contains(&format!("`{text}`")), "{error}");
        }
    }
}
