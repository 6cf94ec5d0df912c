//! Files of the Hugging Face hub, and the cache that all of its clients share.
//!
//! The crate `hf-hub` provides the addresses, the layout of the cache and the location of the
//! token. The downloads are this crate's own: `hf-hub` verifies no digest, appends whatever a
//! server sends to a partial file, has no time limits, and trusts the built-in certificates only.

mod file;
mod folders;
mod listing;

pub use file::HubFile;
pub use folders::HubFolders;
pub use listing::{ListedFile, Listing};

use std::io::Read;
use std::path::{Path, PathBuf};

use hf_hub::api::sync::{Api, ApiBuilder};
use hf_hub::{Cache, Repo, RepoType};
use ureq::http::HeaderName;

use crate::attempt::{retry, status_fault};
use crate::client::{Client, ResumePoint};
use crate::headers::text;
use crate::pace::Paced;
use crate::{Downloader, Error, Listener, Remote, Token, require_space};

/// Address of the hub, unless `HF_ENDPOINT` is set.
const DEFAULT_ENDPOINT: &str = "https://huggingface.co";
/// Longest list of files in bytes. A list of thousands of files has some hundred thousand bytes.
const MAX_LISTING_BYTES: u64 = 32 << 20;

/// Downloads files from the hub into the cache that its clients share.
#[derive(Clone, Debug)]
pub struct Hub {
    api: Api,
    cache: Cache,
    token_file: PathBuf,
    downloader: Downloader,
    endpoint: String,
}

/// A file of the hub in the cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CachedFile {
    /// Path on disk.
    pub path: PathBuf,
    /// Its address, with the commit as the revision.
    pub file: HubFile,
}

impl Hub {
    /// Reads the environment: `HF_ENDPOINT` (address of the hub), `HF_TOKEN` (by default the content of
    /// the token's file), `HF_HUB_OFFLINE`, and what [`HubFolders::from_environment`] and
    /// [`Downloader::from_environment`] read.
    ///
    /// # Errors
    /// [`Error::HubSetting`] and those of [`Downloader::from_environment`].
    pub fn from_environment() -> Result<Self, Error> {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let mut downloader = Downloader::from_environment()?;
        downloader.offline |= variable("HF_HUB_OFFLINE")
            .is_some_and(|value| ["1", "ON", "YES", "TRUE"].contains(&&*value.to_uppercase()));
        let endpoint = variable("HF_ENDPOINT").unwrap_or(DEFAULT_ENDPOINT.into());
        Self::new(&endpoint, HubFolders::from_environment()?, variable("HF_TOKEN"), downloader)
    }

    /// Makes a hub of an address and its folders; a path alone is a home folder as `HF_HOME` names one.
    /// Without a token, the token's file is read, if it exists.
    ///
    /// # Errors
    /// [`Error::HubSetting`] for an invalid address or token.
    pub fn new(
        endpoint: &str,
        folders: impl Into<HubFolders>,
        token: Option<String>,
        mut downloader: Downloader,
    ) -> Result<Self, Error> {
        let endpoint = endpoint.trim_end_matches('/').to_owned();
        crate::address::parse(&endpoint)
            .map_err(|reason| Error::HubSetting { variable: "HF_ENDPOINT", reason })?;
        let HubFolders { cache, token: token_file } = folders.into();
        let cache = Cache::new(cache);
        let saved = || std::fs::read_to_string(&token_file).ok();
        let token = token.or_else(|| saved().filter(|token| !token.trim().is_empty()));
        downloader.token = token.map(|token| Token::new(&endpoint, token.trim())).transpose()?;
        let builder = ApiBuilder::from_cache(cache.clone()).with_endpoint(endpoint.clone());
        let api = builder
            .build()
            .map_err(|e| Error::HubSetting { variable: "HF_ENDPOINT", reason: e.to_string() })?;
        Ok(Self { api, cache, token_file, downloader, endpoint })
    }

    /// Whether requests are turned off.
    pub fn is_offline(&self) -> bool {
        self.downloader.offline
    }

