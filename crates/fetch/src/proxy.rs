//! HTTP proxies from the environment.

use ureq::ProxyProtocol::{Http, Https};
use ureq::http::Uri;

use crate::Error;

/// Proxies for each scheme, from `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY`, in upper
/// or lower case.
#[derive(Clone, Debug, Default)]
pub struct Proxies {
    /// For `http`: the variable's name, and the proxy.
    http: Option<(String, ureq::Proxy)>,
    https: Option<(String, ureq::Proxy)>,
    /// Hosts that are contacted directly.
    direct: Vec<String>,
}

impl Proxies {
    /// Reads the environment of this process.
    ///
    /// # Errors
    /// As [`Self::from_variables`].
    pub fn from_environment() -> Result<Self, Error> {
        Self::from_variables(|name| std::env::var(name).ok())
    }

    /// Reads variables by a lookup function.
    ///
    /// # Errors
    /// [`Error::Proxy`] for a value that is not the address of an http proxy.
    pub fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Result<Self, Error> {
        let first = |names: &[&str]| {
            let mut set = names.iter().flat_map(|name| [name.to_string(), name.to_lowercase()]);
            set.find_map(|name| {
                let value = variable(&name).filter(|value| !value.trim().is_empty())?;
                Some((name, value.trim().to_owned()))
            })
        };
        let proxy = |names: &[&str]| {
            let Some((variable, value)) = first(names) else { return Ok(None) };
            match ureq::Proxy::new(&value) {
                Ok(proxy) if matches!(proxy.protocol(), Http | Https) => {
                    Ok(Some((variable, proxy)))
                }
                Ok(_) => {
                    Err(Error::Proxy { variable, reason: "only http proxies are known".into() })
                }
                Err(e) => Err(Error::Proxy { variable, reason: e.to_string() }),
            }
        };
        let direct = first(&["NO_PROXY"]).map(|(_, list)| list).unwrap_or_default();
        Ok(Self {
            http: proxy(&["HTTP_PROXY", "ALL_PROXY"])?,
            https: proxy(&["HTTPS_PROXY", "ALL_PROXY"])?,
            direct: direct
                .split([',', ' '])
                .map(|host| host.trim().trim_start_matches('.').to_ascii_lowercase())
                .filter(|host| !host.is_empty())
                .collect(),
        })
    }

    /// Returns the proxy for an address, if any, and the variable that names it.
    pub(crate) fn proxy_for(&self, uri: &Uri) -> Option<&(String, ureq::Proxy)> {
        let proxy = if uri.scheme_str() == Some("https") { &self.https } else { &self.http };
        proxy.as_ref().filter(|_| !self.is_direct(uri))
    }

    /// Whether `NO_PROXY` lists the host, with or without its port, or a domain above it.
    fn is_direct(&self, uri: &Uri) -> bool {
        let host = uri.host().unwrap_or_default().to_ascii_lowercase();
        let port = uri.port_u16().map(|port| format!("{host}:{port}"));
        self.direct.iter().any(|direct| {
            direct == "*"
                || *direct == host
                || Some(direct) == port.as_ref()
                || host.strip_suffix(direct.as_str()).is_some_and(|above| above.ends_with('.'))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(set: &[(&str, &str)]) -> Result<Proxies, Error> {
        Proxies::from_variables(|name| {
            set.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn each_scheme_has_its_proxy_and_some_hosts_have_none() {
        let all = proxies(&[
            ("http_proxy", "http://plain:1"),
            ("HTTPS_PROXY", "http://secret:2"),
            ("ALL_PROXY", "http://all:3"),
            ("NO_PROXY", "localhost, .inner.example,b.example:8080"),
        ])
        .unwrap();
        let host_of_proxy = |address: &str| {
            all.proxy_for(&address.parse().unwrap()).map(|(_, proxy)| proxy.host().to_owned())
        };
        assert_eq!(host_of_proxy("http://a.example/"), Some("plain".into()));
        assert_eq!(host_of_proxy("https://a.example/"), Some("secret".into()));
        for direct in ["http://localhost:5/", "https://x.inner.example/", "http://b.example:8080/"]
        {
            assert_eq!(host_of_proxy(direct), None, "{direct}");
        }
        for proxied in ["http://notinner.example/", "http://b.example/"] {
            assert!(host_of_proxy(proxied).is_some(), "{proxied}");
        }
        let rest = proxies(&[("all_proxy", "all:3"), ("NO_PROXY", "")]).unwrap();
        assert!(rest.proxy_for(&"https://a.example/".parse().unwrap()).is_some());
        let none = proxies(&[("HTTP_PROXY", "all:3"), ("no_proxy", "*")]).unwrap();
        assert!(none.proxy_for(&"http://a.example/".parse().unwrap()).is_none());
    }

    #[test]
    fn a_proxy_that_is_none_is_refused_without_telling_its_password() {
        for value in ["ftp://name:word@host:1", "http://name:word@", "socks5://name:word@host:1"] {
            let error = proxies(&[("HTTPS_PROXY", value)]).unwrap_err().to_string();
            assert!(error.starts_with("HTTPS_PROXY is no address"), "{error}");
            assert!(!error.contains("word"), "{error}");
        }
    }
}
