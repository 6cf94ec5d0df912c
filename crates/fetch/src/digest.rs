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

/// The expected digest of a file, by whichever algorithm its publisher uses.
///
/// MD5 detects every accident, but not an attack: two files of the same MD5 can be made. It is
/// accepted because the older datasets publish nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Digest {
    /// MD5, 16 bytes.
    Md5([u8; 16]),
    /// SHA-256, 32 bytes.
    Sha256([u8; 32]),
    /// Git's name of a file's content, 20 bytes: the SHA-1 of `blob LENGTH`, a zero byte and the
    /// content.
    Git([u8; 20]),
}

/// How a [`Digest`] is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DigestAlgorithm {
    /// MD5.
    Md5,
    /// SHA-256.
    Sha256,
    /// SHA-1 as git computes it; see [`Digest::Git`].
    Git,
}

impl Digest {
    /// Returns the algorithm by which this digest was computed.
    pub fn algorithm(&self) -> DigestAlgorithm {
        match self {
            Self::Md5(_) => DigestAlgorithm::Md5,
            Self::Sha256(_) => DigestAlgorithm::Sha256,
            Self::Git(_) => DigestAlgorithm::Git,
        }
    }
}

impl DigestAlgorithm {
    /// Computes the digest of bytes.
    pub fn digest(self, bytes: &[u8]) -> Digest {
        let mut hasher = Hasher::new(self, bytes.len() as u64);
        hasher.update(bytes);
        hasher.finish()
    }

    /// Computes the digest of a file; `progress` receives the number of bytes read so far.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn digest_file(self, path: &Path, mut progress: impl FnMut(u64)) -> Result<Digest, Error> {
        let mut file = File::open(path).map_err(Error::io("open", path))?;
        let length = file.metadata().map_err(Error::io("read", path))?.len();
        let mut hasher = Hasher::new(self, length);
        let mut buffer = vec![0; 256 << 10];
        let mut done = 0;
        loop {
            let count = match file.read(&mut buffer) {
                Ok(0) => return Ok(hasher.finish()),
                Ok(count) => count,
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(Error::io("read", path)(e)),
            };
            hasher.update(&buffer[..count]);
            done += count as u64;
            progress(done);
        }
    }
}

/// The state of a computation.
enum Hasher {
    Md5(Md5),
    Sha256(Sha256),
    Git(Sha1),
}

impl Hasher {
    /// Starts the digest of `length` bytes.
    fn new(algorithm: DigestAlgorithm, length: u64) -> Self {
        match algorithm {
            DigestAlgorithm::Md5 => Self::Md5(Md5::new()),
            DigestAlgorithm::Sha256 => Self::Sha256(Sha256::new()),
            DigestAlgorithm::Git => Self::Git(Sha1::new().chain_update(format!("blob {length}\0"))),
        }
    }

    fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Md5(hasher) => hasher.update(bytes),
            Self::Sha256(hasher) => hasher.update(bytes),
            Self::Git(hasher) => hasher.update(bytes),
        }
    }

    fn finish(self) -> Digest {
        match self {
            Self::Md5(hasher) => Digest::Md5(hasher.finalize().into()),
            Self::Sha256(hasher) => Digest::Sha256(hasher.finalize().into()),
            Self::Git(hasher) => Digest::Git(hasher.finalize().into()),
        }
    }
}

/// Formats as `md5:97ec…`, `sha256:…` or `git:…`.
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

/// Parses 32 hexadecimal digits (MD5), 40 (git's SHA-1) or 64 (SHA-256), with or without `md5:`,
/// `git:` or `sha256:`; fails with [`Error::InvalidDigest`].
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
        Err(Error::InvalidDigest { text: text.to_owned() })
    }
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
            let algorithm = digest.algorithm();
            assert_eq!(algorithm.digest(b"abc"), digest);
            assert_eq!(algorithm.digest_file(file.path(), |_| {}).unwrap(), digest);
            assert_eq!(digest.to_string().parse::<Digest>().unwrap(), digest);
        }
    }

    #[test]
    fn texts_that_are_no_digests_are_named_in_the_error() {
        for text in ["", "abc", "sha1:00", "md5:", &"g".repeat(32), &"é".repeat(16), "sha256:00"] {
            let error = text.parse::<Digest>().unwrap_err().to_string();
            assert!(error.contains(&format!("`{text}`")), "{error}");
        }
    }
}
