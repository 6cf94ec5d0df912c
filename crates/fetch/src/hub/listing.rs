//! What a repository holds, as the hub tells it.

use serde::Deserialize;

use super::file::check_path;
use crate::{Digest, Remote, Size};

/// The files of a repository at a commit.
#[derive(Clone, Debug)]
pub struct Listing {
    /// The commit, in hexadecimal digits.
    pub commit: String,
    /// Its files.
    pub files: Vec<Listed>,
}

/// A file of a [`Listing`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its path in the repository.
    pub path: String,
    /// Its size in bytes.
    pub size: u64,
    /// What it must hash to: SHA-256 where it is stored as a large file, else git's SHA-1.
    pub digest: Digest,
}

#[derive(Deserialize)]
struct Info {
    sha: String,
    #[serde(default)]
    siblings: Vec<Sibling>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Sibling {
    rfilename: String,
    size: Option<u64>,
    blob_id: Option<String>,
    lfs: Option<Lfs>,
}

#[derive(Deserialize)]
struct Lfs {
    sha256: String,
    size: u64,
}

impl Listing {
    /// Reads what the hub answers to `?blobs=true`. Files whose names could lead elsewhere, or
    /// of which neither size nor digest is told, are left out.
    pub(super) fn from_json(json: &[u8]) -> Result<Self, String> {
        let info: Info = serde_json::from_slice(json).map_err(|e| e.to_string())?;
        if info.sha.len() != 40 || !info.sha.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(format!("`{}` is no commit", info.sha));
        }
        let files = info.siblings.into_iter().filter_map(Sibling::listed).collect();
        Ok(Self { commit: info.sha, files })
    }

    /// The file of this path.
    pub fn file(&self, path: &str) -> Option<&Listed> {
        self.files.iter().find(|file| file.path == path)
    }
}

impl Sibling {
    fn listed(self) -> Option<Listed> {
        check_path(&self.rfilename).ok()?;
        let (size, digest) = match self.lfs {
            Some(Lfs { sha256, size }) => (size, format!("sha256:{sha256}")),
            None => (self.size?, format!("git:{}", self.blob_id?)),
        };
        Some(Listed { path: self.rfilename, size, digest: digest.parse().ok()? })
    }
}

impl Listed {
    /// The name that its content has in the cache: the digest alone.
    pub(super) fn blob(&self) -> String {
        self.digest.to_string().split(':').next_back().unwrap_or_default().to_owned()
    }

    /// What to download, under a name.
    pub(super) fn remote(&self, name: String, url: String) -> Remote {
        let size = Size::Exactly(self.size);
        Remote { name, mirrors: vec![url], size, digest: self.digest }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_listed_with_size_and_digest() {
        let sha = "0123456789abcdef0123456789abcdef01234567";
        let sha256 = "a".repeat(64);
        let json = format!(
            r#"{{"sha": "{sha}", "private": false, "siblings": [
                {{"rfilename": "README.md", "size": 3, "blobId": "{sha}"}},
                {{"rfilename": "m.safetensors", "size": 9, "blobId": "{sha}",
                  "lfs": {{"sha256": "{sha256}", "size": 9, "pointerSize": 130}}}},
                {{"rfilename": "../../x", "size": 3, "blobId": "{sha}"}},
                {{"rfilename": "y", "size": 3, "blobId": "../x"}},
                {{"rfilename": "z"}}]}}"#
        );
        let listing = Listing::from_json(json.as_bytes()).unwrap();
        assert_eq!(listing.commit, sha);
        assert_eq!(listing.files.len(), 2);
        let model = listing.file("m.safetensors").unwrap();
        assert_eq!((model.size, &*model.blob()), (9, &*sha256));
        assert_eq!(listing.file("README.md").unwrap().blob(), sha);
        for wrong in ["", "{}", r#"{"sha": "../x"}"#, "[1]", "<html>"] {
            assert!(Listing::from_json(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }
}