    /// Turns requests off.
    pub fn offline(mut self) -> Self {
        self.downloader.offline = true;
        self
    }

    /// Returns the downloader of this hub, which has its token.
    pub fn downloader(&self) -> &Downloader {
        &self.downloader
    }

    /// Returns a file of a model, from the cache if it has this revision. Then no request is sent,
    /// as in `hf-hub`: a branch that has moved on is noticed only after its folder in the cache
    /// was deleted.
    ///
    /// # Errors
    /// [`Error::Hub`] if the hub or the cache does not have the file or a token is needed;
    /// otherwise those of [`Downloader::fetch`].
    pub fn get(&self, file: &HubFile, listener: Listener<'_>) -> Result<CachedFile, Error> {
        if let Some(cached) = self.cached(file) {
            return Ok(cached);
        }
        let fail = |reason| Error::Hub { subject: file.to_string(), reason };
        if self.is_offline() {
            return Err(fail(format!(
                "not in the cache at {}, and FEWSHOT_OFFLINE or HF_HUB_OFFLINE is set: unset it, \
                 or set HF_HUB_CACHE to the cache that has it, or HF_HOME to the folder whose `hub` does",
                self.cache.path().display()
            )));
        }
        let repo = repo(file);
        // By the file's address rather than its name in the cache.
        let rename = |error| match error {
            Error::Unavailable { failures, .. } => {
                Error::Unavailable { name: file.to_string(), failures }
            }
            error => error,
        };
        let listing = self.list(&repo, &file.to_string(), listener).map_err(rename)?;
        let listed = listing.file(file.path()).ok_or_else(|| {
            let paths = listing.files.iter().map(|file| &*file.path);
            let is_checkpoint =
                |path: &&str| path.ends_with(".safetensors") || path.ends_with(".tar");
            let found: Vec<_> = paths.filter(is_checkpoint).take(5).collect();
            let found = if found.is_empty() { "no checkpoint".into() } else { found.join(", ") };
            fail(format!("404: there is no such file at commit {}; it has {found}", listing.commit))
        })?;
        let at = file.at(&listing.commit);
        let cache = self.cache.repo(repo.clone());
        let blob = cache.blob_path(&listed.blob_name());
        let blobs = blob.parent().unwrap_or(Path::new("."));
        std::fs::create_dir_all(blobs).map_err(Error::io("create", blobs))?;
        // A part of an earlier download needs no more room.
        let part = blobs.join(format!("{}.part", listed.blob_name()));
        let arrived = part.metadata().map_or(0, |part| part.len());
        if !blob.exists() {
            require_space(blobs, listed.size.saturating_sub(arrived)).map_err(|e| {
                fail(format!("{e}, or set HF_HUB_CACHE to a folder on a larger disk"))
            })?;
        }
        let url = self.api.repo(self::repo(&at)).url(file.path());
        let remote = listed.to_remote(listed.blob_name(), url);
        self.downloader.fetch(&remote, blobs, listener).map_err(rename)?;
        let path = cache.pointer_path(&listing.commit).join(file.path());
        link(&path, &blob, file.path()).map_err(Error::io("write", &path))?;
        cache.create_ref(&listing.commit).map_err(Error::io("write", self.cache.path()))?;
        Ok(CachedFile { path, file: at })
    }

    /// Looks the file up in the cache.
    fn cached(&self, file: &HubFile) -> Option<CachedFile> {
        let cache = self.cache.repo(repo(file));
        let path = cache.get(file.path()).or_else(|| {
            // The Python client writes no references for commits.
            let path = cache.pointer_path(file.revision()).join(file.path());
            path.exists().then_some(path)
        })?;
        let mut folder = &*path;
        for _ in file.path().split('/') {
            folder = folder.parent()?;
        }
        let commit = folder.file_name()?.to_str()?;
        Some(CachedFile { file: file.at(commit), path })
    }

    /// Returns the files of a dataset's branch `main`.
    ///
    /// # Errors
    /// [`Error::Hub`], [`Error::Unavailable`], [`Error::Offline`].
    pub fn dataset(&self, repository: &str, listener: Listener<'_>) -> Result<Listing, Error> {
        let subject = format!("{}/datasets/{repository}", self.endpoint);
        self.list(&Repo::dataset(repository.to_owned()), &subject, listener)
    }

