//! Lists of a repository's files, as the hub answers them.

use serde::Deserialize;

use super::file::check_path;
use crate::{Digest, Remote, Size};

/// Files of a repository at a commit.
#[derive(Clone, Debug)]
pub struct Listing {
    /// Commit: 40 hexadecimal digits.
    pub commit: String,
    /// Files, in the hub's order.
    pub files: Vec<ListedFile>,
}

/// A file of a [`Listing`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedFile {
    /// Path in the repository.
    pub path: String,
    /// Size in bytes.
    pub size: u64,
    /// Expected digest: SHA-256 for large files (git LFS), git's SHA-1 otherwise.
    pub digest: Digest,
}

/// Answer of the hub to `/api/{models,datasets}/REPOSITORY/revision/REVISION?blobs=true`.
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
    /// Parses the hub's answer to `?blobs=true`. Files whose paths could lead out of a folder, or
    /// without size or digest, are left out.
    ///
    /// # Errors
    /// What is wrong with the answer.
    pub(super) fn from_json(json: &[u8]) -> Result<Self, String> {
        let info: Info = serde_json::from_slice(json).map_err(|e| e.to_string())?;
        if info.sha.len() != 40 || !info.sha.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(format!("`{}` is no commit", info.sha));
        }
        let files = info.siblings.into_iter().filter_map(Sibling::into_listed).collect();
        Ok(Self { commit: info.sha, files })
    }

    /// Returns the file of a path, if it is listed.
    pub fn file(&self, path: &str) -> Option<&ListedFile> {
        self.files.iter().find(|file| file.path == path)
    }
}

impl Sibling {
    /// Returns `None` for a file that is left out.
    fn into_listed(self) -> Option<ListedFile> {
        check_path(&self.rfilename).ok()?;
        let (size, digest) = match self.lfs {
            Some(Lfs { sha256, size }) => (size, format!("sha256:{sha256}")),
            None => (self.size?, format!("git:{}", self.blob_id?)),
        };
        Some(ListedFile { path: self.rfilename, size, digest: digest.parse().ok()? })
    }
}

impl ListedFile {
    /// Returns the file name of its content in the cache: the digits of the digest.
    pub(super) fn blob_name(&self) -> String {
        self.digest.to_string().split(':').next_back().unwrap_or_default().to_owned()
    }

    /// Returns the file as a download from an address, under a name on disk.
    pub(super) fn to_remote(&self, name: String, url: String) -> Remote {
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
        assert_eq!((model.size, &*model.blob_name()), (9, &*sha256));
        assert_eq!(listing.file("README.md").unwrap().blob_name(), sha);
        for wrong in ["", "{}", r#"{"sha": "../x"}"#, "[1]", "<html>"] {
            assert!(Listing::from_json(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }
}
