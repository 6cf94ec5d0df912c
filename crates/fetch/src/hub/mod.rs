//! The Hugging Face hub: its repositories' files, and the cache that all of its clients share.
//!
//! `hf-hub` knows the addresses, the cache's layout and where the token lies. The bytes come
//! through this crate's own downloads: `hf-hub` would verify no digest, resume into whatever a
//! server sends, know no time limits, and trust no certificates but those built in.

mod file;
mod listing;

pub use file::HubFile;
pub use listing::{Listed, Listing};

use std::path::{Path, PathBuf};

use hf_hub::api::sync::{Api, ApiBuilder};
use hf_hub::{Cache, Repo, RepoType};
use ureq::http::HeaderName;

use crate::client::{Client, From};
use crate::headers::text;
use crate::{Downloader, Error, Listener, Remote, Token};

/// Where the hub is, unless `HF_ENDPOINT` says otherwise.
const ENDPOINT: &str = "https://huggingface.co";
/// The most bytes that a list of files may have. Those of thousands of files have some hundred
/// thousand.
const LONGEST_LISTING: u64 = 32 << 20;

/// Asks the hub, and keeps what it gives in the cache of its clients.
#[derive(Clone, Debug)]
pub struct Hub {
    api: Api,
    cache: Cache,
    downloader: Downloader,
    endpoint: String,
}

/// A file of the hub that lies in the cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cached {
    /// Where.
    pub path: PathBuf,
    /// The same address, at the commit that it is of.
    pub file: HubFile,
}

impl Hub {
    /// As the environment says: `HF_ENDPOINT` (the hub), `HF_HOME` (its cache is the folder
    /// `hub` there; else `~/.cache/huggingface`), `HF_TOKEN` (else the file `token` there),
    /// `HF_HUB_OFFLINE`, and what [`Downloader::from_environment`] reads.
    ///
    /// # Errors
    /// [`Error::HubSetting`] and those of [`Downloader::from_environment`].
    pub fn from_environment() -> Result<Self, Error> {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let mut downloader = Downloader::from_environment()?;
        downloader.offline |= variable("HF_HUB_OFFLINE")
            .is_some_and(|value| ["1", "ON", "YES", "TRUE"].contains(&&*value.to_uppercase()));
        let home = std::env::var_os("HF_HOME").filter(|home| !home.is_empty()).map(PathBuf::from);
        let user = || std::env::home_dir().map(|user| user.join(".cache/huggingface"));
        let home = home.or_else(user).ok_or_else(|| {
            let reason = "name a folder for the cache: this user has no home".to_owned();
            Error::HubSetting { variable: "HF_HOME", reason }
        })?;
        let endpoint = variable("HF_ENDPOINT").unwrap_or(ENDPOINT.into());
        Self::new(&endpoint, home, variable("HF_TOKEN"), downloader)
    }

    /// A hub at an address, with a home folder as `HF_HOME` names one. Without a token the one
    /// of the home's file `token` is taken, where there is one.
    ///
    /// # Errors
    /// [`Error::HubSetting`].
    pub fn new(
        endpoint: &str,
        home: PathBuf,
        token: Option<String>,
        mut downloader: Downloader,
    ) -> Result<Self, Error> {
        let endpoint = endpoint.trim_end_matches('/').to_owned();
        crate::address::parse(&endpoint)
            .map_err(|reason| Error::HubSetting { variable: "HF_ENDPOINT", reason })?;
        let cache = Cache::new(home.join("hub"));
        let token = token.or_else(|| cache.token());
        downloader.token = token.map(|token| Token::new(&endpoint, token.trim())).transpose()?;
        let builder = ApiBuilder::from_cache(cache.clone()).with_endpoint(endpoint.clone());
        let api = builder
            .build()
            .map_err(|e| Error::HubSetting { variable: "HF_ENDPOINT", reason: e.to_string() })?;
        Ok(Self { api, cache, downloader, endpoint })
    }

    /// Whether no server is to be asked.
    pub fn is_offline(&self) -> bool {
        self.downloader.offline
    }

    /// The same, but no server is to be asked.
    pub fn offline(mut self) -> Self {
        self.downloader.offline = true;
        self
    }

    /// Downloads as this hub wants them, with its token.
    pub fn downloader(&self) -> &Downloader {
        &self.downloader
    }

    /// A file of a model. What the cache has of this revision is taken and nobody is asked, as
    /// `hf-hub` does it: a branch that has moved on is seen once its folder there is deleted.
    ///
    /// # Errors
    /// [`Error::Hub`] where the hub or the cache does not have it or a token is wanted,
    /// those of [`Downloader::fetch`] otherwise.
    pub fn get(&self, file: &HubFile, listener: Listener<'_>) -> Result<Cached, Error> {
        if let Some(cached) = self.cached(file) {
            return Ok(cached);
        }
        let fail = |reason| Error::Hub { what: file.to_string(), reason };
        if self.is_offline() {
            return Err(fail(format!(
                "not in the cache at {}, and FEWSHOT_OFFLINE or HF_HUB_OFFLINE is set: unset it, \
                 or set HF_HOME to the folder whose `hub` has it",
                self.cache.path().display()
            )));
        }
        let repo = repo(file);
        let unavailable = |error| match error {
            // `--from`, which that message names, is for datasets.
            Error::Unavailable { tried, .. } => fail(format!(
                "could not be downloaded:{}\ntry again later; what has arrived is kept",
                tried.iter().map(|(url, why)| format!("\n  {url}: {why}")).collect::<String>()
            )),
            error => error,
        };
        let listing = self.list(&repo, &file.to_string(), listener).map_err(unavailable)?;
        let listed = listing.file(file.path()).ok_or_else(|| {
            let models = listing.files.iter().map(|file| &*file.path);
            let models =
                models.filter(|path| path.ends_with(".safetensors") || path.ends_with(".tar"));
            let models: Vec<_> = models.take(5).collect();
            let has = if models.is_empty() { "no checkpoint".into() } else { models.join(", ") };
            fail(format!("404: there is no such file at commit {}; it has {has}", listing.commit))
        })?;
        let at = file.at(&listing.commit);
        let cache = self.cache.repo(repo.clone());
        let blob = cache.blob_path(&listed.blob());
        let blobs = blob.parent().unwrap_or(Path::new("."));
        std::fs::create_dir_all(blobs).map_err(Error::io("create", blobs))?;
        let url = self.api.repo(self::repo(&at)).url(file.path());
        let remote = listed.remote(listed.blob(), url);
        self.downloader.fetch(&remote, blobs, listener).map_err(unavailable)?;
        let path = cache.pointer_path(&listing.commit).join(file.path());
        point(&path, &blob, file.path()).map_err(Error::io("write", &path))?;
        cache.create_ref(&listing.commit).map_err(Error::io("write", self.cache.path()))?;
        Ok(Cached { path, file: at })
    }