    /// Returns a file of a dataset at a listing's commit as a download, under a name on disk.
    pub fn dataset_file(
        &self,
        repository: &str,
        commit: &str,
        file: &ListedFile,
        name: String,
    ) -> Remote {
        let (repository, commit) = (repository.to_owned(), commit.to_owned());
        let repo = Repo::with_revision(repository, RepoType::Dataset, commit);
        file.to_remote(name, self.api.repo(repo).url(&file.path))
    }

    /// Requests the list of a repository's files; `subject` is the name for errors.
    fn list(&self, repo: &Repo, subject: &str, listener: Listener<'_>) -> Result<Listing, Error> {
        let request = self.api.repo(repo.clone()).info_request();
        let url = request.uri_ref().map(ToString::to_string).unwrap_or_default();
        let url = format!("{url}?blobs=true");
        if self.is_offline() {
            return Err(Error::Offline { name: "the list of files".into(), url });
        }
        let client = Client::new(&self.downloader);
        let fail = |reason| Error::Hub { subject: subject.to_owned(), reason };
        let json =
            self.downloader.with_retries("the list of files", &url, listener, |listener| {
                listener(crate::Event::Asking { url: &url, from: 0 });
                let (response, pace) = client.get(&url, &ResumePoint::START)?;
                match response.status().as_u16() {
                    200 => {
                        let body = response.into_body().into_with_config();
                        let mut bytes = Vec::new();
                        Paced::new(body.limit(MAX_LISTING_BYTES).reader(), pace)
                            .read_to_end(&mut bytes)
                            .map_err(|e| retry(e.to_string()))?;
                        Ok(bytes)
                    }
                    status @ (401 | 403 | 404) => {
                        let message = HeaderName::from_static("x-error-message");
                        let message = text(response.headers(), message);
                        Err(fail(self.explain_status(status, repo, message)).into())
                    }
                    _ => Err(status_fault(&response)),
                }
            })?;
        Listing::from_json(&json)
            .map_err(|why| fail(format!("{url} does not answer as the hub does: {why}")))
    }

    /// Explains a status of the hub, and what to do.
    fn explain_status(&self, status: u16, repo: &Repo, message: Option<&str>) -> String {
        let message: String = message.unwrap_or_default().chars().take(200).collect();
        let message = if message.is_empty() { message } else { format!(" ({message})") };
        let page = format!("{}/{}", self.endpoint, repo.url());
        let advice = match (&self.downloader.token, status) {
            (_, 404) => "no such repository or revision: check its name".to_owned(),
            (None, _) => "no such repository, or one that wants a token: check its name, or set \
                          HF_TOKEN"
                .to_owned(),
            (Some(_), 401) => format!(
                "the token of HF_TOKEN or {} is not valid: renew it",
                self.token_file.display()
            ),
            (Some(_), _) => format!(
                "the token of HF_TOKEN gives no access: accept the terms on {page}, or take a \
                 token that may read it"
            ),
        };
        format!("the hub answers {status}{message}: {advice}")
    }
}

fn repo(file: &HubFile) -> Repo {
    let (repository, revision) = (file.repository().to_owned(), file.revision().to_owned());
    Repo::with_revision(repository, RepoType::Model, revision)
}

/// Links a file of a snapshot to its content, by the layout of the cache.
fn link(pointer: &Path, blob: &Path, file: &str) -> std::io::Result<()> {
    let folder = pointer.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)?;
    #[cfg(unix)]
    let linked = {
        let up = "../".repeat(file.split('/').count() + 1);
        let name = blob.file_name().unwrap_or_default();
        std::os::unix::fs::symlink(Path::new(&up).join("blobs").join(name), pointer)
    };
    #[cfg(not(unix))]
    let linked = {
        let _ = file;
        std::fs::hard_link(blob, pointer)
    };
    match linked {
        // Another process was faster: its link leads to the same content.
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        linked => linked,
    }
}
