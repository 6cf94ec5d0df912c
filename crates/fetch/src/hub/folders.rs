//! Where the hub's programs keep what they share.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::Error;

/// The cache and the file of the token, which all programs of the hub share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HubFolders {
    /// Folder of the cache.
    pub cache: PathBuf,
    /// File of the token, which need not exist.
    pub token: PathBuf,
}

impl From<PathBuf> for HubFolders {
    /// The folders in a home folder as `HF_HOME` names one.
    fn from(home: PathBuf) -> Self {
        Self { cache: home.join("hub"), token: home.join("token") }
    }
}

impl HubFolders {
    /// Reads the environment as the Python package `huggingface_hub` does: the cache is `HF_HUB_CACHE`,
    /// else `HUGGINGFACE_HUB_CACHE`, else `hub` in `HF_HOME`; the token is in `HF_TOKEN_PATH`, else in
    /// `token` in `HF_HOME`. `HF_HOME` is by default `huggingface` in `XDG_CACHE_HOME`, which is by
    /// default `~/.cache`. A `~` at the start of any of them is the user's home. What is empty is
    /// as if it were not set.
    ///
    /// # Errors
    /// [`Error::HubSetting`] for a user without a home, if nothing else is set.
    pub fn from_environment() -> Result<Self, Error> {
        Self::choose(|name| std::env::var_os(name), std::env::home_dir().as_deref())
    }

    fn choose(
        variable: impl Fn(&str) -> Option<OsString>,
        user: Option<&Path>,
    ) -> Result<Self, Error> {
        let folder = |name: &str| {
            let path = PathBuf::from(variable(name).filter(|value| !value.is_empty())?);
            match (path.strip_prefix("~"), user) {
                (Ok(rest), Some(user)) => Some(user.join(rest)),
                _ => Some(path),
            }
        };
        let cache = folder("HF_HUB_CACHE").or_else(|| folder("HUGGINGFACE_HUB_CACHE"));
        let token = folder("HF_TOKEN_PATH");
        let caches = || folder("XDG_CACHE_HOME").or_else(|| Some(user?.join(".cache")));
        let home = folder("HF_HOME").or_else(|| Some(caches()?.join("huggingface")));
        match (home.map(Self::from), cache, token) {
            (Some(home), cache, token) => {
                Ok(Self { cache: cache.unwrap_or(home.cache), token: token.unwrap_or(home.token) })
            }
            // Without a token's file there is no token.
            (None, Some(cache), token) => Ok(Self { cache, token: token.unwrap_or_default() }),
            (None, None, _) => {
                let reason = "name a folder for the cache: this user has no home".to_owned();
                Err(Error::HubSetting { variable: "HF_HUB_CACHE", reason })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cache_is_where_huggingface_hub_has_it() {
        let user = Path::new("/home/u");
        let choose = |set: &[(&str, &str)]| {
            let get = |name: &str| {
                let value = set.iter().find(|(known, _)| *known == name);
                value.map(|(_, value)| OsString::from(value))
            };
            let HubFolders { cache, token } = HubFolders::choose(get, Some(user)).unwrap();
            [cache, token].map(|path| path.to_str().unwrap().replace('\\', "/"))
        };
        // What `huggingface_hub.constants` gives as HF_HUB_CACHE and HF_TOKEN_PATH.
        for (set, cache, token) in [
            (&[][..], "/home/u/.cache/huggingface/hub", "/home/u/.cache/huggingface/token"),
            (&[("XDG_CACHE_HOME", "/x")], "/x/huggingface/hub", "/x/huggingface/token"),
            (&[("HF_HOME", "/h"), ("XDG_CACHE_HOME", "/x")], "/h/hub", "/h/token"),
            (&[("HF_HOME", "~/h")], "/home/u/h/hub", "/home/u/h/token"),
            (&[("HUGGINGFACE_HUB_CACHE", "/old"), ("HF_HOME", "/h")], "/old", "/h/token"),
            (
                &[("HF_HUB_CACHE", "/c"), ("HUGGINGFACE_HUB_CACHE", "/old"), ("HF_HOME", "/h")],
                "/c",
                "/h/token",
            ),
            (&[("HF_HUB_CACHE", ""), ("HF_HOME", "/h")], "/h/hub", "/h/token"),
            (&[("HF_TOKEN_PATH", "/t"), ("HF_HOME", "/h")], "/h/hub", "/t"),
        ] {
            assert_eq!(choose(set), [cache, token], "{set:?}");
        }
        let error = HubFolders::choose(|_| None, None).unwrap_err().to_string();
        assert!(error.starts_with("HF_HUB_CACHE: ") && error.contains("no home"), "{error}");
        let cache = |name: &str| (name == "HF_HUB_CACHE").then(|| OsString::from("/c"));
        assert_eq!(HubFolders::choose(cache, None).unwrap().cache, Path::new("/c"));
    }
}