    /// What the cache has of a revision.
    fn cached(&self, file: &HubFile) -> Option<Cached> {
        let cache = self.cache.repo(repo(file));
        let path = cache.get(file.path()).or_else(|| {
            // Python notes no references for commits.
            let path = cache.pointer_path(file.revision()).join(file.path());
            path.exists().then_some(path)
        })?;
        let mut folder = &*path;
        for _ in file.path().split('/') {
            folder = folder.parent()?;
        }
        let commit = folder.file_name()?.to_str()?;
        Some(Cached { file: file.at(commit), path })
    }

    /// The files of a dataset.
    ///
    /// # Errors
    /// [`Error::Hub`], [`Error::Unavailable`], [`Error::Offline`].
    pub fn dataset(&self, repository: &str, listener: Listener<'_>) -> Result<Listing, Error> {
        let what = format!("{}/datasets/{repository}", self.endpoint);
        self.list(&Repo::dataset(repository.to_owned()), &what, listener)
    }

    /// A file of a dataset at a listing's commit, as something to download under a name.
    pub fn dataset_file(
        &self,
        repository: &str,
        commit: &str,
        file: &Listed,
        name: String,
    ) -> Remote {
        let (repository, commit) = (repository.to_owned(), commit.to_owned());
        let repo = Repo::with_revision(repository, RepoType::Dataset, commit);
        file.remote(name, self.api.repo(repo).url(&file.path))
    }

    fn list(&self, repo: &Repo, what: &str, listener: Listener<'_>) -> Result<Listing, Error> {
        let request = self.api.repo(repo.clone()).info_request();
        let url = request.uri_ref().map(ToString::to_string).unwrap_or_default();
        let url = format!("{url}?blobs=true");
        if self.is_offline() {
            return Err(Error::Offline { name: "the list of files".into(), url });
        }
        let client = Client::of(&self.downloader);
        let fail = |reason| Error::Hub { what: what.to_owned(), reason };
        let json = self.downloader.retry("the list of files", &url, listener, |listener| {
            listener(crate::Event::Asking { url: &url, from: 0 });
            let answer = client.get(&url, &From { byte: 0, version: None })?;
            match answer.status().as_u16() {
                200 => {
                    let mut body = answer.into_body();
                    let bytes = body.with_config().limit(LONGEST_LISTING).read_to_vec();
                    bytes.map_err(|e| crate::attempt::again(e.to_string()))
                }
                status @ (401 | 403 | 404) => {
                    let said = text(answer.headers(), HeaderName::from_static("x-error-message"));
                    Err(fail(self.advice(status, repo, said)).into())
                }
                _ => Err(crate::attempt::refusal(&answer)),
            }
        })?;
        Listing::from_json(&json)
            .map_err(|why| fail(format!("{url} does not answer as the hub does: {why}")))
    }

    /// What a refusal means, and what to do.
    fn advice(&self, status: u16, repo: &Repo, said: Option<&str>) -> String {
        let said: String = said.unwrap_or_default().chars().take(200).collect();
        let said = if said.is_empty() { said } else { format!(" ({said})") };
        let page = format!("{}/{}", self.endpoint, repo.url());
        let shown = match (&self.downloader.token, status) {
            (_, 404) => "no such repository or revision: check its name".to_owned(),
            (None, _) => "no such repository, or one that wants a token: check its name, or set \
                          HF_TOKEN"
                .to_owned(),
            (Some(_), 401) => format!(
                "the token of HF_TOKEN or {} is not valid: renew it",
                self.cache.token_path().display()
            ),
            (Some(_), _) => format!(
                "the token of HF_TOKEN gives no access: accept the terms on {page}, or take a \
                 token that may read it"
            ),
        };
        format!("the hub answers {status}{said}: {shown}")
    }
}

fn repo(file: &HubFile) -> Repo {
    let (repository, revision) = (file.repository().to_owned(), file.revision().to_owned());
    Repo::with_revision(repository, RepoType::Model, revision)
}

/// Makes the snapshot's file point to its content, as the cache's layout has it.
fn point(pointer: &Path, blob: &Path, file: &str) -> std::io::Result<()> {
    let folder = pointer.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)?;
    #[cfg(unix)]
    let made = {
        let up = "../".repeat(file.split('/').count() + 1);
        let name = blob.file_name().unwrap_or_default();
        std::os::unix::fs::symlink(Path::new(&up).join("blobs").join(name), pointer)
    };
    #[cfg(not(unix))]
    let made = {
        let _ = file;
        std::fs::hard_link(blob, pointer)
    };
    match made {
        // Another process was faster; what has this name is of this content.
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}
