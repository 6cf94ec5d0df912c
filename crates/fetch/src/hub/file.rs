//! Addresses of files on the hub: `hf://OWNER/REPOSITORY/FILE@REVISION`.

use std::fmt;
use std::str::FromStr;

use crate::Error;

/// A file in a model repository of the Hugging Face hub.
///
/// Written `hf://OWNER/REPOSITORY/FILE` with `@REVISION` after it, or after the repository as
/// `huggingface_hub` has it. The revision is a branch, a tag, `refs/pr/1`, or a commit, and `main`
/// by default.
///
/// ```
/// let file: fewshot_fetch::HubFile = "hf://someone/model/sub/best.safetensors@v1".parse()?;
/// assert_eq!((file.repository(), file.path()), ("someone/model", "sub/best.safetensors"));
/// assert_eq!(file.revision(), "v1");
/// # Ok::<(), fewshot_fetch::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HubFile {
    repository: String,
    path: String,
    revision: String,
}

impl HubFile {
    /// Scheme of these addresses.
    pub const SCHEME: &'static str = "hf://";

    /// Returns the repository as `OWNER/REPOSITORY`.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// Returns the path in the repository.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Returns the revision as it was given.
    pub fn revision(&self) -> &str {
        &self.revision
    }

    /// Returns the file of this name in the same folder.
    pub fn beside(&self, name: &str) -> Self {
        let folder = self.path.rfind('/').map_or("", |slash| &self.path[..=slash]);
        Self { path: format!("{folder}{name}"), ..self.clone() }
    }

    /// Returns the same file at another revision.
    pub fn at(&self, revision: &str) -> Self {
        Self { revision: revision.to_owned(), ..self.clone() }
    }
}

impl fmt::Display for HubFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}/{}", Self::SCHEME, self.repository, self.path)?;
        if self.revision == "main" { Ok(()) } else { write!(f, "@{}", self.revision) }
    }
}

/// Fails with [`Error::HubAddress`].
impl FromStr for HubFile {
    type Err = Error;

    fn from_str(address: &str) -> Result<Self, Error> {
        parse(address).map_err(|reason| Error::HubAddress { address: address.to_owned(), reason })
    }
}

fn parse(address: &str) -> Result<HubFile, String> {
    let rest = address.strip_prefix(HubFile::SCHEME).ok_or("it does not begin with hf://")?;
    let mut parts = rest.splitn(3, '/');
    let (owner, name) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    if matches!(owner, "datasets" | "spaces") {
        return Err(format!("`{owner}` hold no checkpoints"));
    }
    let (name, after_repository) = split_revision(name);
    let (path, after_file) = split_revision(parts.next().unwrap_or_default());
    if after_repository.is_some() && after_file.is_some() {
        return Err("it has two revisions".into());
    }
    let revision = after_repository.or(after_file).unwrap_or("main");
    let revision = revision.replace("%2F", "/").replace("%2f", "/");
    check_name(owner).map_err(|why| format!("the owner `{owner}` {why}"))?;
    check_name(name).map_err(|why| format!("the repository `{name}` {why}"))?;
    check_path(path).map_err(|why| format!("the file `{path}` {why}"))?;
    check_path(&revision).map_err(|why| format!("the revision `{revision}` {why}"))?;
    Ok(HubFile { repository: format!("{owner}/{name}"), path: path.to_owned(), revision })
}

fn split_revision(text: &str) -> (&str, Option<&str>) {
    text.split_once('@').map_or((text, None), |(before, revision)| (before, Some(revision)))
}

/// Checks the name of an owner or repository by the hub's own rule.
///
/// # Errors
/// What is wrong with it, as a predicate.
fn check_name(name: &str) -> Result<(), &'static str> {
    check_path(name)?;
    // Two hyphens stand for a slash in folder names of the cache.
    if name.contains("--") || name.contains("..") || name.len() > 96 {
        return Err("is no name of the hub");
    }
    Ok(())
}

/// Checks a text that becomes part of an address and of a path on disk: it may lead nowhere else
/// in either.
///
/// # Errors
/// What is wrong with it, as a predicate.
pub(super) fn check_path(path: &str) -> Result<(), &'static str> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-+=,~/".contains(&byte);
    if path.is_empty() {
        return Err("is empty");
    }
    if path.len() > 512 || !path.bytes().all(is_plain) {
        return Err("has characters other than letters, digits and ._-+=,~");
    }
    if path.split('/').any(|part| part.is_empty() || part == "." || part == "..") {
        return Err("has an empty part, `.` or `..`");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn revisions_follow_the_file_or_the_repository() {
        for (address, path, revision) in [
            ("hf://o/r/f.safetensors", "f.safetensors", "main"),
            ("hf://o/r/f.safetensors@v1.0", "f.safetensors", "v1.0"),
            ("hf://o/r@v1.0/f.safetensors", "f.safetensors", "v1.0"),
            ("hf://o/r/a/b/f.tar@refs/pr/1", "a/b/f.tar", "refs/pr/1"),
            ("hf://o/r@refs%2Fpr%2F1/a/f.tar", "a/f.tar", "refs/pr/1"),
        ] {
            let file: HubFile = address.parse().unwrap();
            assert_eq!((file.repository(), file.path(), file.revision()), ("o/r", path, revision));
            assert_eq!(file.to_string().parse::<HubFile>().unwrap(), file);
        }
    }

    #[test]
    fn files_lie_beside_others() {
        for (address, expected) in [
            ("hf://o/r/f.safetensors@v1.0", "hf://o/r/config.json@v1.0"),
            ("hf://o/r/a/b/f.tar", "hf://o/r/a/b/config.json"),
        ] {
            let file: HubFile = address.parse().unwrap();
            assert_eq!(file.beside("config.json"), expected.parse().unwrap());
        }
    }

    #[test]
    fn invalid_addresses_are_named_in_the_error() {
        for (address, part) in [
            ("hf:/o/r/f", "does not begin with"),
            ("hf://", "the owner `` is empty"),
            ("hf://o", "the repository `` is empty"),
            ("hf://o/r", "the file `` is empty"),
            ("hf://o/r/", "the file `` is empty"),
            ("hf://o/r/f@", "the revision `` is empty"),
            ("hf://o/r@a/f@b", "two revisions"),
            ("hf://../r/f", "the owner `..`"),
            ("hf://o/a--b/f", "no name of the hub"),
            ("hf://o/r/../f", "`..`"),
            ("hf://o/r//f", "empty part"),
            ("hf://o/r/f@../x", "the revision `../x`"),
            ("hf://o/r/f?x=1", "characters"),
            ("hf://o/r/f\\x", "characters"),
            ("hf://datasets/o/r/f", "hold no checkpoints"),
        ] {
            let error = address.parse::<HubFile>().unwrap_err().to_string();
            assert!(error.contains(part) && error.contains("hf://OWNER/"), "{error}");
        }
    }

    proptest! {
        #[test]
        fn accepted_paths_stay_below_their_folder(address in "hf://[a-z.@/%2F\\\\-]{0,30}") {
            if let Ok(file) = address.parse::<HubFile>() {
                for part in [file.path(), file.revision(), file.repository()] {
                    let mut parts = std::path::Path::new(part).components();
                    let is_normal = |c| matches!(c, std::path::Component::Normal(_));
                    prop_assert!(parts.all(is_normal), "{part}");
                }
            }
        }
    }
}
